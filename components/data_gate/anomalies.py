"""TFDV's part of the gate: anomalies against the schema."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from noria.components import gate_statistics
from noria.components.data_gate import binning, significance
from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding
from noria.components.data_gate.settings import DataGateSettings
from noria.schemas.environments import TRAINING

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
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

# Features that TFDV validates at once: its time grows with their square.
_PART = 64


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """One anomaly: feature, severity (`error` or `warning`) and TFDV's description."""

    feature: str
    severity: str
    description: str


def validate(
    statistics: Statistics,
    schema: schema_pb2.Schema,
    settings: DataGateSettings,
    references: Sequence[Statistics] = (),
) -> tuple[list[Anomaly], list[Finding]]:
    """Validates a span against the schema, in the environment TRAINING where the schema has it.

    Errors are those of TFDV, with three exceptions. A new column is a warning: the model does not read it, and the
    schema diff proposes it. A share of values out of range, unknown or missing is an error only if the tolerated share
    could not give this number of rows by chance (binomial): one value in 100 shows little about a tolerance of one in
    1,000. The p-value is compared with `settings.false_discovery` over the number of features (Bonferroni), because
    each of many features can look unusual once. The same is true for a column without any value: four rows may lack
    what every second row has.

    Unknown categories may be new shops or errors. Those that a reference has count as known. Of the others, a share
    above the schema's tolerance is `drifted`, and one above `settings.unknown` is `broken`.

    Returns:
      The anomalies, and a finding for each: errors are `broken`, warnings `ok`.
    """
    result = _validated(statistics, schema)
    current, before = features(statistics), [features(one) for one in references]
    known = {feature.name: feature for feature in schema.feature}
    rows = int(statistics.datasets[0].num_examples) if statistics.datasets else 0
    level = settings.false_discovery / max(1, len(known))
    anomalies, findings = [], []
    for name, info in sorted(result.anomaly_info.items()):
        feature = ".".join(info.path.step) or name
        for reason in info.reason:
            if reason.type in _COMPARATORS:
                continue
            error = info.severity == Reason.ERROR and reason.type != Reason.SCHEMA_NEW_COLUMN
            text = reason.description
            seen = [one[feature] for one in before if feature in one]
            if reason.type == Reason.FEATURE_TYPE_NOT_PRESENT:
                count = _absent(rows, known.get(feature), level)
            else:
                count = _count(reason.type, current.get(feature), known.get(feature), schema, settings, seen)
            severity = BROKEN if error else OK
            numbers: dict = {}
            if count is not None:
                p = significance.above(count.bad, count.rows, count.tolerated)
                share = count.bad / max(count.rows, 1)
                error = error and share > count.tolerated and p <= level
                severity = BROKEN if error else OK
                if error and reason.type == Reason.ENUM_TYPE_UNEXPECTED_STRING_VALUES:
                    surely = significance.above(count.bad, count.rows, settings.unknown)
                    error = share > settings.unknown and surely <= level
                    severity = BROKEN if error else DRIFTED
                text = (
                    f"{text} {share:.2%} of the values are {count.what} "
                    f"(tolerated: {count.tolerated:.2%}; {count.rows:,} rows; by chance: {p:.0e})."
                )
                numbers = {"effect": share, "threshold": count.tolerated, "rows": count.rows, "p": p}
            anomalies.append(Anomaly(feature, "error" if error else "warning", text))
            findings.append(Finding(severity, "schema", feature, f"{feature}: {text}", **numbers))
    for reason in result.dataset_anomaly_info.reason:
        if reason.type not in _COMPARATORS:
            anomalies.append(Anomaly("", "error", reason.description))
            findings.append(Finding(BROKEN, "schema", "", reason.description))
    if result.data_missing:
        anomalies.append(Anomaly("", "error", "the span has no rows"))
        findings.append(Finding(BROKEN, "schema", "", "the span has no rows"))
    return anomalies, findings


def features(statistics: Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """The features of a statistics list's one dataset, by name."""
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def _validated(statistics: Statistics, schema: schema_pb2.Schema) -> anomalies_pb2.Anomalies:
    """TFDV's anomalies, of a part of the features after the other; without the baseline."""
    result = anomalies_pb2.Anomalies()
    for number, (part, asked) in enumerate(_parts(statistics, schema)):
        found = tfdv.validate_statistics(part, asked, environment=_environment(schema))
        for name, info in found.anomaly_info.items():
            result.anomaly_info[name].CopyFrom(info)
        if number == 0:  # what concerns the whole dataset is the same in each part
            result.dataset_anomaly_info.CopyFrom(found.dataset_anomaly_info)
            result.data_missing = found.data_missing
    return result


def _parts(
    statistics: Statistics, schema: schema_pb2.Schema
) -> Iterator[tuple[Statistics, schema_pb2.Schema]]:
    """Statistics and schema of some features each; both whole where features depend on each other, or are few."""
    present = features(statistics) if statistics.datasets else {}
    asked = {feature.name: feature for feature in schema.feature}
    names = sorted(present.keys() | asked.keys())
    if len(names) <= _PART or schema.sparse_feature or schema.weighted_feature:
        yield statistics, schema
        return
    rest = schema_pb2.Schema()
    rest.CopyFrom(schema)
    rest.ClearField("feature")
    rest.ClearField("string_domain")
    domains = {domain.name: domain for domain in schema.string_domain}
    for start in range(0, len(names), _PART):
        some = names[start : start + _PART]
        expected = schema_pb2.Schema()
        expected.CopyFrom(rest)
        expected.feature.extend(asked[name] for name in some if name in asked)
        used = {feature.domain for feature in expected.feature if feature.domain}
        expected.string_domain.extend(domains[name] for name in sorted(used & domains.keys()))
        part = statistics_pb2.DatasetFeatureStatisticsList()
        for dataset in statistics.datasets:
            mine = part.datasets.add(name=dataset.name, num_examples=dataset.num_examples)
            mine.features.extend(present[name] for name in some if name in present)
        yield part, expected


def _environment(schema: schema_pb2.Schema) -> str | None:
    return TRAINING if TRAINING in schema.default_environment else None


@dataclasses.dataclass(frozen=True)
class _Count:
    """Values that are bad, of how many rows, which share is tolerated, and what is bad about them."""

    bad: int
    rows: int
    tolerated: float
    what: str


def _absent(rows: int, asked: schema_pb2.Feature | None, level: float) -> _Count | None:
    """The counts behind a column without any value, where so few rows may lack it by chance; else it is missing."""
    tolerated = 1 - asked.presence.min_fraction if asked is not None else 0.0
    if significance.above(rows, rows, tolerated) <= level:
        return None
    return _Count(rows, rows, tolerated, "missing")


def _count(
    kind: int,
    feature: statistics_pb2.FeatureNameStatistics | None,
    asked: schema_pb2.Feature | None,
    schema: schema_pb2.Schema,
    settings: DataGateSettings,
    seen: Sequence[statistics_pb2.FeatureNameStatistics],
) -> _Count | None:
    """The counts behind an anomaly that is a share; None where it is none, or where the schema tolerates nothing."""
    if feature is None or asked is None or feature.WhichOneof("stats") is None:
        return None
    common = getattr(feature, feature.WhichOneof("stats")).common_stats
    if kind in _RANGES:
        count = gate_statistics.value_of(feature, gate_statistics.OUT_OF_RANGE)
        if count is None:
            return None
        return _Count(int(count), int(common.tot_num_values), settings.out_of_range, "out of range")
    if kind == Reason.ENUM_TYPE_UNEXPECTED_STRING_VALUES and feature.WhichOneof("stats") == "string_stats":
        tolerated = 1 - asked.distribution_constraints.min_domain_mass
        if not asked.HasField("distribution_constraints") or tolerated <= 0:
            return None
        domains = {domain.name: set(domain.value) for domain in schema.string_domain}
        domain = set(asked.string_domain.value) or domains.get(asked.domain, set())
        domain = domain.union(*(binning.counts(one) for one in seen))
        buckets = feature.string_stats.rank_histogram.buckets
        bad = sum(bucket.sample_count for bucket in buckets if bucket.label not in domain)
        return _Count(int(bad), int(common.tot_num_values), tolerated, "unknown")
    if kind == Reason.FEATURE_TYPE_LOW_FRACTION_PRESENT and common.num_non_missing:
        tolerated = 1 - asked.presence.min_fraction
        rows = int(common.num_non_missing + common.num_missing)
        return _Count(int(common.num_missing), rows, tolerated, "missing") if tolerated > 0 else None
    return None
