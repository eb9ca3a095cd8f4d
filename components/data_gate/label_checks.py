"""The label: its rate in all rows, and in each category, because one source may label wrongly."""

import dataclasses
import math
from collections.abc import Iterable

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate import binning
from noria.components.data_gate.finding import BROKEN, DRIFTED, Finding
from noria.components.data_gate.settings import LabelRate

# Labelled rows of a category below which its log odds are noise.
MIN_ROWS = 100
FeatureStatistics = statistics_pb2.FeatureNameStatistics


def check_rate(
    label: FeatureStatistics | None,
    references: dict[str, FeatureStatistics | None],
    task: str,
    unlabelled: float,
    thresholds: LabelRate | None,
) -> tuple[list[Finding], dict]:
    """Compares the label's mean with each reference's, and the share of rows without a label with its limit.

    binary: absolute change of the mean. multiclass: largest absolute change of a class's share. regression: change of
    the mean in the reference's standard deviations.

    A change is a finding only if it is one against every reference: the week before may have been unusual.

    Returns:
      The findings, and the numbers for the verdict's `label_rate`.
    """
    numbers: dict = {"rate": _mean(label, task), "unlabelled": unlabelled, "references": {}}
    changes = []
    for name, reference in references.items():
        if label is None or reference is None:
            continue
        change = _change(label, reference, task)
        if change is not None:
            numbers["references"][name] = {"rate": _mean(reference, task), "change": change}
            changes.append(change)
    if thresholds is None:
        return [], numbers
    findings = []
    if changes:
        least = min(changes)
        text = f"the label moved by {least:.2f} or more against {' and '.join(numbers['references'])}"
        if least > thresholds.broken:
            findings.append(Finding(BROKEN, "label", "", f"{text} (broken above {thresholds.broken})"))
        elif least > thresholds.change:
            findings.append(Finding(DRIFTED, "label", "", f"{text} (drifted above {thresholds.change})"))
    if unlabelled > thresholds.unlabelled:
        severity = BROKEN if unlabelled > 2 * thresholds.unlabelled else DRIFTED
        text = f"{unlabelled:.0%} of the rows have no label (drifted above {thresholds.unlabelled:.0%})"
        findings.append(Finding(severity, "label", "", text))
    return findings, numbers


def pool(tables: Iterable[dict]) -> dict:
    """Adds up several spans' label tables, value by value; correlations are averaged by rows.

    A single week is no reference for a single airline: its offset wanders by up to 1.0 from week to week, and by
    half of that around the mean of eight weeks.
    """
    total: dict = {}
    weights: dict = {}
    for table in tables:
        for value, told in table.items():
            sums = total.setdefault(value, {"rows": 0, "label": 0.0, "correlation": {}})
            sums["rows"] += told["rows"]
            sums["label"] += told["label"]
            for name, correlation in told["correlation"].items():
                weights[value, name] = weights.get((value, name), 0) + told["rows"]
                sums["correlation"][name] = sums["correlation"].get(name, 0.0) + correlation * told["rows"]
    for value, sums in total.items():
        sums["correlation"] = {
            name: product / weights[value, name] for name, product in sums["correlation"].items()
        }
    return total


def check_slices(
    current: dict[str, FeatureStatistics],
    past: list[dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Finding]:
    """Looks for a category whose label is flipped while the others' are not.

    Two signs, both against the older spans pooled:

    - its log odds against all other rows moved by more than `limit` and 6 standard errors, and its label hardly
      correlates with the features as before (agreement below 0.4);
    - or its label correlates with the features the other way round (agreement below -0.5, and 6 standard errors
      below 0). This also shows where the rate is near one half, and a flip leaves it there.

    Either is `broken`. Three quarters of the limit, and 6 standard errors, are `drifted`.
    """
    if limit is None:
        return []
    findings = []
    for name, feature in current.items():
        mine = gate_statistics.text_of(feature, gate_statistics.LABEL_BY_VALUE)
        if not mine:
            continue
        theirs = pool(
            gate_statistics.text_of(span[name], gate_statistics.LABEL_BY_VALUE)
            for span in past
            if name in span
        )
        for value in mine:
            move = moved(mine, theirs, value)
            if move is None:
                continue
            text = (
                f"{name}={value}: label rate {_rate(mine[value]):.2f}, {_rate(theirs[value]):.2f} before; "
                f"log odds against all others {move.shift:+.1f} (limit {limit}); "
                f"agreement of its correlations with the features {move.agreement:+.1f}"
            )
            far = abs(move.errors) > 6
            flipped = move.agreement < -0.5 and move.agreement_errors < -6
            if flipped or (far and abs(move.shift) > limit and move.agreement < 0.4):
                findings.append(Finding(BROKEN, "label", name, f"the label looks flipped for {text}"))
            elif far and abs(move.shift) > 0.75 * limit:
                findings.append(Finding(DRIFTED, "label", name, f"the label moved for {text}"))
    return findings


@dataclasses.dataclass(frozen=True)
class Moved:
    """How one category's label moved against the reference.

    Attributes:
      shift: change of its log odds against all other rows', so that a bad week for all is no shift of one.
      errors: the shift in standard errors.
      agreement: regression of its label-feature correlations on the reference's: 1 the same, 0 none, -1 flipped.
      agreement_errors: the same in standard errors.
    """

    shift: float
    errors: float
    agreement: float
    agreement_errors: float


def moved(mine: dict, theirs: dict, value: str) -> Moved | None:
    """How the label of one value moved from `theirs` to `mine`; None below 100 labelled rows on either side.

    Args:
      mine, theirs: value → {"rows", "label", "correlation"}, as StatisticsGen's facts have it.
      value: the category.
    """
    if value not in mine or value not in theirs:
        return None
    if min(mine[value]["rows"], theirs[value]["rows"]) < MIN_ROWS:
        return None
    (now, variance), (before, old_variance) = _log_odds(mine, value), _log_odds(theirs, value)
    shift = now - before
    left, right = mine[value]["correlation"], theirs[value]["correlation"]
    shared = left.keys() & right.keys()
    square = sum(right[name] ** 2 for name in shared)
    if square <= 0:
        return Moved(shift, shift / math.sqrt(variance + old_variance), 1.0, 0.0)
    agreement = sum(left[name] * right[name] for name in shared) / square
    # Each correlation has a standard error of about 1/sqrt(n); the features are taken as independent.
    error = 1 / math.sqrt(mine[value]["rows"] * square)
    return Moved(shift, shift / math.sqrt(variance + old_variance), agreement, agreement / error)


def _log_odds(by_value: dict, value: str) -> tuple[float, float]:
    """Log odds of a value against all others', with half a row added (Haldane's correction), and its variance."""
    inside = by_value[value]
    rows = sum(other["rows"] for other in by_value.values()) - inside["rows"]
    positive = sum(other["label"] for other in by_value.values()) - inside["label"]
    a, b = inside["label"] + 0.5, inside["rows"] - inside["label"] + 0.5
    c, d = positive + 0.5, rows - positive + 0.5
    return math.log(a / b) - math.log(c / d), 1 / a + 1 / b + 1 / c + 1 / d


def _rate(told: dict) -> float:
    return told["label"] / max(told["rows"], 1)


def _mean(label: FeatureStatistics | None, task: str) -> float | None:
    if label is None or task == "multiclass":
        return None
    told = gate_statistics.text_of(label, gate_statistics.LABEL)
    if told:
        return _rate(told)
    return label.num_stats.mean if label.WhichOneof("stats") == "num_stats" else None


def _change(label: FeatureStatistics, reference: FeatureStatistics, task: str) -> float | None:
    if task == "multiclass":
        bins = binning.by_reference(label, reference)
        if bins is None:
            return None
        return float(abs(bins.current / bins.current.sum() - bins.reference / bins.reference.sum()).max())
    now, before = _mean(label, task), _mean(reference, task)
    if now is None or before is None:
        return None
    if task == "regression":
        return abs(now - before) / max(reference.num_stats.std_dev, 1e-12)
    return abs(now - before)
