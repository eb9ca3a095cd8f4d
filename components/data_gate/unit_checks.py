"""Units: all of a number's values are a multiple of what they were."""

import math
from collections.abc import Collection
from typing import TypeAlias

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.data_gate import binning, significance
from noria.components.data_gate.significance import Test

FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics
# Factors of conversions that people and programs make: length, weight, temperature, time, powers of ten.
FACTORS = (1.609344, 3.28084, 2.54, 2.20462, 1.8, 3.6, 60.0, 3600.0, 10.0, 100.0, 1000.0, 1e6)
FAHRENHEIT, AT_ZERO = 1.8, 32.0  # the only one with an offset: degrees Celsius times 1.8, plus 32
# Below this factor a season explains it.
SMALL = 1.3
# Relative distance to a factor, and relative error of the fit.
CLOSE = 0.02


def check_units(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    stable: Collection[str],
) -> list[Test]:
    """Looks for a numeric feature whose quantiles are a straight line of what they were, with another slope than 1.

    Prices and seasons do this too, so the span has `drifted`. It is `broken` where the slope is a known factor, within
    2 % and with rows enough to know it so well, and zero is still zero (degrees Fahrenheit have their own), or where
    the feature is tagged `stable`.

    Args:
      current: features of the span.
      references: title → features.
      stable: features whose distribution the world does not change.
    """
    by_reference = []
    for title, features in references.items():
        tests = []
        for name in current.keys() & features.keys():
            test = _scaled(current[name], features[name], name, title, name in stable)
            if test is not None:
                tests.append(test)
        by_reference.append(tests)
    return significance.against_all(by_reference)


def _scaled(
    feature: FeatureStatistics, reference: FeatureStatistics, name: str, title: str, stable: bool
) -> Test | None:
    if binning.kind_of(feature, reference) != "numeric":
        return None
    now, before = (binning.edges(side) for side in (feature, reference))
    if len(now) != len(before) or len(now) < 5 or not (np.isfinite(now) & np.isfinite(before)).all():
        return None
    now, before = now[1:-1], before[1:-1]  # the extremes of a sample are chance
    if _different(before) < 5 or _different(now) < 5:
        return None
    slope, offset = _line(before, now)
    residual = np.abs(now - slope * before - offset).mean() / max(np.ptp(now), 1e-12)
    rows, old_rows = (int(side.num_stats.common_stats.num_non_missing) for side in (feature, reference))
    # Quantiles of n rows scatter by about half of 1/sqrt(n) of their range.
    if slope <= 0 or residual > max(CLOSE, 0.5 / math.sqrt(max(min(rows, old_rows), 1))):
        return None
    size = abs(math.log(slope))
    # The slope is about the ratio of two standard deviations.
    error = math.sqrt(0.5 / max(rows, 1) + 0.5 / max(old_rows, 1))
    known = min(FACTORS, key=lambda factor: abs(size - math.log(factor)))
    expected = 0.0
    if known == FAHRENHEIT:
        expected = AT_ZERO if slope > 1 else -AT_ZERO / FAHRENHEIT
    # The line turns around the values' mean: an error of the slope moves its zero by as much times the mean.
    scatter = CLOSE * np.ptp(now) + 3 * error * slope * abs(before.mean())
    match = abs(size - math.log(known)) < CLOSE and error < CLOSE and abs(offset - expected) < scatter
    factor = f"{slope:.4g}" + (f" {offset:+.4g}" if abs(offset) > 0.05 * np.ptp(now) else "")
    bins = binning.by_reference(feature, reference)
    assert bins is not None  # it is numeric
    text = (
        f"{name}: the values are those of {title} times {factor}"
        + (f"; {known:g} is a factor of units" if match else "")
        + ": the unit may have changed"
    )
    return Test(
        "units",
        name,
        text,
        rows,
        significance.same_distribution(bins.current.tolist(), bins.reference.tolist()),
        size,
        drifted=math.log(SMALL),
        broken=math.log(SMALL) if match or stable else None,
    )


def _different(ascending: np.ndarray) -> int:
    """How many different values there are."""
    return 1 + np.count_nonzero(np.diff(ascending))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the line with the least squares, as `np.polyfit(x, y, 1)`, which takes ten times as long."""
    from_mean = x - x.mean()
    slope = float(from_mean @ y / (from_mean @ from_mean))
    return slope, float(y.mean() - slope * x.mean())
