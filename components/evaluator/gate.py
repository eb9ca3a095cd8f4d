"""The model gate's settings: which metrics, which bounds, which slices, and what to do on the first run.

Plain Python: no TFX, no TensorFlow. The settings come as JSON from the project's `gates.model`.
"""

import dataclasses
import json
import math
from typing import Any

from noria.core.errors import GateError, did_you_mean

TASKS = ("binary", "multiclass", "regression")
FIRST_RUN = ("thresholds", "bless", "refuse")

# Tuned once, by a script that is not kept: two equally good models of the flights, compared on the held-out fifth of
# each of 48 weeks (1,260 rows). AUC differs with a standard deviation of 0.006, log loss of 0.008. A bound of 0.005
# refuses 9 and 8 of the 48 by chance, 0.01 refuses 4 and 3.
CHANGE = 0.01

# In the same weeks a slice rule of 5 per cent and 3 standard errors refuses 3 of 48 by chance, with 100
# examples as with 200, and finds 98.8 per cent of the carriers and origins whose predictions are turned upside
# down. A minimum of 500 would judge 3 of 545 slices, 200 judges 260, 100 judges 400.
MIN_EXAMPLES = 100
SLICE_CHANGE = 0.05


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric by the name that people and files use.

    Attributes:
      class_name: of TFMA's or Keras's metric.
      better: `higher`, `lower`, or None where neither is better (calibration, counts).
      config: the class's arguments beside its name.
      module: where the class is, if it is neither TFMA's nor Keras's.
    """

    class_name: str
    better: str | None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    module: str = ""


# `log_loss` is Keras's BinaryCrossentropy, which clips at 1e-7; TFMA's BinaryCrossEntropy gives NaN for a
# probability of exactly 0 or 1.
METRICS: dict[str, dict[str, Metric]] = {
    "binary": {
        "auc": Metric("AUC", "higher"),
        "log_loss": Metric("BinaryCrossentropy", "lower"),
        "calibration": Metric("Calibration", None),
        "auc_precision_recall": Metric("AUCPrecisionRecall", "higher"),
        "accuracy": Metric("BinaryAccuracy", "higher"),
        "precision": Metric("Precision", "higher"),
        "recall": Metric("Recall", "higher"),
        "label_mean": Metric("MeanLabel", None),
        "example_count": Metric("ExampleCount", None),
    },
    "multiclass": {
        "accuracy": Metric("SparseCategoricalAccuracy", "higher"),
        "log_loss": Metric("SparseCategoricalCrossentropy", "lower"),
        "top_3_accuracy": Metric("SparseTopKCategoricalAccuracy", "higher", {"k": 3}),
        "example_count": Metric("ExampleCount", None),
    },
    "regression": {
        "rmse": Metric("RootMeanSquaredError", "lower"),
        "mae": Metric("MeanAbsoluteError", "lower"),
        "mse": Metric("MeanSquaredError", "lower"),
        "r2": Metric("R2", "higher", module="noria.components.evaluator.paired"),
        "calibration": Metric("Calibration", None),
        "label_mean": Metric("MeanLabel", None),
        "example_count": Metric("ExampleCount", None),
    },
}

# Always computed, whether or not a bound names them.
REPORTED = {
    "binary": ("auc", "log_loss", "calibration", "label_mean", "example_count"),
    "multiclass": ("accuracy", "log_loss", "example_count"),
    "regression": ("rmse", "mae", "r2", "calibration", "label_mean", "example_count"),
}


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a metric must be.

    Attributes:
      min: at least this.
      max: at most this.
      change: at most this much worse than the champion's on the same rows, in the metric's own unit.
      relative: at most this share worse than the champion's (0.01: one per cent).
    """

    min: float | None = None
    max: float | None = None
    change: float | None = None
    relative: float | None = None


@dataclasses.dataclass(frozen=True)
class Gate:
    """The settings, checked.

    Attributes:
      task: `binary`, `multiclass` or `regression`.
      metrics: bounds by metric name; empty blesses nothing.
      slices: columns that slice the rows, a tuple for each slicing (two columns: a crossed one).
      slice_change: share by which the mean loss on a slice may rise against the champion's; None: slices
        inform.
      min_examples: rows below which a slice does not judge.
      first_run: `thresholds`, `bless` or `refuse`.
    """

    task: str
    metrics: dict[str, Bound]
    slices: tuple[tuple[str, ...], ...] = ()
    slice_change: float | None = SLICE_CHANGE
    min_examples: int = MIN_EXAMPLES
    first_run: str = "thresholds"

    @property
    def reported(self) -> list[str]:
        """Names of all metrics to compute, those with bounds first."""
        return list(dict.fromkeys([*self.metrics, *REPORTED[self.task]]))


def default_metrics(task: str, classes: int | None, first_run: bool) -> dict[str, Bound]:
    """The bounds of a gate that names none.

    The absolute ones only keep out a model that is no better than a guess (a coin, equal odds for all
    classes, the mean of the same rows); the rest is the champion's to set. That of regression ends with the
    first run: a shifted week can push a good model below the mean of that very week, which nobody knew
    beforehand.
    """
    if task == "binary":
        return {"auc": Bound(min=0.5, change=CHANGE), "log_loss": Bound(change=CHANGE)}
    if task == "multiclass":
        guess = math.log(classes) if classes else None
        return {"log_loss": Bound(max=guess, change=CHANGE), "accuracy": Bound(change=CHANGE)}
    first = {"r2": Bound(min=0.0)} if first_run else {}
    return {"rmse": Bound(relative=0.02), "mae": Bound(relative=0.02)} | first


def from_json(text: str, task: str, classes: int | None = None, first_run: bool = False) -> Gate:
    """Reads the gate's settings; keys left out or null take their defaults.

    Args:
      text: JSON object with `metrics` (name to `min`, `max`, `change`, `relative`), `slices`, `slice_change`,
        `min_examples`, `first_run`.
      task: `binary`, `multiclass` or `regression`.
      classes: number of classes, for multiclass.
      first_run: True where there is no champion.

    Raises:
      GateError: an unknown key, metric, policy or task, or a value that makes no sense.
    """
    if task not in TASKS:
        raise GateError(
            f"the task must be one of {', '.join(TASKS)}, got {task!r}{_near(task, TASKS)}", where="task"
        )
    try:
        given = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise GateError(f"the gate's settings are not JSON: {error}", where="gates.model") from None
    if not isinstance(given, dict):
        raise GateError(f"the gate's settings must be a mapping, got {given!r}", where="gates.model")
    known = [field.name for field in dataclasses.fields(Gate) if field.name != "task"]
    for key in given:
        if key not in known:
            raise GateError(
                f"unknown key {key!r}{_near(key, known)}",
                where="gates.model",
                next_step=f"the keys are {', '.join(known)}",
            )
    named = given.get("metrics")
    metrics = default_metrics(task, classes, first_run) if named is None else _bounds(named, task)
    slices = tuple(
        (entry,) if isinstance(entry, str) else tuple(entry) for entry in given.get("slices") or ()
    )
    first_run = given.get("first_run") or "thresholds"
    if first_run not in FIRST_RUN:
        raise GateError(
            f"must be one of {', '.join(FIRST_RUN)}, got {first_run!r}{_near(first_run, FIRST_RUN)}",
            where="gates.model.first_run",
        )
    min_examples = given.get("min_examples", MIN_EXAMPLES)
    if not isinstance(min_examples, int) or isinstance(min_examples, bool) or min_examples < 1:
        raise GateError(
            f"must be a whole number of at least 1, got {min_examples!r}", "gates.model.min_examples"
        )
    slice_change = given.get("slice_change", SLICE_CHANGE)
    if slice_change is not None:
        slice_change = _number(slice_change, "gates.model.slice_change", at_least=0.0)
    return Gate(task, metrics, slices, slice_change, min_examples, first_run)


def metric_of(name: str, task: str) -> Metric:
    """Looks a metric up by name.

    Raises:
      GateError: the task has no such metric.
    """
    known = METRICS[task]
    if name not in known:
        raise GateError(
            f"unknown metric {name!r} for the task {task}{_near(name, known)}",
            where="gates.model.metrics",
            next_step=f"the metrics are {', '.join(known)}",
        )
    return known[name]


def check_columns(gate: Gate, label: str, columns: list[str]) -> None:
    """Checks that label and slices name columns of the schema.

    Raises:
      GateError: a column that is not there, with the nearest name.
    """
    if label not in columns:
        raise GateError(
            f"the schema has no label column {label!r}{_near(label, columns)}", where="label.column"
        )
    for slicing in gate.slices:
        for column in slicing:
            if column not in columns:
                raise GateError(
                    f"no column {column!r} to slice by{_near(column, columns)}",
                    where="gates.model.slices",
                    next_step=f"the columns are {', '.join(sorted(columns))}",
                )


def _bounds(named: Any, task: str) -> dict[str, Bound]:
    if not isinstance(named, dict):
        raise GateError(f"metrics must map names to bounds, got {named!r}", where="gates.model.metrics")
    return {name: _bound(name, given, task) for name, given in named.items()}


def _bound(name: str, given: Any, task: str) -> Bound:
    where = f"gates.model.metrics.{name}"
    metric = metric_of(name, task)
    keys = [field.name for field in dataclasses.fields(Bound)]
    if not isinstance(given, dict) or not given:
        raise GateError(f"a metric needs at least one of {', '.join(keys)}, got {given!r}", where=where)
    for key in given:
        if key not in keys:
            raise GateError(
                f"unknown key {key!r}{_near(key, keys)}", where, f"the keys are {', '.join(keys)}"
            )
    bound = Bound(
        **{key: _number(value, f"{where}.{key}") for key, value in given.items() if value is not None}
    )
    if bound.min is not None and bound.max is not None and bound.min > bound.max:
        raise GateError(f"min must be at most max, got {bound.min:g} and {bound.max:g}", where=where)
    for key in ("change", "relative"):
        if (value := getattr(bound, key)) is None:
            continue
        if metric.better is None:
            raise GateError(
                f"{name} is neither better high nor low, so it takes no {key}", where, "use min and max"
            )
        if value < 0:
            raise GateError(f"{key} is how much worse it may be, at least 0; got {value:g}", where=where)
    return bound


def _number(value: Any, where: str, at_least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < math.inf:
        wanted = "a number" if at_least == -math.inf else f"a number of at least {at_least:g}"
        raise GateError(f"must be {wanted}, got {value!r}", where=where)
    return float(value)


def _near(name: Any, names: Any) -> str:
    hint = did_you_mean(name, map(str, names))
    return f"; {hint}" if hint else ""
