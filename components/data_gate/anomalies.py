"""TFDV's part of the gate: schema anomalies, and its own comparators L-infinity and Jensen-Shannon."""

import dataclasses

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2, statistics_pb2

from noria.components.data_gate.finding import BROKEN, OK, Finding
from noria.components.data_gate.thresholds import Thresholds
from noria.components.statistics_gen import gate_statistics
from noria.schemas.environments import TRAINING

Statistics = statistics_pb2.DatasetFeatureStatisticsList
Reason = anomalies_pb2.AnomalyInfo

# Drift and skew have their own part of the verdict; here they would count twice.
_COMPARATORS = {
    Reason.COMPARATOR_CONTROL_DATA_MISSING,
    Reason.COMPARATOR_TREATMENT_DATA_MISSING,
    Reason.COMPARATOR_L_INFTY_HIGH,
    Reason.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    Reason.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
    Reason.COMPARATOR_HIGH_NUM_EXAMPLES,
    Reason.COMPARATOR_LOW_NUM_EXAMPLES,
}
_RANGES = {
    Reason.INT_TYPE_BIG_INT,
    Reason.INT_TYPE_SMALL_INT,
    Reason.FLOAT_TYPE_BIG_FLOAT,
    Reason.FLOAT_TYPE_SMALL_FLOAT,
}


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """One anomaly: feature, severity (`error` or `warning`) and TFDV's description."""

    feature: str
    severity: str
    description: str


def validate(
    statistics: Statistics, schema: schema_pb2.Schema, thresholds: Thresholds
) -> tuple[list[Anomaly], list[Finding]]:
    """Validates a span against the schema, in the environment TRAINING where the schema has it.

    Errors are what TFDV calls errors, but for two: a new column is a warning, because the model does not see it and
    the schema diff proposes it; and values out of range are a warning up to the share `out_of_range` of a feature's
    values, because one broken gauge among thousands is no broken span.

    Returns:
      The anomalies, and a finding for each: errors are `broken`, warnings `ok`.
    """
    result = tfdv.validate_statistics(statistics, schema, environment=_environment(schema))
    features = {feature.path.step[0]: feature for feature in statistics.datasets[0].features}
    anomalies, findings = [], []
    for name, info in sorted(result.anomaly_info.items()):
        feature = ".".join(info.path.step) or name
        for reason in info.reason:
            if reason.type in _COMPARATORS:
                continue
            error = info.severity == Reason.ERROR and reason.type != Reason.SCHEMA_NEW_COLUMN
            text = reason.description
            if reason.type in _RANGES and (share := _outside(features.get(feature))) is not None:
                error = error and share > thresholds.out_of_range
                text = f"{text} {share:.2%} of the values are out of range."
            anomalies.append(Anomaly(feature, "error" if error else "warning", text))
            findings.append(Finding(BROKEN if error else OK, "schema", feature, f"{feature}: {text}"))
    for reason in result.dataset_anomaly_info.reason:
        if reason.type not in _COMPARATORS:
            anomalies.append(Anomaly("", "error", reason.description))
            findings.append(Finding(BROKEN, "schema", "", reason.description))
    if result.data_missing:
        anomalies.append(Anomaly("", "error", "the span has no rows"))
        findings.append(Finding(BROKEN, "schema", "", "the span has no rows"))
    return anomalies, findings


@dataclasses.dataclass(frozen=True)
class Comparator:
    """One measurement of TFDV's: the measure is `linf` or `js`; `own` is the schema's threshold, if it sets one."""

    feature: str
    measure: str
    value: float
    own: float | None


def compare(
    statistics: Statistics, reference: Statistics, schema: schema_pb2.Schema, ignore: set[str]
) -> list[Comparator]:
    """Measures every feature with TFDV's comparators: L-infinity for categories, Jensen-Shannon for numbers.

    A comparator is put on a copy of the schema where it has none, so that every feature is measured. L-infinity is
    never asked of a numeric feature: TFDV would answer 0 (tensorflow/data-validation issue 147).
    """
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    kinds = {f.path.step[0]: f.WhichOneof("stats") for f in statistics.datasets[0].features}
    before = {f.path.step[0]: f.WhichOneof("stats") for f in reference.datasets[0].features}
    own: dict[tuple[str, str], float] = {}
    for feature in copy.feature:
        comparator = feature.drift_comparator
        for measure, field in (("linf", "infinity_norm"), ("js", "jensen_shannon_divergence")):
            if comparator.HasField(field):
                own[(feature.name, measure)] = getattr(comparator, field).threshold
        feature.ClearField("drift_comparator")
        feature.ClearField("skew_comparator")
        kind = kinds.get(feature.name)
        if feature.name in ignore or kind is None or kind != before.get(feature.name):
            continue
        if kind == "string_stats":
            feature.drift_comparator.infinity_norm.threshold = 1.0
        if kind == "num_stats":
            feature.drift_comparator.jensen_shannon_divergence.threshold = 1.0
    result = tfdv.validate_statistics(
        statistics, copy, environment=_environment(schema), previous_statistics=reference
    )
    found = []
    names = {
        anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "linf",
        anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "js",
    }
    for info in result.drift_skew_info:
        feature = _name(info.path)
        for measurement in info.drift_measurements:
            measure = names.get(measurement.type)
            if measure:
                found.append(Comparator(feature, measure, measurement.value, own.get((feature, measure))))
    return found


def _environment(schema: schema_pb2.Schema) -> str | None:
    return TRAINING if TRAINING in schema.default_environment else None


def _outside(feature: statistics_pb2.FeatureNameStatistics | None) -> float | None:
    if feature is None or (count := gate_statistics.value_of(feature, gate_statistics.OUT_OF_RANGE)) is None:
        return None
    stats = getattr(feature, feature.WhichOneof("stats"))
    return count / max(stats.common_stats.tot_num_values, 1)


def _name(path: path_pb2.Path) -> str:
    return ".".join(path.step)
