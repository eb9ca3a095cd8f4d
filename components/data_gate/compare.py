"""Drift, feature by feature and measure by measure, against each reference; and what it means for the verdict."""

import dataclasses

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.data_gate import anomalies, drift
from noria.components.data_gate.finding import BROKEN, DRIFTED, Finding
from noria.components.data_gate.thresholds import Thresholds
from noria.schemas.tags import STABLE, VOLATILE, tagged

Statistics = statistics_pb2.DatasetFeatureStatisticsList


@dataclasses.dataclass(frozen=True)
class Drift:
    """One measurement.

    Attributes:
      feature: its name.
      measure: `linf`, `js`, `kl` or `psi`.
      reference: what it was compared with, `previous span 4` or `champion 3`.
      value: the distance.
      threshold: None where the measure is reported and does not judge (volatile features, `kl` by default).
      drifted: value > threshold.
      bins: how the bins were made, and for `psi` and `kl` which of them moved most.
    """

    feature: str
    measure: str
    reference: str
    value: float
    threshold: float | None
    drifted: bool
    bins: str


def compare(
    statistics: Statistics,
    reference: Statistics,
    title: str,
    schema: schema_pb2.Schema,
    thresholds: Thresholds,
    ignore: set[str],
) -> tuple[list[Drift], list[Finding]]:
    """Measures every feature of the schema against one reference.

    The threshold of a measure is, in this order: the config's for the feature; the schema's own comparator (linf,
    js); none for a feature tagged `volatile`; the config's for all. PSI and KL thresholds are raised by what chance
    alone gives two samples of these sizes.

    A feature beyond a threshold is a finding: `drifted`; or `broken` where it is tagged `stable` and its PSI is
    beyond `stable_psi`, since the world does not change that fast.

    Args:
      statistics: of the span.
      reference: of the rows to compare with.
      title: names the reference in the report.
      schema: tells categories from numbers, and carries the tags.
      thresholds: the gate's.
      ignore: features that are not compared: label, time, keys.
    """
    stable, volatile = tagged(schema, STABLE), tagged(schema, VOLATILE)
    drifts = []
    for found in anomalies.compare(statistics, reference, schema, ignore):
        threshold = _threshold(thresholds, volatile, found.feature, found.measure, found.own)
        bins = "TFDV: all values" if found.measure == "linf" else "TFDV: its 10 equal-width buckets, rebinned"
        drifts.append(_drift(found.feature, found.measure, title, found.value, threshold, bins))
    current = {feature.path.step[0]: feature for feature in statistics.datasets[0].features}
    before = {feature.path.step[0]: feature for feature in reference.datasets[0].features}
    rows, old_rows = statistics.datasets[0].num_examples, reference.datasets[0].num_examples
    findings = []
    for name in sorted((current.keys() & before.keys() & {f.name for f in schema.feature}) - ignore):
        bins = drift.binned(current[name], before[name])
        if bins is None:
            continue
        chance = drift.noise(rows, old_rows, len(bins.names))
        text = f"{bins.rule}; most moved: {bins.largest()}"
        for measure, value, floor in (
            ("kl", drift.kl(bins.current, bins.reference), chance / 2),
            ("psi", drift.psi(bins.current, bins.reference), chance),
        ):
            threshold = _threshold(thresholds, volatile, name, measure, None)
            threshold = None if threshold is None else threshold + floor
            drifts.append(_drift(name, measure, title, value, threshold, text))
        value = drifts[-1].value
        if name in stable and thresholds.stable_psi is not None and value > thresholds.stable_psi + chance:
            limit = f"(broken above {thresholds.stable_psi})"
            told = f"{name} is declared stable, but its PSI against {title} is {value:.2f} {limit}"
            findings.append(Finding(BROKEN, "drift", name, f"{told}; {bins.largest()}"))
    for found in drifts:
        if found.drifted:
            told = (
                f"{found.feature}: {found.measure} {found.value:.3f} > {found.threshold:.3f} against {title}"
            )
            findings.append(Finding(DRIFTED, "drift", found.feature, told))
    return sorted(drifts, key=lambda found: (found.feature, found.measure)), findings


def _threshold(
    thresholds: Thresholds, volatile: set[str], feature: str, measure: str, own: float | None
) -> float | None:
    set_by_hand = thresholds.features.get(feature, {}).get(measure)
    if set_by_hand is None:
        set_by_hand = own
    if set_by_hand is not None:
        return set_by_hand
    return None if feature in volatile else getattr(thresholds, measure)


def _drift(feature: str, measure: str, title: str, value: float, threshold: float | None, bins: str) -> Drift:
    return Drift(feature, measure, title, value, threshold, threshold is not None and value > threshold, bins)
