"""The model verdict: plain maths on metrics, with a reason for everything. No TFX, no TensorFlow.

Blessed is what passes both TFMA's own validation of the bounds on all rows and the rule for slices:

    a slice of at least `min_examples` rows has regressed if the mean loss of its rows rose by more than
    `slice_change` times the champion's loss there, and by more than `SIGMAS` standard errors of that rise.

Both models see the same rows, so the rise is a mean of differences row by row and its standard error is small
(see `paired`). The first condition lets harmless changes of huge slices pass, the second one the bad luck of small
ones.

The bounds `min` and `max` say what may be served. They never keep a worse model: where the champion fails one of them
on the newest rows, the challenger replaces it if the mean loss of its rows is lower, even if other bounds fail.
While what serves fails one, the verdict has an alarm.
"""

import dataclasses
import math
from typing import Any

from noria.components.evaluator.gate import Gate

# With 20 slices of two equally good models, 3 standard errors reject 3 verdicts in 100 by chance alone (20
# times 0.13 per cent); 2 would reject 37 in 100.
SIGMAS = 3.0

OVERALL = "all rows"


@dataclasses.dataclass(frozen=True)
class SliceMetrics:
    """Metrics of one slice.

    Attributes:
      slice: column to value; empty for all rows.
      challenger: metrics by name.
      champion: the same of the champion, None on the first run.
      loss_change: mean rise of the loss by row, None on the first run.
      loss_change_error: its standard error.
    """

    slice: dict[str, Any]
    challenger: dict[str, float]
    champion: dict[str, float] | None = None
    loss_change: float | None = None
    loss_change_error: float | None = None

    @property
    def name(self) -> str:
        """`origin=JFK`, `carrier=AA, origin=JFK`, or `all rows`."""
        return ", ".join(f"{column}={value}" for column, value in sorted(self.slice.items())) or OVERALL

    @property
    def rows(self) -> int:
        """Rows in the slice."""
        return int(self.challenger.get("example_count", 0))


def judge(
    gate: Gate,
    slices: list[SliceMetrics],
    *,
    validation_ok: bool,
    champion: int | None,
    problems: list[str] | None = None,
) -> dict[str, Any]:
    """Judges a challenger.

    Args:
      gate: what it is judged by.
      slices: metrics of all slices, that of all rows among them; may be empty if there are problems.
      validation_ok: TFMA's own verdict on the bounds.
      champion: version of the champion, None on the first run.
      problems: what kept the metrics from being computed at all.

    Returns:
      The content of `model_verdict.json`.
    """
    overall = next((part for part in slices if not part.slice), None)
    broken = list(problems or ())
    unfit: list[str] = []  # why the challenger may not be served, champion or not
    worse: list[str] = []  # in what it is worse than the champion
    checks: list[dict[str, Any]] = []
    judged: list[dict[str, Any]] = []
    if overall is None or overall.rows == 0:
        broken = broken or ["the eval split has no rows to judge by"]
    else:
        broken += _not_judgeable(gate, overall)
        checks = _bound_checks(gate, overall)
        for check in checks:
            if not check["passed"]:
                reasons = unfit if check["kind"] == "value" else worse
                reasons.append(_explain(gate, check, overall, champion))
        for part in slices:
            if part.slice:
                entry, found = _slice(gate, part)
                judged.append(entry)
                if found is not None:
                    checks.append(found)
                    if not found["passed"]:
                        worse.append(_explain_slice(found, part))
        broken += _policy(gate, checks, first_run=champion is None)
        if not broken + unfit + worse and not validation_ok and checks:
            broken.append("TFMA's validation failed although every bound holds; see validations.tfrecord")
    champion_unfit = _champion_unfit(gate, overall)
    rescued = bool(not broken and unfit + worse and champion_unfit and _less_loss(overall))
    faults = [] if rescued else broken + unfit + worse
    if rescued:
        reasons = _rescue(overall, champion, champion_unfit, unfit + worse)
    else:
        reasons = faults or _good_news(gate, overall, champion, judged)
    if faults:
        alarms = [f"champion {champion} still serves, and its {line}" for line in champion_unfit]
    else:
        alarms = [f"the challenger is published, and {line}" for line in unfit]
    return {
        "blessed": not faults,
        "reasons": reasons,
        "alarms": alarms,
        "rescued": rescued,
        "baseline": champion,
        "first_run": champion is None,
        "metrics": {
            "challenger": _finite(overall.challenger) if overall else {},
            "champion": _finite(overall.champion) if overall and overall.champion else None,
        },
        "undefined": _undefined(gate, overall.challenger) if overall and overall.rows else {},
        "slices": sorted(judged, key=lambda entry: -entry["challenger"].get("example_count", 0)),
        "checks": checks,
    }


def _champion_unfit(gate: Gate, overall: SliceMetrics | None) -> list[str]:
    """The bounds that the champion fails on the same rows, in words; what is not defined says nothing."""
    metrics = (overall.champion if overall else None) or {}
    found = []
    for name, bound in gate.bounds.items():
        value = metrics.get(name, math.nan)
        for key, fails in (("min", lambda v, limit: v < limit), ("max", lambda v, limit: v > limit)):
            limit = getattr(bound, key)
            if limit is not None and math.isfinite(value) and fails(value, limit):
                found.append(f"{name} is {value:.4f}, it must be at {_END[key]} {limit:g}")
    return found


def _less_loss(overall: SliceMetrics | None) -> bool:
    return overall is not None and overall.loss_change is not None and overall.loss_change < 0


def _rescue(
    overall: SliceMetrics | None, champion: int | None, champion_unfit: list[str], failed: list[str]
) -> list[str]:
    """Why a challenger that fails bounds replaces the champion."""
    assert overall is not None and overall.loss_change is not None
    error = overall.loss_change_error
    sure = f" (standard error {error:.4f})" if error is not None and math.isfinite(error) else ""
    return [
        f"champion {champion} must not serve any longer: its {'; its '.join(champion_unfit)}",
        f"the challenger replaces it, because the mean loss of the same {overall.rows:,} rows is "
        f"{-overall.loss_change:.4f} lower{sure}",
        *(f"despite this: {line}" for line in failed),
    ]


def _undefined(gate: Gate, metrics: dict[str, float]) -> dict[str, str]:
    """The metrics that have no value on these rows, and what they need."""
    return {
        name: f"it needs {kind.needs}" if kind.needs else "it has no value"
        for name, kind in gate.metrics.items()
        if not math.isfinite(metrics.get(name, math.nan))
    }


def _not_judgeable(gate: Gate, overall: SliceMetrics) -> list[str]:
    mean = overall.challenger.get("label_mean")
    if gate.task == "binary" and mean in (0.0, 1.0):
        return [
            f"all {overall.rows:,} rows of the eval split have the label {mean:g}, "
            "so no metric can compare models"
        ]
    return []


def _bound_checks(gate: Gate, overall: SliceMetrics) -> list[dict[str, Any]]:
    checks = []
    for name, bound in gate.bounds.items():
        value = overall.challenger.get(name, math.nan)
        for key in ("min", "max"):
            limit = getattr(bound, key)
            if limit is not None:
                passed = value >= limit if key == "min" else value <= limit
                checks.append(_check(name, OVERALL, "value", key, limit, value, passed))
        if overall.champion is None:
            continue
        other = overall.champion.get(name, math.nan)
        sign = -1.0 if gate.metrics[name].better == "higher" else 1.0
        for key in ("change", "relative"):
            limit = getattr(bound, key)
            if limit is None:
                continue
            change = value - other
            if key == "relative":
                change = change / other if other else math.nan
            checks.append(_check(name, OVERALL, "change", key, sign * limit, change, sign * change <= limit))
    return checks


def _check(
    metric: str, part: str, kind: str, bound: str, threshold: float, value: float, passed: bool
) -> dict[str, Any]:
    return {
        "metric": metric,
        "slice": part,
        "kind": kind,
        "bound": bound,
        "threshold": threshold,
        "value": value if math.isfinite(value) else None,
        "passed": bool(passed),
    }


def _slice(gate: Gate, part: SliceMetrics) -> tuple[dict[str, Any], dict[str, Any] | None]:
    entry = {
        "slice": part.slice,
        "challenger": _finite(part.challenger),
        "champion": _finite(part.champion) if part.champion is not None else None,
        "loss_change": _number(part.loss_change),
        "loss_change_error": _number(part.loss_change_error),
        "status": "ok" if part.rows >= gate.settings.min_examples else "too few",
    }
    if entry["status"] == "too few" or gate.settings.slice_change is None or part.champion is None:
        return entry, None
    loss = _champion_loss(gate.task, part.champion)
    change = part.loss_change if part.loss_change is not None else math.nan
    error = part.loss_change_error or 0.0
    allowed = max(gate.settings.slice_change * loss, SIGMAS * error if math.isfinite(error) else 0.0)
    check = _check("loss", part.name, "slice", "slice_change", allowed, change, change <= allowed)
    if not check["passed"]:
        entry["status"] = "regressed"
    return entry, check


def _champion_loss(task: str, metrics: dict[str, float]) -> float:
    return metrics["rmse"] ** 2 if task == "regression" else metrics["log_loss"]


def _policy(gate: Gate, checks: list[dict[str, Any]], first_run: bool) -> list[str]:
    bounded = any(check["kind"] != "slice" for check in checks)
    if not first_run:
        return (
            []
            if bounded
            else ["no threshold is set (gates.model.metrics), and without one nothing is blessed"]
        )
    if gate.settings.first_run == "refuse":
        return ["first run: gates.model.first_run is `refuse`, so a person promotes the first version"]
    if gate.settings.first_run == "thresholds" and not bounded:
        return [
            "first run: there is no champion to compare with and no min or max is set (gates.model.metrics); "
            "set one, or gates.model.first_run to `bless`"
        ]
    return []


def _explain(gate: Gate, check: dict[str, Any], overall: SliceMetrics, champion: int | None) -> str:
    name, value = check["metric"], check["value"]
    if value is None:
        needs = _undefined(gate, overall.challenger).get(name, "the champion has no value")
        return f"{name} is not defined on these rows: {needs}"
    if check["kind"] == "value":
        return f"{name} is {value:.4f}, it must be at {_END[check['bound']]} {check['threshold']:g}"
    mine, theirs = overall.challenger[name], (overall.champion or {})[name]
    if check["bound"] == "relative":
        by, limit = f"{abs(value):.1%}", f"{abs(check['threshold']):.1%}"
    else:
        by, limit = f"{abs(value):.4f}", f"{abs(check['threshold']):g}"
    return f"{name} is {mine:.4f}, {by} worse than champion {champion}'s {theirs:.4f} (allowed: {limit})"


_END = {"min": "least", "max": "most"}


def _explain_slice(check: dict[str, Any], part: SliceMetrics) -> str:
    if check["value"] is None:
        return f"the loss on {part.name} is not a number"
    return (
        f"{part.name} got worse: the loss of its {part.rows:,} rows rose by {check['value']:.4f} "
        f"(standard error {part.loss_change_error or 0.0:.4f}), at most {check['threshold']:.4f} is allowed"
    )


def _good_news(
    gate: Gate, overall: SliceMetrics | None, champion: int | None, judged: list[dict[str, Any]]
) -> list[str]:
    if overall is None:
        return []
    shown = [name for name in gate.metrics if gate.metrics[name].better and name in overall.challenger]
    if champion is None:
        values = ", ".join(f"{name} {_figure(overall.challenger[name])}" for name in shown)
        return [f"first run: {values} on {overall.rows:,} rows"]
    values = ", ".join(
        f"{name} {_figure(overall.challenger[name])} (champion {champion}: {_figure(overall.champion[name])})"
        for name in shown
        if overall.champion and name in overall.champion
    )
    held = sum(entry["status"] == "ok" for entry in judged)
    slices = f"; none of {held} slices got worse" if judged else ""
    return [f"{values} on {overall.rows:,} rows{slices}"]


def _figure(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "not defined"


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in metrics.items()}


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
