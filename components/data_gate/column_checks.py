"""Columns that are wrong although each of their values is allowed: stuck at one value, or shuffled."""

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate import binning
from noria.components.data_gate.finding import BROKEN, DRIFTED, Finding

FeatureStatistics = statistics_pb2.FeatureNameStatistics
# A value that holds this share of a reference already (no rain, 10 miles of visibility) may well hold all of a span.
COMMON = 0.25
# Cramér's V below this is no association that could be lost.
WEAK = 0.2


def check_stuck(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Finding]:
    """Looks for a numeric feature that has one value in many more rows than in every reference.

    Shares are of all rows, those without a value included: a gauge with a value in a tenth of the rows cannot be stuck
    in a third of them. They come from the quantile histogram: buckets whose two ends are equal hold one value (steps
    of 5 %).

    Args:
      current: features of the span.
      references: title → features.
      limit: rise of the share that is `broken`; two thirds of it are `drifted`.
    """
    if limit is None:
        return []
    findings = []
    for name, feature in current.items():
        if not _numeric(feature):
            continue
        value, _ = binning.buckets(feature).point_share()
        share = _share(feature) * _presence(feature)
        others = [features[name] for features in references.values() if _numeric(features.get(name))]
        if not others or max(_share(other) for other in others) >= COMMON:
            continue
        most = max(_share(other) * _presence(other) for other in others)
        rise = share - most
        text = f"{name} has the value {value:.6g} in {share:.0%} of the rows; no value had more than {most:.0%} before"
        if rise > limit:
            findings.append(Finding(BROKEN, "stuck", name, f"{text}: it is stuck"))
        elif rise > limit * 2 / 3:
            findings.append(Finding(DRIFTED, "stuck", name, f"{text}: part of it may be stuck"))
    return findings


def check_shuffled(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Finding]:
    """Looks for pairs of categories that are much less associated than in every reference.

    A column whose values were assigned to other rows keeps its distribution and loses its association (Cramér's V) with
    the other columns.

    Args:
      current: features of the span.
      references: title → features.
      limit: share of the former association below which the pair is `broken`.
    """
    if limit is None:
        return []
    findings = []
    for name, feature in current.items():
        for stat in feature.custom_stats:
            if not stat.name.startswith(gate_statistics.ASSOCIATION):
                continue
            before = [
                gate_statistics.value_of(features[name], stat.name)
                for features in references.values()
                if name in features
            ]
            known = [value for value in before if value is not None]
            if known and min(known) > WEAK and stat.num < limit * min(known):
                other = stat.name.removeprefix(gate_statistics.ASSOCIATION)
                text = (
                    f"{name} and {other} are hardly associated any more: Cramér's V is {stat.num:.2f}, it was "
                    f"{min(known):.2f} (broken below {limit:.0%} of that); the values of one may be shuffled"
                )
                findings.append(Finding(BROKEN, "shuffled", name, text))
    return findings


def _numeric(feature: FeatureStatistics | None) -> bool:
    if feature is None or feature.WhichOneof("stats") != "num_stats":
        return False
    return feature.num_stats.common_stats.num_non_missing > 0


def _share(feature: FeatureStatistics) -> float:
    return binning.buckets(feature).point_share()[1]


def _presence(feature: FeatureStatistics) -> float:
    common = feature.num_stats.common_stats
    return common.num_non_missing / (common.num_non_missing + common.num_missing)
