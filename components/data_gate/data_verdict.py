"""The policy: all checks, one verdict.

An error in the data stops the run; a change in the world does not. What cannot be a change in the world, and cannot be
chance with this number of rows (`significance`), is `broken`:

- a column that is missing or empty, or has a wrong type;
- values out of range beyond a few outliers, and unknown categories beyond the schema's tolerance;
- missing rows, shifted or repeated time, the same rows twice;
- a sensor that is stuck at a value, and columns that are no longer associated;
- one category whose label is flipped; a feature that follows the label from one span to the next (a leak);
- rows that are there twice, times in another time zone, texts in another encoding;
- a large shift of a feature that is tagged `stable` (shuffled codes), or the same values in another unit.

Everything else that moved beyond its threshold is `drifted`: the run continues, and Transform analyses the data again.
A feature that is tagged `volatile` is measured and reported.
"""

import dataclasses
from pathlib import Path
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.data_gate import (
    anomalies,
    column_checks,
    history,
    label_checks,
    row_checks,
    unit_checks,
)
from noria.components.data_gate.compare import Drift, compare, measures_of
from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding, worst
from noria.components.data_gate.history import Past
from noria.components.data_gate.settings import DataGateSettings
from noria.components.data_gate.significance import Test, against_all, conclude
from noria.schemas.tags import STABLE, tagged
from noria.stores.versions import Normal

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that a verdict is based on.

    Attributes:
      span: the span's id, rows and event-time range.
      version: the span's version.
      statistics: of the span's labelled rows.
      schema: the curated schema.
      references: title → statistics to compare with: the span before, the champion's training rows.
      past: the accepted spans before, ascending.
      usual: those of them that are a reference, see `history.usual`.
      past_statistics: statistics of the last of them, for what one span is too small for.
      fingerprints: this span's under its own id, and those of all other kept spans.
      unlabelled: the span's rows without a label, and all of its rows.
      normal: the decision from which span on the data are normal; None where all of them are.
      first: True where no model was published yet, so that no span is known to be a good one.
      classes: the label's classes; empty if they are unknown.
      label, time, task, every: the project's settings; `time` and `every` may be empty.
    """

    span: Past
    statistics: Statistics
    schema: schema_pb2.Schema
    references: dict[str, Statistics]
    past: list[Past]
    usual: list[Past]
    past_statistics: list[Statistics]
    fingerprints: dict[int, dict[str, str]]
    unlabelled: tuple[int, int]
    label: str
    time: str
    task: str
    every: str
    version: int = 1
    normal: Normal | None = None
    first: bool = False
    classes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What DataGate writes: `ok`, `drifted` or `broken`, and why.

    `unquarantined` says who overruled `broken`, and why.
    """

    verdict: str
    span: int
    findings: list[Finding]
    anomalies: list[anomalies.Anomaly]
    drift: list[Drift]
    volume: dict[str, Any]
    label_rate: dict[str, Any]
    unquarantined: str | None = None

    @property
    def broken(self) -> list[tuple[str, str]]:
        """Check and feature of what is `broken`, each once."""
        return sorted({(one.check, one.feature) for one in self.findings if one.severity == BROKEN})

    @property
    def reasons(self) -> list[str]:
        """The findings as text, the most severe first."""
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
        # `dataclasses.asdict` copies each value of thousands of measurements, which takes 30 times as long.
        lists = {
            name: [vars(one) for one in getattr(self, name)] for name in ("findings", "anomalies", "drift")
        }
        return {"verdict": self.verdict, "reasons": self.reasons, **vars(self), **lists}


def judge(evidence: Evidence, settings: DataGateSettings, project: Path | str | None = None) -> Verdict:
    """Runs every check and takes the most severe finding.

    Args:
      evidence: what is known about the span and what came before it.
      settings: the config's `gates.data`.
      project: folder of the project, for the user's own measures.

    Raises:
      ConfigError: a user's measure cannot be imported.
    """
    found_anomalies, findings = anomalies.validate(
        evidence.statistics, evidence.schema, settings, list(evidence.references.values())
    )
    findings = [_accepted(found, evidence.normal) for found in findings]
    ignore = {evidence.label, evidence.time, *settings.ignore}
    measures = measures_of(settings, project)
    drifts: list[Drift] = []
    stable: list[list[Test]] = []
    for title, reference in evidence.references.items():
        measured, drifted, tests = compare(
            evidence.statistics, reference, title, evidence.schema, settings, measures, ignore
        )
        drifts += measured
        findings += drifted
        stable.append(tests)

    current = anomalies.features(evidence.statistics)
    references = {title: anomalies.features(reference) for title, reference in evidence.references.items()}
    tests = against_all(stable)
    volume_tests, volume = history.check_volume(
        evidence.span, evidence.usual, evidence.every, settings.volume
    )
    findings += history.check_time(evidence.span, evidence.past, evidence.every, settings, evidence.usual)
    others = {span: marks for span, marks in evidence.fingerprints.items() if span != evidence.span.span}
    mine = evidence.fingerprints.get(evidence.span.span, {})
    findings += history.check_replay(mine, others, history.bits_of(current))
    label_tests, rate = label_checks.check_rate(
        current.get(evidence.label),
        {title: reference.get(evidence.label) for title, reference in references.items()},
        evidence.task,
        evidence.unlabelled,
        settings.label_rate,
    )
    if evidence.first:  # the label of a window that gave no model is not a rule for the next
        label_tests = [test if test.part == "unlabelled" else test.softened() for test in label_tests]
    elif _world_moved(drifts):  # a label that moves with most features is no fault of the label
        label_tests = [test.softened() if test.part == "rate" else test for test in label_tests]
    past = [anomalies.features(statistics) for statistics in evidence.past_statistics] or list(
        references.values()
    )
    measured_only = {name: feature for name, feature in current.items() if name not in ignore}
    tests += [
        *volume_tests,
        *label_tests,
        *(label_checks.check_slices(current, past, settings.slices) if evidence.task == "binary" else ()),
        *column_checks.check_stuck(measured_only, references, settings.stuck),
        *column_checks.check_shuffled(measured_only, references, settings.association),
    ]
    if settings.rows:
        tests += [
            *unit_checks.check_units(measured_only, references, tagged(evidence.schema, STABLE)),
            *row_checks.check_duplicates(current, references),
            *row_checks.check_hours(current, references, evidence.time),
            *row_checks.check_leak(current, references, evidence.label, ignore),
            *row_checks.check_parts(measured_only, references),
            *row_checks.check_encoding(measured_only, references, evidence.schema),
        ]
    findings += conclude(tests, settings.false_discovery)
    return Verdict(worst(findings), evidence.span.span, findings, found_anomalies, drifts, volume, rate)


def _world_moved(drifts: list[Drift]) -> bool:
    """Whether more than half of the features have drifted against every reference."""
    features: dict[str, dict[str, bool]] = {}
    for one in drifts:
        by_name = features.setdefault(one.reference, {})
        by_name[one.feature] = by_name.get(one.feature, False) or one.drifted
    return bool(features) and all(2 * sum(by_name.values()) > len(by_name) for by_name in features.values())


def _accepted(found: Finding, normal: Normal | None) -> Finding:
    """A finding that was accepted as normal no longer stops the pipeline."""
    if normal is None or found.severity != BROKEN or (found.check, found.feature) not in normal.accepted:
        return found
    return dataclasses.replace(found, severity=DRIFTED, text=f"{found.text} Accepted: {normal}")
