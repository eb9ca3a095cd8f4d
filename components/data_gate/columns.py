"""Columns that are wrong although each of their values is allowed: stuck at one value, or shuffled."""

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.data_gate import drift
from noria.components.data_gate.finding import BROKEN, DRIFTED, Finding
from noria.components.statistics_gen import facts

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
    """Looks for a numeric feature one of whose values has taken over, against every reference.

    The shares come from the quantile histogram: buckets whose two ends are equal hold one value (steps of 2 %).

    Args:
      current: features of the span.
      references: title → features.
      limit: rise of the share that is `broken`; half of it is `drifted`.
    """
    if limit is None:
        return []
    findings = []
    for name, feature in current.items():
        if not _numeric(feature):
            continue
        value, share = drift.buckets(feature).point_share()
        before = {
            title: _share_of_any(features[name])
            for title, features in references.items()
            if name in features and _numeric(features[name])
        }
        if not before:
            continue
        most = max(before.values())
        rise = share - most
        if most >= COMMON or rise <= limit / 2:
            continue
        text = f"{name} has the value {value:.6g} in {share:.0%} of its rows; no value had more than {most:.0%} in " + (
            " and ".join(before)
        )
        if rise > limit:
            findings.append(Finding(BROKEN, "stuck", name, f"{text}: it is stuck"))
        else:
            findings.append(Finding(DRIFTED, "stuck", name, f"{text}: part of it may be stuck"))
    return findings


def check_shuffled(
    current: dict[str, FeatureStatistics],
    references: dict[str, dict[str, FeatureStatistics]],
    limit: float | None,
) -> list[Finding]:
    """Looks for pairs of categories that no longer belong together, against every reference.

    A column whose values were dealt out to other rows keeps its distribution and loses its association (Cramér's V)
    with the other columns.

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
            if not stat.name.startswith(facts.ASSOCIATION):
                continue
            before = [facts.value_of(features[name], stat.name) for features in references.values() if name in features]
            known = [value for value in before if value is not None]
            if known and min(known) > WEAK and stat.num < limit * min(known):
                other = stat.name.removeprefix(facts.ASSOCIATION)
                text = (
                    f"{name} and {other} hardly belong together any more: association {stat.num:.2f}, "
                    f"{min(known):.2f} before (broken below {limit:.0%} of it); the values of one were shuffled"
                )
                findings.append(Finding(BROKEN, "shuffled", name, text))
    return findings


def _numeric(feature: FeatureStatistics) -> bool:
    return feature.WhichOneof("stats") == "num_stats" and feature.num_stats.common_stats.num_non_missing > 0


def _share_of_any(feature: FeatureStatistics) -> float:
    return drift.buckets(feature).point_share()[1]
