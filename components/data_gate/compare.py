"""Drift, feature by feature and measure by measure, against one reference; and what it means for the verdict."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.data_gate.binning import BINNINGS, kind_of
from noria.components.data_gate.finding import DRIFTED, Finding
from noria.components.data_gate.measures import MEASURES
from noria.components.data_gate.measures.base import Measure
from noria.components.data_gate.settings import DataGateSettings
from noria.components.data_gate.significance import Test, same_distribution
from noria.schemas.tags import STABLE, VOLATILE, tagged

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


@dataclasses.dataclass(frozen=True)
class Drift:
    """One measurement.

    Attributes:
      feature: its name.
      measure: name of the measure, such as `psi`.
      reference: what it was compared with, `previous span 4` or `champion 3`.
      value: the distance.
      threshold: None where the measure is reported and does not judge (volatile features, `kl` by default).
      drifted: value > threshold.
      bins: how the bins were made, and which of them moved most.
    """

    feature: str
    measure: str
    reference: str
    value: float
    threshold: float | None
    drifted: bool
    bins: str


def measures_of(settings: DataGateSettings, project: Path | str | None = None) -> dict[str, Measure]:
    """The measures that the settings name anywhere, by name, ascending.

    Raises:
      ConfigError: a user's measure cannot be imported, or is not a `Measure`.
    """
    named = {*settings.measures, *settings.stable}.union(*settings.features.values())
    return {name: MEASURES.find(name, project)() for name in sorted(named)}


def compare(
    statistics: Statistics,
    reference: Statistics,
    title: str,
    schema: schema_pb2.Schema,
    settings: DataGateSettings,
    measures: Mapping[str, Measure],
    ignore: set[str],
) -> tuple[list[Drift], list[Finding], list[Test]]:
    """Measures every feature of the schema against one reference.

    The threshold of a measure is, in this order: the config's for the feature; the schema's own comparator; none for a
    feature tagged `volatile`; the config's for all. It is raised by what chance alone gives two samples of these sizes,
    where the measure knows it.

    A feature beyond a threshold is a finding: `drifted`. One that is tagged `stable` is tested as well: beyond a
    threshold of `stable` it is `broken`, because the world does not change that fast.

    Args:
      statistics: of the span.
      reference: of the rows to compare with.
      title: names the reference in the report.
      schema: has the tags and comparators.
      settings: the gate's.
      measures: `measures_of(settings)`.
      ignore: features that are not compared: label, time, keys.

    Returns:
      The measurements, the `drifted` findings, and a test for each measure of a `stable` feature.
    """
    stable, volatile = tagged(schema, STABLE), tagged(schema, VOLATILE)
    known = {feature.name: feature for feature in schema.feature}
    current = {feature.path.step[0]: feature for feature in statistics.datasets[0].features}
    before = {feature.path.step[0]: feature for feature in reference.datasets[0].features}
    rows, old_rows = statistics.datasets[0].num_examples, reference.datasets[0].num_examples
    drifts, tests, drifted = [], [], []
    for name in sorted((current.keys() & before.keys() & known.keys()) - ignore):
        kind = kind_of(current[name], before[name])
        asked = {key: measure for key, measure in measures.items() if kind in measure.applies_to}
        wanted = {measure.bins for measure in asked.values()}
        binned = {bins: BINNINGS[bins](current[name], before[name]) for bins in wanted}
        for key, measure in asked.items():
            bins = binned[measure.bins]
            if bins is None:
                continue
            value = float(measure.value(bins.current.tolist(), bins.reference.tolist()))
            chance = measure.chance(rows, old_rows, len(bins.names))
            moved = bins.largest()
            threshold = _threshold(settings, known[name], name in volatile, key, measure)
            threshold = None if threshold is None else threshold + chance
            beyond = threshold is not None and value > threshold
            drifts.append(
                Drift(name, key, title, value, threshold, beyond, f"{bins.rule}; most moved: {moved}")
            )
            limit = settings.stable.get(key)
            if name in stable and limit is not None:
                tests.append(
                    Test(
                        "drift",
                        name,
                        f"{name} is tagged stable, but its {measure.label} against {title} is {value:.2f} "
                        f"(broken above {limit}); {moved}",
                        int(rows),
                        same_distribution(bins.current.tolist(), bins.reference.tolist()),
                        value,
                        broken=limit + chance,
                        part=key,
                    )
                )
            if beyond:
                text = f"{name}: {key} {value:.3f} > {threshold:.3f} against {title}"
                drifted.append(
                    Finding(DRIFTED, "drift", name, text, effect=value, threshold=threshold, rows=int(rows))
                )
    return drifts, drifted, tests


def _threshold(
    settings: DataGateSettings, feature: schema_pb2.Feature, volatile: bool, key: str, measure: Measure
) -> float | None:
    single = settings.features.get(feature.name, {})
    if key in single:
        return single[key]
    if measure.comparator and feature.drift_comparator.HasField(measure.comparator):
        return getattr(feature.drift_comparator, measure.comparator).threshold
    return None if volatile else settings.measures.get(key)
