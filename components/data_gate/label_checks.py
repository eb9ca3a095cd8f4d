"""The label: its rate in all rows, and in each category, because one source may label wrongly."""

import dataclasses
import math
from collections.abc import Iterable
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate import binning, significance
from noria.components.data_gate.settings import LabelRate
from noria.components.data_gate.significance import Test

# Labelled rows of a category below which its log odds are noise.
MIN_ROWS = 100
# Standard errors of a move that counts: labels of one source are correlated, so they vary more than by chance.
ERRORS = 6
# Share of the other classes that may disappear from a span.
CONSTANT = 0.01
FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics


def check_rate(
    label: FeatureStatistics | None,
    references: dict[str, FeatureStatistics | None],
    task: str,
    unlabelled: tuple[int, int],
    thresholds: LabelRate | None,
) -> tuple[list[Test], dict]:
    """Compares the label with each reference's, and the share of rows without a label with its limit.

    binary: absolute change of the mean. multiclass: largest absolute change of a class's share. regression: change of
    the mean in the reference's standard deviations, which is `drifted` and never `broken`: a season or a price level
    moves it as a fault does. A label with one class only, where others were ordinary, is a default value: `broken`.

    A change counts only if it is one against every reference: the week before may have been unusual.

    Args:
      label: its statistics.
      references: title → the same.
      task: `binary`, `multiclass` or `regression`.
      unlabelled: rows without a label, and all rows.
      thresholds: None measures and does not test.

    Returns:
      The tests, and the numbers for the verdict's `label_rate`.
    """
    missing, rows = unlabelled
    share = missing / max(rows, 1)
    numbers: dict = {"rate": _mean(label, task), "unlabelled": share, "references": {}}
    by_reference = []
    for title, reference in references.items():
        change = None if label is None or reference is None else _change(label, reference, task)
        if change is None:
            continue
        numbers["references"][title] = {"rate": _mean(reference, task), "change": change.size}
        if thresholds is not None:
            by_reference.append(_tests(change, title, task, thresholds))
    if thresholds is None:
        return [], numbers
    tests = significance.against_all(by_reference)
    tests.append(
        Test(
            "label",
            "",
            f"{share:.0%} of the rows have no label (drifted above {thresholds.unlabelled:.0%})",
            rows,
            significance.above(missing, rows, thresholds.unlabelled),
            share,
            drifted=thresholds.unlabelled,
            broken=2 * thresholds.unlabelled,
            part="unlabelled",
        )
    )
    return tests, numbers


def _tests(change: "_Change", title: str, task: str, thresholds: LabelRate) -> list[Test]:
    quantity = task == "regression"
    unit = " standard deviations" if quantity else ""
    moved = Test(
        "label",
        "",
        f"the label moved by {change.size:.2f}{unit} against {title}",
        change.rows,
        change.p,
        change.size,
        drifted=thresholds.deviations if quantity else thresholds.change,
        broken=None if quantity else thresholds.broken,
        part="rate",
    )
    if not change.only:
        return [moved]
    constant = Test(
        "label",
        "",
        f"every label is {change.only}; {change.others:.0%} were not, in {title}: it may be a default value",
        change.rows,
        change.p,
        change.others,
        broken=CONSTANT,
        part="constant",
    )
    return [moved, constant]


def pool(tables: Iterable[dict]) -> dict:
    """Adds up several spans' label tables, value by value; correlations are averaged by rows.

    A single week is not a reference for a single airline: its offset wanders by up to 1.0 from week to week, and by
    half of that around the mean of eight weeks.
    """
    total: dict = {}
    weights: dict = {}
    for table in tables:
        for value, counts in table.items():
            sums = total.setdefault(value, {"rows": 0, "label": 0.0, "correlation": {}})
            sums["rows"] += counts["rows"]
            sums["label"] += counts["label"]
            for name, correlation in counts["correlation"].items():
                weights[value, name] = weights.get((value, name), 0) + counts["rows"]
                sums["correlation"][name] = sums["correlation"].get(name, 0.0) + correlation * counts["rows"]
    for value, sums in total.items():
        sums["correlation"] = {
            name: product / weights[value, name] for name, product in sums["correlation"].items()
        }
    return total


def check_slices(
    current: dict[str, FeatureStatistics],
    past: list[dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Test]:
    """Looks for a category whose label is flipped while the others' are not.

    Two signs, both against the older spans pooled:

    - its log odds against all other rows moved by more than `limit` and 6 standard errors, and its label hardly
      correlates with the features as before (agreement below 0.4);
    - or its label correlates with the features the other way round (agreement below -0.5, and 6 standard errors
      below 0), and that of the other rows does not. This also shows where the rate is near one half, and a flip leaves
      it there.

    Either is `broken`. Three quarters of the limit, and 6 standard errors, are `drifted`. Where the label is inverted
    in all rows the world has changed, and that is not a fault of one category.
    """
    if limit is None:
        return []
    tests = []
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
                f"agreement of its correlations with the features {move.agreement:+.1f}, "
                f"of the other rows' {move.others:+.1f}"
            )
            far = abs(move.errors) > ERRORS
            turned = move.agreement < -0.5 and move.agreement_errors < -ERRORS and move.others > 0
            flipped = turned or (far and abs(move.shift) > limit and move.agreement < 0.4)
            shifted = far and abs(move.shift) > 0.75 * limit
            errors = -move.agreement_errors if turned else abs(move.errors)
            tests.append(
                Test(
                    "label",
                    name,
                    f"the label {'looks flipped' if flipped else 'moved'} for {text}",
                    mine[value]["rows"],
                    min(1.0, 2 * significance.z_test(errors)),
                    # Two signs, one scale: the limit is 1.
                    2.0 if flipped else 0.9 if shifted else 0.0,
                    drifted=0.75,
                    broken=1.0,
                    part=value,
                )
            )
    return tests


@dataclasses.dataclass(frozen=True)
class Moved:
    """How one category's label moved against the reference.

    Attributes:
      shift: change of its log odds against all other rows', so that a bad week for all is not a shift of one of them.
      errors: the shift in standard errors.
      agreement: regression of its label-feature correlations on the reference's: 1 the same, 0 none, -1 flipped.
      agreement_errors: the same in standard errors.
      others: the agreement of all other rows, 1 where it is unknown.
    """

    shift: float
    errors: float
    agreement: float
    agreement_errors: float
    others: float = 1.0


def moved(mine: dict, theirs: dict, value: str) -> Moved | None:
    """How the label of one value moved from `theirs` to `mine`; None below 100 labelled rows on either side.

    Args:
      mine, theirs: value → {"rows", "label", "correlation"}, as `row_statistics` has it.
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
    return Moved(
        shift,
        shift / math.sqrt(variance + old_variance),
        agreement,
        agreement / error,
        _agreement_of_others(mine, theirs, value),
    )


def _agreement_of_others(mine: dict, theirs: dict, value: str) -> float:
    """The other values' agreement, by rows."""
    product = square = 0.0
    for other in mine.keys() & theirs.keys() - {value}:
        left, right = mine[other]["correlation"], theirs[other]["correlation"]
        rows = mine[other]["rows"]
        product += rows * sum(left[name] * right[name] for name in left.keys() & right.keys())
        square += rows * sum(right[name] ** 2 for name in left.keys() & right.keys())
    return product / square if square > 0 else 1.0


def _log_odds(by_value: dict, value: str) -> tuple[float, float]:
    """Log odds of a value against all others', with half a row added (Haldane's correction), and its variance."""
    inside = by_value[value]
    rows = sum(other["rows"] for other in by_value.values()) - inside["rows"]
    positive = sum(other["label"] for other in by_value.values()) - inside["label"]
    a, b = inside["label"] + 0.5, inside["rows"] - inside["label"] + 0.5
    c, d = positive + 0.5, rows - positive + 0.5
    return math.log(a / b) - math.log(c / d), 1 / a + 1 / b + 1 / c + 1 / d


def _rate(counts: dict) -> float:
    return counts["label"] / max(counts["rows"], 1)


def _mean(label: FeatureStatistics | None, task: str) -> float | None:
    if label is None or task == "multiclass":
        return None
    counts = gate_statistics.text_of(label, gate_statistics.LABEL)
    if counts:
        return _rate(counts)
    return label.num_stats.mean if label.WhichOneof("stats") == "num_stats" else None


@dataclasses.dataclass(frozen=True)
class _Change:
    """How the label moved: size, p-value, rows; `only` is the one class left, `others` what was not of it before."""

    size: float
    p: float
    rows: int
    only: str = ""
    others: float = 0.0


def _change(label: FeatureStatistics, reference: FeatureStatistics, task: str) -> _Change | None:
    if task == "multiclass":
        bins = binning.by_reference(label, reference)
        if bins is None:
            return None
        now, before = bins.current.sum(), bins.reference.sum()
        shares, others = bins.current / now, bins.reference / before
        size = float(abs(shares - others).max())
        p = significance.same_distribution(bins.current.tolist(), bins.reference.tolist())
        top = int(shares.argmax())
        only = bins.names[top] if shares[top] == 1 else ""
        return _Change(size, p, int(now), only, float(1 - others[top]))
    now, before = _mean(label, task), _mean(reference, task)
    if now is None or before is None:
        return None
    rows, old_rows = (int(side.num_stats.common_stats.num_non_missing) for side in (label, reference))
    if task == "regression":
        spread = max(reference.num_stats.std_dev, 1e-12)
        error = math.sqrt(label.num_stats.std_dev**2 / max(rows, 1) + spread**2 / max(old_rows, 1))
        z = abs(now - before) / max(error, 1e-12)
        return _Change(abs(now - before) / spread, min(1.0, 2 * significance.z_test(z)), rows)
    p = significance.two_shares(now, rows, before, old_rows)
    only = f"{now:g}" if now in (0.0, 1.0) else ""
    return _Change(abs(now - before), p, rows, only, abs(now - before))
