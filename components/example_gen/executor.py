"""Reads the window's spans and writes their rows, split and encoded."""

import collections
import contextlib
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2

from noria.components import example_file, execution, journal
from noria.components.artifacts import known_since, present
from noria.components.example_gen.window import Pick, Window, pick, select
from noria.components.internals.tfx_beam import BeamExecutor
from noria.core.errors import DataError, SpanError, ThinError
from noria.schemas.list_columns import as_lists
from noria.stores import twin
from noria.stores.pending import once_more, pending
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from noria.stores.versions import TWIN


@dataclasses.dataclass(frozen=True)
class WindowTask:
    """What is the same for all spans of a window; Beam sends it to its workers.

    Attributes:
      home: the project's home folder.
      window: the rules by which rows are picked.
      label: the label's column.
      newest: id of the newest span.
      versions: span -> the version of it that the run began on.
      out: folder of the output artifact.
    """

    home: Path
    window: Window
    label: str
    newest: int
    versions: dict[int, int]
    out: Path


class Executor(BeamExecutor):
    """Picks spans, splits their rows and writes them, span by span, batch by batch."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `Split-train` and `Split-eval` under the output artifact, one file per span and split.

        Raises:
          SpanError: the span is missing, damaged or in quarantine.
          ThinError: there is no row to train or evaluate on; the registry has the run.
          DataError: the label or a column of the key is missing.
        """
        with journal.stage("SpanExampleGen") as stage:
            window = Window.from_json(exec_properties["window"])
            store = SpanStore(Path(exec_properties["home"]))
            runs = Registry(store.home).runs()
            _stop_if_over(runs, exec_properties["run_id"], stage)
            quarantined = set(store.quarantined())
            spans = [span for span in store.ids() if span not in quarantined]
            newest, mode = _asked(exec_properties, spans, store.home, window)
            champion = present(input_dict.get("champion"))
            if mode == "auto":
                mode = "cold" if champion is None else "warm"
            warm = mode == "warm"
            # Of the window's spans only, so that the cost does not grow with the history.
            manifest = functools.lru_cache(maxsize=None)(store.manifest)
            trained = {run.span for run in runs if run.model_verdict in ("blessed", "rejected")}
            since = None if mode == "cold" else known_since(champion)
            picks = pick(window, spans, lambda span: manifest(span).rows, newest, warm, trained, since)
            size = sum(file["bytes"] for picked in picks for file in manifest(picked.span).files)
            path, reason = execution.choose(exec_properties["execution"], size, self.beam_args)

            artifact = output_dict["examples"][0]
            stage.note(
                span=newest,
                mode=mode,
                path=path,
                reason=reason,
            )
            out = Path(artifact.uri)
            # From here on these versions only: on a cluster another run may commit late rows at the same time.
            versions = {picked.span: manifest(picked.span).version for picked in picks}
            task = WindowTask(store.home, window, exec_properties["label"], newest, versions, out)
            counts = self._in_beam(picks, task) if path == "beam" else _in_process(picks, task)
            # A warm run without a new row would only repeat its replay sample.
            if not counts["new"] or not counts["eval"]:
                run = RunRecord(
                    newest,
                    exec_properties["run_id"],
                    span_version=versions[newest],
                    data_verdict="thin",
                    model_verdict="skipped",
                    reasons=(_few(counts, exec_properties["label"]),),
                    rows=dict(counts),
                )
                # The later stages do not run, so the run is recorded here; usually the Pusher records it.
                Registry(store.home).record_run(run)
                _stop_if_over([run], run.run_id, stage)
            _describe(artifact, picks, counts, mode, versions, since)
            stage.note(rows=counts["train"] + counts["eval"], **counts)

    def _in_beam(self, picks: list[Pick], task: WindowTask) -> collections.Counter:
        counts_folder = task.out / ".counts"
        with self.beam_pipeline() as pipeline:
            (
                pipeline
                | "Spans" >> beam.Create(picks, reshuffle=True)
                | "Write" >> beam.Map(_write_span, task)
                | "Counts" >> beam.Map(json.dumps)
                | "Collect" >> beam.io.WriteToText(str(counts_folder / "counts"))
            )
        total: collections.Counter = collections.Counter()
        for path in sorted(counts_folder.iterdir()):
            for line in path.read_text(encoding="utf-8").splitlines():
                total.update(json.loads(line))
            path.unlink()
        counts_folder.rmdir()
        return total


def _few(counts: dict[str, int], label: str) -> str:
    unlabelled = f", {counts['unlabelled']} have no {label!r}" if counts["unlabelled"] else ""
    return f"too few rows: {counts['new']} to train on, {counts['eval']} to evaluate on{unlabelled}"


def _stop_if_over(runs: list[RunRecord], run_id: str, stage: journal.Stage) -> None:
    """Ends a run whose span is thin. A repeated task must end in the same way, and not pick the next span.

    Raises:
      ThinError: the span of the run is thin.
    """
    for run in runs:
        if run.run_id == run_id and run.data_verdict == "thin":
            stage.note(span=run.span, verdict=run.data_verdict, reasons=list(run.reasons))
            raise ThinError(
                f"span {run.span} is thin: {'; '.join(run.reasons)}",
                where=f"span {run.span}, version {run.span_version}",
                next_step="nothing: the next run takes the next span, and this one again when more of its rows or "
                "labels arrive; if spans are always thin, make them longer (`span.every`)",
            )


def _asked(exec_properties: dict[str, Any], spans: list[int], home: Path, window: Window) -> tuple[int, str]:
    """The id that `newest`, `next`, `again` or a number means, and the mode; `next` may be a twin that is due.

    Raises:
      SpanError: there is no such span yet.
    """
    wanted, mode = exec_properties["span"], exec_properties["mode"]
    if wanted not in ("newest", "next", "again"):
        return int(wanted), mode
    if wanted == "newest":
        found = spans[-1:]
    else:
        found = pending(home, window.first)[:1]
        if not found and wanted == "next" and twin.due(Registry(home).state(), window.twin):
            mode = TWIN
        if not found and (wanted == "again" or mode == TWIN):
            found = once_more(home)
    if not found:
        raise SpanError(
            f"there is no {wanted} span: the store has {len(spans)}, and none waits for a run",
            where=home,
            next_step="ingest newer events first",
        )
    return found[0], mode


def _in_process(picks: list[Pick], task: WindowTask) -> collections.Counter:
    total: collections.Counter = collections.Counter()
    for picked in picks:
        total.update(_write_span(picked, task))
    return total


def _write_span(picked: Pick, task: WindowTask) -> dict[str, int]:
    """Writes one span; with Beam one element."""
    label = task.label
    counts: collections.Counter = collections.Counter()
    name = f"{picked.file_stem}-00000-of-00001.gz"
    with contextlib.ExitStack() as stack:
        writers = {"train": stack.enter_context(example_file.create(task.out / "Split-train" / name))}
        if picked.evaluate:
            writers["eval"] = stack.enter_context(example_file.create(task.out / "Split-eval" / name))
        store = SpanStore(task.home)
        # Checks the digests first: one more sequential read, which makes the second one fast.
        version, first = task.versions[picked.span], 0
        rows_of_span = store.manifest(picked.span, version).rows
        for batch in store.read(picked.span, verify=True, version=version):
            table = pa.Table.from_batches([batch])
            if label not in table.column_names:
                raise DataError(
                    f"span {picked.span} has no column {label!r}, which the config names as the label",
                    where=f"columns: {', '.join(table.column_names)}",
                    next_step="correct `label.column` in the config, or ingest the span again",
                )
            parts = select(table, picked, task.window, label, task.newest, first, rows_of_span)
            first += len(table)
            counts["replay" if picked.train_rate < 1.0 else "new"] += len(parts["train"])
            for part, rows in parts.items():
                counts[part] += len(rows)
                if part in writers and len(rows):
                    (flat,) = rows.combine_chunks().to_batches()
                    writers[part].write(as_lists(flat))
    if not picked.evaluate:
        del counts["unlabelled"]  # the run reports those of the newest span only
    return dict(counts)


def _describe(
    artifact: types.Artifact,
    picks: list[Pick],
    counts: dict[str, int],
    mode: str,
    versions: dict[int, int],
    since: int | None,
) -> None:
    artifact.split_names = json.dumps(["train", "eval"])
    artifact.span = picks[-1].span
    artifact.set_string_custom_property("mode", mode)
    artifact.set_string_custom_property("spans", json.dumps([picked.span for picked in picks]))
    artifact.set_string_custom_property("span_versions", json.dumps(versions))
    artifact.set_string_custom_property("since", json.dumps(since))
    artifact.set_string_custom_property("rows", json.dumps(dict(counts)))
    formats: Any = example_gen_pb2  # its names are made when it is imported
    examples_utils.set_payload_format(artifact, formats.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, "tfrecords_gzip")
