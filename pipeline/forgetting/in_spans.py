"""Rows in spans, in the segments of a stream, and in what was copied from a database or fetched."""

import os
from pathlib import Path

import pyarrow as pa

from noria.core import files
from noria.ingestion import calendar
from noria.ingestion.calendar import Calendar
from noria.ingestion.labels import Labels
from noria.ingestion.landing import Landing
from noria.ingestion.ledger import Ledger
from noria.ingestion.partition import FOLDER as PARTITION_FOLDER
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.config import Config
from noria.pipeline.forgetting.change import Change
from noria.pipeline.forgetting.in_dead_letters import holds
from noria.pipeline.forgetting.keys import Keys
from noria.pipeline.runs.ingest import LANDING
from noria.stores.row_removal import Count
from noria.stores.spans import SpanStore


def in_segments(home: Path, config: Config, keys: Keys, only_find: bool) -> list[Change]:
    """Events and dead letters of segments that are not in spans yet."""
    store, done = SpanStore(home), (0, 0)
    ids = store.ids()
    if ids and calendar.rows_per_span(config.span.every) is not None:
        mark = store.manifest(ids[-1]).extra.get("stream") or {"commit": 0, "row": 0}
        done = (mark["commit"], mark["row"])
    found = SegmentStore(home).remove_rows(
        keys.rows,
        lambda letter: holds(letter, keys),
        every=config.span.every,
        column=config.time.column,
        done=done,
        only_find=only_find,
    )
    return [Change("segments", f"stream/segments/{commit:012d}", rows) for commit, rows in found.items()]


def in_spans(home: Path, keys: Keys, only_find: bool) -> list[Change]:
    """Rows in all versions of all spans."""
    store = SpanStore(home)
    known = calendar_of(store)
    if not only_find:
        for path in store.folder.glob(f"{PARTITION_FOLDER}*"):  # of a killed ingestion
            files.remove_tree(path)
    found = store.remove_rows(
        keys.columns,
        keys.rows,
        time=known.time if known is not None else None,
        count=_count(known) if known is not None else None,
        only_find=only_find,
    )
    return [Change("spans", name_of(*each), rows) for each, rows in found.items()]


def calendar_of(store: SpanStore) -> Calendar | None:
    """What the spans were laid out by; None if somebody committed them in another way, or there are none."""
    ids = store.ids()
    laid_out = ids and store.manifest(ids[-1]).extra.get("calendar") is not None
    return Calendar.load(store) if laid_out else None


def name_of(span: int, version: int) -> str:
    """The folder of a version of a span in the home."""
    return f"spans/{span:08d}/v{version:04d}"


def in_landing(home: Path, keys: Keys, only_find: bool) -> list[Change]:
    """Rows that were copied from a database. Fetched files are deleted: they can be fetched again."""
    found = []
    store = SpanStore(home)
    ledger = Ledger(store)
    folder = files.fetched(home / LANDING)
    if not only_find:
        files.sweep(folder)
    for path in sorted(folder.glob("*")):
        if path.is_dir():
            found.append(Change("landing", path.relative_to(home).as_posix()))
            if not only_find:
                files.remove_tree(path)
        elif path.suffix == ".parquet":
            rows, beside = Landing.remove_rows(path, keys.rows, lambda digest: bool(ledger.entry(digest)))
            if rows:
                found.append(Change("landing", path.relative_to(home).as_posix(), rows))
            if beside is None:
                if rows and not only_find:
                    files.remove_tree(path)
                continue
            try:
                if not only_find:
                    old, new = files.sha256(path), files.sha256(beside)
                    # Before the file: a source under a name that nobody knows would be ingested again.
                    ledger.rename(old, new)
                    store.rename_source(old, new)
                    files.commit_file(beside, path)
            finally:
                if os.path.exists(beside):
                    beside.unlink()
    return found


def _count(known: Calendar) -> Count:
    labels = Labels(known.label, known.task, known.classes or None)

    def count(batch: pa.RecordBatch) -> dict[str, int]:
        return labels.count(batch.column(batch.schema.get_field_index(known.label)))

    return count
