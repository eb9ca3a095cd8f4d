"""TFDV's part of the gate: anomalies against the schema."""

import dataclasses

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate.finding import BROKEN, OK, Finding
from noria.components.data_gate.settings import DataGateSettings
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
    statistics: Statistics, schema: schema_pb2.Schema, settings: DataGateSettings
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
                error = error and share > settings.out_of_range
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


def _environment(schema: schema_pb2.Schema) -> str | None:
    return TRAINING if TRAINING in schema.default_environment else None


def _outside(feature: statistics_pb2.FeatureNameStatistics | None) -> float | None:
    if feature is None or (count := gate_statistics.value_of(feature, gate_statistics.OUT_OF_RANGE)) is None:
        return None
    stats = getattr(feature, feature.WhichOneof("stats"))
    return count / max(stats.common_stats.tot_num_values, 1)
