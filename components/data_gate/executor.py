"""Gathers the evidence, asks for the verdict, writes it down, and quarantines a broken span."""

import json
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.components.artifacts import present
from noria.components.data_gate import anomalies, data_verdict, finding, first_model, lasting
from noria.components.data_gate.history import LOOK_BACK, Past, is_thin, usual
from noria.components.data_gate.settings import DataGateSettings
from noria.components.statistics_cache import FILE, StatisticsCache
from noria.core import files, periods
from noria.core.errors import GateError, ThinError
from noria.core.settings import read_json
from noria.schemas import loader
from noria.schemas.diff import diff, propose
from noria.stores.manifest import Manifest
from noria.stores.quarantine import hold_back
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

VERDICT = "data_verdict.json"
SCHEMA_DIFF = "schema_diff.md"
# Kept spans whose fingerprints are compared: two years of weeks.
REMEMBERED = 104


class Executor(base_executor.BaseExecutor):
    """Reads and writes; the checks are plain functions in the modules beside."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `data_verdict.json`, and `schema_diff.md` where the schema does not fit, under the output artifact.

        Raises:
          GateError: the label is not given, or the statistics hold no dataset.
          ConfigError: a setting has a wrong value, or a user's measure cannot be imported.
          ThinError: a first model would not see a class that it must predict; the registry has the run.
        """
        with journal.stage("DataGate") as stage:
            settings = read_json(DataGateSettings, exec_properties["gate"], "gates.data")
            schema = loader.load(Path(input_dict["schema"][0].uri) / "schema.pbtxt")
            evidence = collect_evidence(
                input_dict["statistics"][0],
                present(input_dict.get("champion")),
                schema,
                Path(exec_properties["home"]),
                label=exec_properties["label"],
                task=exec_properties["task"],
                time=exec_properties["time"],
                every=exec_properties["every"],
                thin=settings.thin,
            )
            stage.note(span=evidence.span.span, references=", ".join(evidence.references) or "none")
            project, home, span = (
                exec_properties["project"],
                Path(exec_properties["home"]),
                evidence.span.span,
            )
            result = data_verdict.judge(evidence, settings, project)
            if result.verdict == finding.BROKEN:
                held = _held(home, evidence, schema)
                accepted = lasting.accept(result, evidence, held, settings, project)
                if accepted is not None:
                    shares = [key for key in result.broken if key[0] == "schema"]
                    Registry(home).record_normal(span, shares, accepted.findings[0].text, "data gate")
                    result = accepted
            decision = Registry(home).unquarantine_of(span, evidence.version)
            if decision is not None and decision.forced:
                result = result.softened(str(decision))

            artifact = output_dict["verdict"][0]
            folder = Path(artifact.uri)
            folder.mkdir(parents=True, exist_ok=True)
            if result.anomalies:
                proposal = propose(schema, evidence.statistics)
                text = diff(schema, proposal)
                (folder / SCHEMA_DIFF).write_text(_page(span, result, text), encoding="utf-8")
                loader.save(proposal, folder / "schema_proposal.pbtxt")
            content = result.to_json()
            (folder / VERDICT).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            if result.verdict == finding.BROKEN:
                kept = {
                    "verdict": result.verdict,
                    "reasons": result.reasons,
                    "file": str(folder / VERDICT),
                    "broken": result.broken,
                }
                # What follows is skipped, so the run ends here; a whole one ends in the Pusher.
                hold_back(home, span, evidence.version, kept, exec_properties["run_id"])
            artifact.set_string_custom_property("verdict", result.verdict)
            stage.note(verdict=result.verdict, reasons=result.reasons[:3])
            if evidence.first and result.verdict != finding.BROKEN:
                _stop_if_incomplete(input_dict["statistics"][0], evidence, home, exec_properties, stage)


def collect_evidence(
    statistics: types.Artifact,
    champion: types.Artifact | None,
    schema: schema_pb2.Schema,
    home: Path,
    *,
    label: str,
    task: str,
    time: str,
    every: str,
    thin: int = 0,
) -> data_verdict.Evidence:
    """Reads everything that the verdict is based on.

    Raises:
      GateError: the label is not given, or the span's statistics hold no dataset.
    """
    if not label:
        raise GateError(
            "DataGate must know the label, got none",
            where="exec property label",
            next_step="pass label= to DataGate",
        )
    span = int(statistics.span)
    mine = _load(Path(statistics.uri) / "Split-span" / FILE)
    if mine is None or not mine.datasets:
        raise GateError(
            f"there are no statistics of span {span}",
            where=Path(statistics.uri) / "Split-span",
            next_step="run StatisticsGen again",
        )
    store = SpanStore(home)
    quarantined = set(store.quarantined())
    accepted = [other for other in store.ids(retired=True) if other < span and other not in quarantined]
    past = [_past(store.manifest(other)) for other in accepted[-REMEMBERED:]]
    digest = loader.digest(schema)
    kept = {  # a later version of a span takes the place of the earlier one
        found.span: found
        for found in StatisticsCache(home).all()
        if found.schema == digest and (found.span == span or found.span in accepted)
    }
    rows_here = int(mine.datasets[0].num_examples)
    state = Registry(home).state()
    # A decision about later spans says nothing about this one.
    normal = state.normal if state.normal is not None and state.normal.span <= span else None
    since = 0 if normal is None else normal.span
    references = {}
    previous = _load(Path(statistics.uri) / "Split-previous" / FILE)
    number = statistics.get_int_custom_property("previous_span")
    if previous is not None and (number < since or _is_thin(previous, rows_here, thin)):
        previous = None
    for older in sorted(kept, reverse=True):  # StatisticsGen takes the newest one
        if previous is None and since <= older < span:
            found = _load(kept[older].path)
            if found is not None and not _is_thin(found, rows_here, thin):
                previous, number = found, older
    if previous is not None:
        references[f"previous span {number}"] = previous
    if champion is not None:
        version = champion.get_int_custom_property("version")
        trained = _load(Path(champion.uri) / "statistics" / FILE)
        newest = state.versions[version].span if version in state.versions else None
        current = newest is None or newest >= since
        if trained is not None and current and not _is_thin(trained, rows_here, thin):
            references[f"champion {version}"] = trained
    rows = json.loads(statistics.get_string_custom_property("rows") or "{}")
    # The version that the statistics are of; another run may have committed a later one since.
    versions = json.loads(statistics.get_string_custom_property("span_versions") or "{}")
    manifest = store.manifest(span, versions.get(str(span))) if span in store.ids() else None
    # What the spans were laid out by; the config does not have to repeat it.
    calendar = (manifest.extra.get("calendar") or {}) if manifest is not None else {}
    time = time or calendar.get("time") or ""
    labelled = int(mine.datasets[0].num_examples)
    unlabelled = rows.get("unlabelled", 0)
    return data_verdict.Evidence(
        span=Past(span, labelled + unlabelled, None) if manifest is None else _past(manifest),
        version=1 if manifest is None else manifest.version,
        statistics=mine,
        schema=schema,
        references=references,
        past=past,
        usual=usual(past, labelled + unlabelled, thin, since),
        normal=normal,
        first=champion is None,
        classes=tuple(map(str, calendar.get("classes") or ())),
        past_statistics=[
            loaded
            for other in sorted(kept)[-LOOK_BACK - 1 :]
            if since <= other != span
            and (loaded := _load(kept[other].path)) is not None
            and not _is_thin(loaded, rows_here, thin)
        ],
        fingerprints={
            other: {name: mark for name, mark in kept[other].fingerprint.items() if name != time}
            for other in sorted(kept)[-REMEMBERED:]
        },
        unlabelled=(unlabelled, labelled + unlabelled),
        label=label,
        time=time,
        task=task,
        every=every or calendar.get("every") or "",
    )


def _stop_if_incomplete(
    statistics: types.Artifact,
    evidence: data_verdict.Evidence,
    home: Path,
    exec_properties: dict[str, Any],
    stage: journal.Stage,
) -> None:
    """Ends the run where the training rows of a first model lack a class; they stay for later windows.

    Raises:
      ThinError: they do not.
    """
    training = _load(Path(statistics.uri) / "Split-train" / FILE)
    if training is None:
        return
    label = anomalies.features(training).get(evidence.label)
    store = SpanStore(home)
    labels = [store.manifest(span).labels for span in store.ids()]
    known = {name: sum(each.get(name, 0) for each in labels) for name in evidence.classes}
    reason = first_model.missing(label, evidence.task, known, len(evidence.past) + 1)
    if reason is None:
        return
    span = evidence.span.span
    Registry(home).record_run(
        RunRecord(
            span,
            exec_properties["run_id"],
            span_version=evidence.version,
            data_verdict="thin",
            model_verdict="skipped",
            reasons=(reason,),
        )
    )
    stage.note(verdict="thin", reasons=[reason])
    raise ThinError(
        f"span {span} gives no first model: {reason}",
        where=f"span {span}, version {evidence.version}",
        next_step="nothing: its rows stay in the window of the next run",
    )


def _held(home: Path, evidence: data_verdict.Evidence, schema: schema_pb2.Schema) -> list[lasting.Held]:
    """The spans in quarantine since the last accepted one before this span, ascending, without thin ones."""
    store, digest = SpanStore(home), loader.digest(schema)
    last = max((span.span for span in evidence.past), default=0)
    known = {found.span: found for found in StatisticsCache(home).all() if found.schema == digest}
    held = []
    for span, note in store.quarantined().items():
        verdict = note["verdict"]
        if not last < span < evidence.span.span or span not in known or not isinstance(verdict, dict):
            continue
        statistics = _load(known[span].path)
        if statistics is not None:
            broken = frozenset((check, feature) for check, feature in verdict.get("broken", []))
            held.append(lasting.Held(_past(store.manifest(span)), broken, statistics))
    return held


def _is_thin(statistics: statistics_pb2.DatasetFeatureStatisticsList, rows: int, thin: int) -> bool:
    return not statistics.datasets or is_thin(int(statistics.datasets[0].num_examples), rows, thin)


def _past(manifest: Manifest) -> Past:
    length = periods.length((manifest.extra.get("calendar") or {}).get("every", ""))
    return Past(manifest.span, manifest.rows, manifest.event_time, min(length or periods.HOUR, periods.HOUR))


def _load(path: Path) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    return tfdv.load_stats_binary(str(path)) if files.fetched(path).is_file() else None


def _page(span: int, result: data_verdict.Verdict, changes: str) -> str:
    lines = [
        f"# Span {span} and the schema",
        "",
        f"Data verdict: **{result.verdict}**.",
        "",
        "## Anomalies",
        "",
    ]
    lines += [f"- {found.severity}: `{found.feature}`: {found.description}" for found in result.anomalies]
    lines += ["", "## What the schema must say so that this span has no anomaly", ""]
    lines += [changes or "Nothing: the anomalies are about the data, not about the schema.", ""]
    lines += [
        "This is a proposal; nothing was changed. If the span is right and the schema is not, copy what you agree with",
        f"from `schema_proposal.pbtxt`, then type `noria unquarantine {span} --reason ...` and `noria run`:",
        "the gates judge the span again, by the new schema.",
        "",
    ]
    return "\n".join(lines)
