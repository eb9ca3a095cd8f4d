"""The Evaluator's settings: the keys of `gates.model`, and the measurement behind each default.

This module imports neither numpy nor TensorFlow.
"""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from noria.components.evaluator.metrics import METRICS
from noria.core.settings import Settings, listed
from noria.core.tasks import TASKS

# Two equally good models of the flights, compared on the held-out fifth of each of 48 weeks (1,260 rows): AUC differs
# with a standard deviation of 0.006, log loss of 0.008. A bound of 0.005 refuses 9 and 8 of the 48 by chance, 0.01
# refuses 4 and 3. Chance differences grow with 1 / sqrt(rows), and so do the default bounds below MEASURED_ROWS.
CHANGE, MEASURED_ROWS = 0.01, 1_260
# Skill below which a model is worse than a guess. The guess knows the very rows, so a model of noise has a little less
# than 0; 0.05 is 0.03 nats a row where both classes are equally frequent, as much as the base rate's share can cost.
LEAST_SKILL = -0.05
RELATIVE = 0.02


class Bound(Settings):
    """What a metric must be."""

    min: float | None = Field(
        default=None,
        description="The metric must be at least this. If the champion fails `min` or `max` on the newest rows, the "
        "challenger replaces it as soon as its loss is lower.",
    )
    max: float | None = Field(default=None, description="The metric must be at most this.")
    change: float | None = Field(
        default=None,
        ge=0,
        description="How much worse than the champion's the metric may be on the same rows, in its own unit.",
    )
    relative: float | None = Field(
        default=None, ge=0, description="The same as a share of the champion's (0.01: one per cent)."
    )

    @model_validator(mode="after")
    def _something(self) -> "Bound":
        if all(value is None for value in (self.min, self.max, self.change, self.relative)):
            raise ValueError("must set at least one of min, max, change, relative, got none")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"must have a min of at most max, got {self.min:g} and {self.max:g}")
        return self


def default_bounds(task: str, first_run: bool, rows: int | None = None) -> dict[str, Bound]:
    """The bounds of a gate that names none: change against the champion, and skill against a guess.

    The first version must be at least as good as the guess. For later ones the bound is an alarm: see `model_verdict`.

    Args:
      task: `binary`, `multiclass` or `regression`.
      first_run: True if there is no champion.
      rows: of the eval split. With fewer, equally good models differ more, and their bounds are wider; None: enough.

    >>> default_bounds("binary", False)["auc"].change, default_bounds("binary", False, rows=315)["auc"].change
    (0.01, 0.02)
    """
    wider = math.sqrt(max(1.0, MEASURED_ROWS / max(1, rows or MEASURED_ROWS)))
    least = Bound(min=0.0 if first_run else LEAST_SKILL)
    change = Bound(change=round(CHANGE * wider, 4))
    if task == "binary":
        return {"auc": change, "log_loss": change, "skill": least}
    if task == "multiclass":
        return {"log_loss": change, "accuracy": change, "skill": least}
    relative = Bound(relative=round(RELATIVE * wider, 4))
    return {"rmse": relative, "mae": relative, "r2": least}


def _shown(task: str) -> str:
    bounds = {
        name: bound.model_dump(exclude_none=True) for name, bound in default_bounds(task, False).items()
    }
    return f"{task} " + ", ".join(
        f"`{name}: {json.dumps(bound)}`".replace('"', "") for name, bound in bounds.items()
    )


def _tuples(value: Any) -> Any:
    """A single column name means a list of one column."""
    return [listed(entry) for entry in listed(value)] if isinstance(value, str | list | tuple) else value


class EvaluatorSettings(Settings):
    """All of the gate's settings."""

    metrics: dict[Annotated[str, AfterValidator(METRICS.check_name)], Bound] | None = Field(
        default=None,
        description="Bounds by metric name, or by the import path of your own metric, such as "
        "`my_project.metrics.Brier`. Names: "
        + ", ".join(f"`{name}` ({', '.join(kind.tasks)})" for name, kind in METRICS.all().items())
        + f". Default: {'; '.join(map(_shown, TASKS))}. With fewer than 1,260 held-out rows these `change` and "
        "`relative` are wider, as equally good models differ more there (1 / sqrt(rows)). In the first run `skill` "
        "(`r2`) must be at least 0: no worse than a guess. `{}` blesses nothing.",
    )
    slices: Annotated[list[list[str]], BeforeValidator(_tuples)] = Field(
        default_factory=list,
        description="Columns by whose values the rows are sliced; a list of columns is a crossed slice.",
    )
    slice_change: float | None = Field(
        # Two equally good models of the flights, compared on the held-out fifth of each of 48 weeks (1,260 rows): 5 per
        # cent and 3 standard errors refuse 3 of 48 by chance, with 100 examples as with 200, and find 98.8 per cent of
        # the carriers and origins whose predictions are turned upside down.
        default=0.05,
        ge=0,
        description="Share by which the mean loss on a slice may rise against the champion's. `null`: slices "
        "inform and do not judge.",
    )
    min_examples: int = Field(
        # In the same weeks a minimum of 500 would judge 3 of 545 slices, 200 judges 260, 100 judges 400.
        default=100,
        ge=1,
        description="Rows below which a slice is reported as `too few` and does not judge.",
    )
    first_run: Literal["thresholds", "bless", "refuse"] = Field(
        default="thresholds",  # fails closed
        description="If there is no champion yet: `thresholds` (the absolute bounds decide), `bless` "
        "(without judging) or `refuse` (a person promotes the first version).",
    )
