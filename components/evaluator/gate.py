"""The model gate of one run: the settings, with all that depends on task, champion and project filled in.

Plain Python: no TFX, no TensorFlow.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from noria.components.evaluator.metrics import METRICS
from noria.components.evaluator.metrics.base import TASKS, Metric
from noria.components.evaluator.settings import Bound, EvaluatorSettings, default_bounds
from noria.core.errors import GateError, did_you_mean


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
    rows: int | None = None,
    project: str = "",
) -> Gate:
    """Fills in what the settings leave open.

    Args:
      settings: the keys of `gates.model`.
      task: `binary`, `multiclass` or `regression`.
      first_run: True if there is no champion.
      rows: of the eval split, which default bounds depend on; None if they are not known.
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
    bounds = default_bounds(task, first_run, rows) if settings.metrics is None else settings.metrics
    metrics = {name: METRICS.find(name, project or None)() for name in bounds}
    for name, bound in bounds.items():
        try:
            check_bound(name, metrics[name], bound, task)
        except ValueError as error:
            raise GateError(str(error), where=f"gates.model.metrics.{name}") from None
    reported = {name: kind() for name, kind in METRICS.all().items() if task in kind.reported}
    ordered = sorted((reported | metrics).items(), key=lambda pair: pair[1].order)
    return Gate(task, bounds, dict(ordered), settings, project)


def check_bound(name: str, metric: Metric | type[Metric], bound: Bound, task: str) -> None:
    """Checks that a bound fits its metric.

    Raises:
      ValueError: the task has no such metric, or neither side of it is better.
    """
    if task not in metric.tasks:
        known = ", ".join(other for other, kind in METRICS.all().items() if task in kind.tasks)
        raise ValueError(f"{name} is not a metric of the task {task}; the metrics are {known}")
    if metric.better is None and (bound.change is not None or bound.relative is not None):
        raise ValueError(
            f"{name} has no better direction, so it takes neither change nor relative; use min and max"
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
