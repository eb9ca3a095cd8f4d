"""The model's results for the page: slices, checks, the warm start."""

import collections
from collections.abc import Mapping
from typing import Any

from noria.pipeline.report import charts
from noria.pipeline.report.display_names import judged_metrics, lower_is_better
from noria.pipeline.report.words import is_number, or_zero

SLICE_WIDTH = 200.0


def slice_rows(verdict: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The slices with their dots, one scale per metric; all rows first, then regressed ones, then by size."""
    if verdict is None:
        return None
    metrics = verdict.get("metrics") or {}
    rows = []
    for entry in verdict.get("slices") or []:
        keys = entry.get("slice") or {}
        name = " · ".join(f"{key} = {value}" for key, value in keys.items()) or "all rows"
        rows.append((name, entry.get("challenger") or {}, entry.get("champion") or {}, entry.get("status")))
    order = {"regressed": 0, "ok": 1, "too few": 2}
    rows.sort(key=lambda r: (order.get(str(r[3]), 1), -or_zero(r[1].get("example_count"))))
    if metrics.get("challenger"):
        rows.insert(0, ("all rows", metrics["challenger"], metrics.get("champion") or {}, "overall"))
    shown = judged(next((row[1] for row in rows if row[1]), {}))
    scales = {}
    for key in shown:
        # A slice of few rows may have any value; the scale must still show the others.
        enough = [row for row in rows if row[3] != "too few"] or rows
        values = [side[key] for row in enough for side in row[1:3] if is_number(side.get(key))]
        scales[key] = charts.scale(values, 6, SLICE_WIDTH - 6)
    found = []
    for name, challenger, champion, status in rows:
        cells = []
        for key in shown:
            new, old, scale = challenger.get(key), champion.get(key), scales[key]
            change = difference(new, old)
            cells.append(
                {
                    "metric": key,
                    "challenger": new,
                    "champion": old,
                    "difference": change,
                    "better": better(key, change),
                    "x": _position(scale, new),
                    "x_champion": _position(scale, old),
                    "beyond": _beyond(scale, new),
                }
            )
        row = {"name": name, "count": challenger.get("example_count"), "cells": cells, "status": status}
        found.append({**row, "calibration": challenger.get("calibration")})
    return {"rows": found, "metrics": shown, "scales": scales, "width": SLICE_WIDTH}


def _position(scale: charts.Scale | None, value: Any) -> float | None:
    """Where the value's dot is; None where it has none, or is outside of the scale."""
    if scale is None or not is_number(value) or not scale.low <= value <= scale.high:
        return None
    return scale(value)


def _beyond(scale: charts.Scale | None, value: Any) -> str | None:
    """The side on which a value is outside of the scale."""
    if scale is None or not is_number(value) or scale.low <= value <= scale.high:
        return None
    return "left" if value < scale.low else "right"


def checks(verdict: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The model gate's checks, failed ones first."""
    kinds = {
        "value": "absolute",
        "change": "change against the champion",
        "slice": "no regression on the slice",
        "min": "at least",
        "max": "at most",
        "relative": "relative change against the champion",
        "slice_change": "rise of the loss on the slice, at most",
    }
    found = []
    for check in (verdict or {}).get("checks") or []:
        where = str(check.get("slice") or "")
        found.append(
            {
                "metric": str(check.get("metric")),
                "kind": kinds.get(str(check.get("bound") or check.get("kind")), str(check.get("kind"))),
                "slice": "all rows" if where.lower() in ("", "overall", "()") else where,
                "value": check.get("value"),
                "threshold": check.get("threshold"),
                "passed": bool(check.get("passed")),
            }
        )
    return sorted(found, key=lambda check: check["passed"])


def warm_start(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the new model took from the champion: counts by kind, and every line."""
    if report is None:
        return None
    order = ("new", "remapped", "vocabulary", "affine", "copied", "identical")
    groups = []
    for key, name in (("variables", "Weights"), ("optimizer", "Optimizer state"), ("features", "Features")):
        lines = [
            {field: str(line.get(field) or "") for field in ("name", "shape", "how", "detail")}
            for line in report.get(key) or []
        ]
        counts = collections.Counter(line["how"] for line in lines)
        lines.sort(key=lambda line: order.index(line["how"]) if line["how"] in order else -1)
        parts = [{"how": how, "count": n, "share": n / len(lines)} for how, n in counts.most_common()]
        # In every group's bar, what was kept is on the left and what is new on the right.
        parts.sort(key=lambda part: -order.index(part["how"]) if part["how"] in order else 1)
        groups.append({"key": key, "name": name, "lines": lines, "parts": parts})
    keys = ("mode", "from_version", "step", "start_step", "examples_seen", "transform", "first_rate")
    return {
        "training": {key: report.get(key) for key in keys},
        "groups": groups,
        "fresh_inputs": _mapping(report.get("fresh_inputs")),
        "not_finite": {name: n for name, n in _mapping(report.get("not_finite")).items() if is_number(n)},
        "guess": _guess(report),
        "rescue": _rescue(report),
        "twin": _twin_candidate(report),
        "since": report["since"] if is_number(report.get("since")) else None,
        "rates": _rates(report),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rescue(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the rescue compared and took; None where there was none, or it cannot be read."""
    rescue = _mapping(report.get("rescue"))
    candidates = {name: loss for name, loss in _mapping(rescue.get("candidates")).items() if is_number(loss)}
    if not all(is_number(rescue.get(key)) for key in ("champion", "matched", "guess")) or not candidates:
        return None
    return {**rescue, "candidates": sorted(candidates.items(), key=lambda pair: pair[1])}


def _twin_candidate(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the twin, as a candidate, was compared with; None where it was none, or it cannot be read."""
    twin = _mapping(report.get("twin"))
    losses = {name: loss for name, loss in _mapping(twin.get("candidates")).items() if is_number(loss)}
    if not {"champion", "twin"} <= losses.keys():
        return None
    return {**twin, **losses}


def twin(verdict: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The losses of twin and champion on the run's span; None where they were not scored, or it cannot be read."""
    found = _mapping((verdict or {}).get("twin"))
    if not is_number(found.get("version")):
        return None
    usable = is_number(found.get("loss")) and is_number(found.get("champion"))
    return {**found, "problem": None if usable else str(found.get("problem") or "its losses cannot be read")}


def _rates(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The learning rates that were compared, the one with the least record first; None where there was one."""
    rates = _mapping(report.get("rates"))
    records = {rate: value for rate, value in _mapping(rates.get("records")).items() if is_number(value)}
    if not is_number(rates.get("chosen")):
        return None
    return {"chosen": rates["chosen"], "records": sorted(records.items(), key=lambda pair: pair[1])}


def _guess(report: Mapping[str, Any]) -> str | None:
    """The part of the base rate in each score, in words; None if there is none."""
    rates, share = report.get("base_rate"), report.get("base_rate_share")
    if not isinstance(rates, list) or not all(is_number(part) for part in [*rates, share]) or not share:
        return None
    shown = ", ".join(f"{rate:.3g}" for rate in (rates[1:] if len(rates) == 2 else rates))
    return f"{100 * share:.3g} % of each score is the base rate of the newest spans ({shown})"


def judged(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that are shown: at most two, those that have a value and a better direction."""
    return judged_metrics(key for key, value in metrics.items() if is_number(value))


def difference(new: Any, old: Any) -> float | None:
    """Challenger less champion, or None where one has no value."""
    return new - old if is_number(new) and is_number(old) else None


def better(metric: str, change: float | None) -> bool | None:
    """Whether a change is for the better; None where it is neither."""
    # What shows as ±0.0000 is neither better nor worse.
    if change is None or round(change, 4) == 0:
        return None
    return (change < 0) == bool(lower_is_better(metric))
