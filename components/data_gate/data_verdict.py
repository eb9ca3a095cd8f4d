"""The policy: all checks, one verdict.

An error in the data blocks; a change in the world does not. What cannot be a change in the world is `broken`:
a column that is missing or empty, a wrong type, values out of range beyond a few outliers, unknown categories beyond
the schema's tolerance, missing rows, time that runs back or jumps, the same rows twice, a sensor stuck at a value,
columns that no longer belong together, one category's label upside down, and a gross shift of a feature that its
owner has declared `stable` (units, shuffled codes). Everything else that moved beyond its threshold is `drifted`:
the run refreshes what it learned about the data, and says so. A feature tagged `volatile` is measured and reported.
"""

import dataclasses
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.data_gate import anomalies, column_checks, history, label_checks
from noria.components.data_gate.compare import Drift, compare
from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding, worst
from noria.components.data_gate.history import Past
from noria.components.data_gate.thresholds import Thresholds

Statistics = statistics_pb2.DatasetFeatureStatisticsList
Features = dict[str, statistics_pb2.FeatureNameStatistics]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on.

    Attributes:
      span: the span's id, rows and event-time range.
      version: the span's version.
      statistics: of the span's labelled rows.
      schema: the curated schema.
      references: title → statistics to compare with: the span before, the champion's training rows.
      past: the accepted spans before, ascending.
      past_statistics: statistics of the last of them, for what one span is too small for.
      fingerprints: this span's under its own id, and those of all other kept spans.
      unlabelled: share of the span's rows without a label.
      label, time, task, every: the project's settings; `time` and `every` may be empty.
    """

    span: Past
    statistics: Statistics
    schema: schema_pb2.Schema
    references: dict[str, Statistics]
    past: list[Past]
    past_statistics: list[Statistics]
    fingerprints: dict[int, dict[str, str]]
    unlabelled: float
    label: str
    time: str
    task: str
    every: str
    version: int = 1


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What DataGate writes: `ok`, `drifted` or `broken`, and why; `unquarantined` says who overruled a `broken`."""

    verdict: str
    span: int
    findings: list[Finding]
    anomalies: list[anomalies.Anomaly]
    drift: list[Drift]
    volume: dict[str, Any]
    label_rate: dict[str, Any]
    unquarantined: str | None = None

    @property
    def reasons(self) -> list[str]:
        """What made the verdict, the gravest first; or what there is to tell about an `ok` span."""
        order = {BROKEN: 0, DRIFTED: 1, OK: 2}
        texts = [found.text for found in sorted(self.findings, key=lambda found: order[found.severity])]
        return [self.unquarantined, *texts] if self.unquarantined else texts

    def softened(self, decision: str) -> "Verdict":
        """The verdict after a person took the span out of quarantine by force: `drifted` at most, every reason kept."""
        if self.verdict != BROKEN:
            return self
        return dataclasses.replace(self, verdict=DRIFTED, unquarantined=decision)

    def to_json(self) -> dict[str, Any]:
        """The content of `data_verdict.json`."""
        values = dataclasses.asdict(self)
        return {"verdict": self.verdict, "reasons": self.reasons, **values}


def judge(evidence: Evidence, thresholds: Thresholds) -> Verdict:
    """Runs every check and takes the gravest finding.

    Args:
      evidence: what is known about the span and what came before it.
      thresholds: the config's `gates.data`.
    """
    found_anomalies, findings = anomalies.validate(evidence.statistics, evidence.schema, thresholds)
    ignore = {evidence.label, evidence.time, *thresholds.ignore}
    drifts: list[Drift] = []
    for title, reference in evidence.references.items():
        measured, told = compare(evidence.statistics, reference, title, evidence.schema, thresholds, ignore)
        drifts += measured
        findings += told

    current = features(evidence.statistics)
    references = {title: features(reference) for title, reference in evidence.references.items()}
    told, volume = history.check_volume(evidence.span, evidence.past, evidence.every, thresholds.volume)
    findings += told
    findings += history.check_time(evidence.span, evidence.past, evidence.every, thresholds)
    others = {span: marks for span, marks in evidence.fingerprints.items() if span != evidence.span.span}
    findings += history.check_replay(evidence.fingerprints.get(evidence.span.span, {}), others)
    told, rate = label_checks.check_rate(
        current.get(evidence.label),
        {title: reference.get(evidence.label) for title, reference in references.items()},
        evidence.task,
        evidence.unlabelled,
        thresholds.label_rate,
    )
    findings += told
    past = [features(statistics) for statistics in evidence.past_statistics] or list(references.values())
    findings += label_checks.check_slices(current, past, thresholds.slices)
    measured_only = {name: feature for name, feature in current.items() if name not in ignore}
    findings += column_checks.check_stuck(measured_only, references, thresholds.stuck)
    findings += column_checks.check_shuffled(measured_only, references, thresholds.association)
    return Verdict(worst(findings), evidence.span.span, findings, found_anomalies, drifts, volume, rate)


def features(statistics: Statistics) -> Features:
    """The features of a statistics list's one dataset, by name."""
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}
