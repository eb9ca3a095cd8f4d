"""Columns that are wrong although each of their values is allowed: stuck at one value, or shuffled."""

import math
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate import binning, significance
from noria.components.data_gate.significance import Test

FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics
# A value that holds this share of a reference already (no rain, 10 miles of visibility) may well hold all of a span.
COMMON = 0.25
# Cramér's V below this, without its bias, is not an association that could be lost.
WEAK = 0.2


def check_stuck(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Test]:
    """Looks for a numeric feature that has one value in many more rows than in every reference.

    Shares are of all rows, those without a value included: a gauge with a value in a tenth of the rows cannot be stuck
    in a third of them. They come from the quantile histogram: buckets whose two ends are equal hold one value (steps
    of 5 %).

    Args:
      current: features of the span.
      references: title → features.
      limit: rise of the share that is `broken`; two thirds of it are `drifted`, and one third where no value had 5 %.
    """
    if limit is None:
        return []
    tests = []
    for name, feature in current.items():
        if not _numeric(feature):
            continue
        value, _ = binning.buckets(feature).point_share()
        share = _share(feature) * _presence(feature)
        others = [features[name] for features in references.values() if _numeric(features.get(name))]
        if not others or max(_share(other) for other in others) >= COMMON:
            continue
        most = max(_share(other) * _presence(other) for other in others)
        rows, fewest = _rows(feature), min(_rows(other) for other in others)
        tests.append(
            Test(
                "stuck",
                name,
                f"{name} has the value {value:.6g} in {share:.0%} of the rows; no value had more than {most:.0%} "
                "before: it is stuck, or a default value replaces missing values",
                rows,
                significance.two_shares(share, rows, most, fewest),
                share - most,
                # Of a number without a usual value a tenth is not chance: a default value replaces missing ones.
                drifted=limit / 3 if most < 0.05 else limit * 2 / 3,
                broken=limit,
            )
        )
    return tests


def check_shuffled(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Test]:
    """Looks for pairs of categories that are much less associated than in every reference.

    A column whose values were assigned to other rows keeps its distribution and loses its association (Cramér's V) with
    the other columns. The test: is phi², without its bias, below `limit`² of what it was? Both sides have the variance
    of a noncentral chi-squared, so 100 rows in which chance makes a V of 0.3 say nothing. A table with fewer rows than
    cells is not tested.

    Args:
      current: features of the span.
      references: title → features.
      limit: share of the former association below which the pair is `broken`.
    """
    if limit is None:
        return []
    by_reference = []
    for title, features in references.items():
        tests = []
        for name in current.keys() & features.keys():
            for stat in current[name].custom_stats:
                if stat.name.startswith(gate_statistics.ASSOCIATION):
                    other = stat.name.removeprefix(gate_statistics.ASSOCIATION)
                    tests += _lost(current[name], features[name], name, other, limit, title)
        by_reference.append(tests)
    return significance.against_all(by_reference)


def _lost(
    feature: FeatureStatistics, reference: FeatureStatistics, name: str, other: str, limit: float, title: str
) -> list[Test]:
    now, before = (gate_statistics.association_of(side, other) for side in (feature, reference))
    if now is None or before is None or not (now.testable and before.testable) or before.v <= WEAK:
        return []
    error = math.sqrt(now.variance + limit**4 * before.variance)
    return [
        Test(
            "shuffled",
            name,
            f"{name} and {other} are hardly associated any more: Cramér's V (without its bias) is {now.v:.2f}, "
            f"{before.v:.2f} in {title} (broken below {limit:.0%} of that); the values of one may be shuffled",
            now.rows,
            significance.z_test((limit**2 * before.phi2 - now.phi2) / max(error, 1e-12)),
            1 - now.v / before.v,
            broken=1 - limit,
            part=other,
        )
    ]


def _numeric(feature: FeatureStatistics | None) -> bool:
    if feature is None or feature.WhichOneof("stats") != "num_stats":
        return False
    return feature.num_stats.common_stats.num_non_missing > 0


def _share(feature: FeatureStatistics) -> float:
    return binning.buckets(feature).point_share()[1]


def _presence(feature: FeatureStatistics) -> float:
    common = feature.num_stats.common_stats
    return common.num_non_missing / (common.num_non_missing + common.num_missing)


def _rows(feature: FeatureStatistics) -> int:
    common = feature.num_stats.common_stats
    return int(common.num_non_missing + common.num_missing)
