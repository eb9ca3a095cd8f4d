"""The model gate of one run: the settings, with all that depends on task, champion and project filled in.

Plain Python: no TFX, no TensorFlow.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from noria.components.evaluator.metrics import METRICS
from noria.components.evaluator.metrics.base import TASKS, Metric
from noria.components.evaluator.settings import Bound, EvaluatorSettings
from noria.core.errors import GateError, did_you_mean

# Two equally good models of the flights, compared on the held-out fifth of each of 48 weeks (1,260 rows): AUC differs
# with a standard deviation of 0.006, log loss of 0.008. A bound of 0.005 refuses 9 and 8 of the 48 by chance, 0.01
# refuses 4 and 3.
CHANGE = 0.01
# Skill below which a model is worse than a guess. The guess knows the very rows, so a model of noise has a little less
# than 0; 0.05 is 0.03 nats a row where both classes are equally frequent, as much as the base rate's share can cost.
LEAST_SKILL = -0.05


@dataclasses.dataclass(frozen=True)
class Gate:
    """What one run is judged by.

    Attributes:
      task: `binary`, `multiclass` or `regression`.
      bounds: by metric name; empty blesses nothing.
      metrics: all metrics to compute, by name: those with bounds, and those that are always reported.
      settings: the rest.
      project: folder that the user's own metrics are imported from.
    """

    task: str
    bounds: Mapping[str, Bound]
    metrics: Mapping[str, Metric]
    settings: EvaluatorSettings = EvaluatorSettings()
    project: str = ""

    @property
    def slices(self) -> list[list[str]]:
        """The columns of each slicing; more than one: a crossed slice."""
        return self.settings.slices


def build(
    settings: EvaluatorSettings,
    task: str,
    *,
    first_run: bool = False,
    project: str = "",
) -> Gate:
    """Fills in what the settings leave open.

    Args:
      settings: the keys of `gates.model`.
      task: `binary`, `multiclass` or `regression`.
      first_run: True if there is no champion.
      project: folder to import the user's own metrics from.

    Raises:
      GateError: an unknown task, or a bound that does not fit its metric.
      ConfigError: a user's metric cannot be imported.
    """
    if task not in TASKS:
        hint = did_you_mean(task, TASKS)
        raise GateError(
            f"the task must be one of {', '.join(TASKS)}, got {task!r}" + (f"; {hint}" if hint else ""),
            where="task",
        )
    bounds = default_bounds(task, first_run) if settings.metrics is None else settings.metrics
    metrics = {name: METRICS.find(name, project or None)() for name in bounds}
    for name, bound in bounds.items():
        try:
            check_bound(name, metrics[name], bound, task)
        except ValueError as error:
            raise GateError(str(error), where=f"gates.model.metrics.{name}") from None
    reported = {name: kind() for name, kind in METRICS.all().items() if task in kind.reported}
    ordered = sorted((reported | metrics).items(), key=lambda pair: pair[1].order)
    return Gate(task, bounds, dict(ordered), settings, project)


def default_bounds(task: str, first_run: bool) -> dict[str, Bound]:
    """The bounds of a gate that names none: change against the champion, and skill against a guess.

    The first version must be at least as good as the guess. For later ones the bound is an alarm: see `model_verdict`.
    """
    least = Bound(min=0.0 if first_run else LEAST_SKILL)
    if task == "binary":
        return {"auc": Bound(change=CHANGE), "log_loss": Bound(change=CHANGE), "skill": least}
    if task == "multiclass":
        return {"log_loss": Bound(change=CHANGE), "accuracy": Bound(change=CHANGE), "skill": least}
    return {"rmse": Bound(relative=0.02), "mae": Bound(relative=0.02), "r2": least}


def check_bound(name: str, metric: Metric | type[Metric], bound: Bound, task: str) -> None:
    """Checks that a bound fits its metric.

    Raises:
      ValueError: the task has no such metric, or neither side of it is better.
    """
    if task not in metric.tasks:
        known = ", ".join(other for other, kind in METRICS.all().items() if task in kind.tasks)
        raise ValueError(f"{name} is no metric of the task {task}; the metrics are {known}")
    if metric.better is None and (bound.change is not None or bound.relative is not None):
        raise ValueError(
            f"{name} is neither better high nor low, so it takes neither change nor relative; use min and max"
        )


def check_columns(settings: EvaluatorSettings, label: str, columns: Iterable[str]) -> None:
    """Checks that label and slices name columns of the schema.

    Raises:
      GateError: a column that is not there, with the nearest name.
    """
    known = sorted(columns)
    if label not in known:
        raise GateError(
            f"the schema has no label column {label!r}",
            where="label.column",
            next_step=did_you_mean(label, known) or f"the columns are {', '.join(known)}",
        )
    for column in (column for slicing in settings.slices for column in slicing):
        if column not in known:
            raise GateError(
                f"no column {column!r} to slice by",
                where="gates.model.slices",
                next_step=did_you_mean(column, known) or f"the columns are {', '.join(known)}",
            )
