"""Rows are removed from one version of a span permanently; its number stays, as do all other rows.

New files first, under names that nobody knows. Then the manifest, in one step, names them. Then the old files are
deleted; so the next removal deletes what no manifest names. The caller holds the lock of the span store, and that of
the home, so that nobody reads the version meanwhile.
"""

import collections
import dataclasses
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core import files
from noria.stores import manifest as manifests
from noria.stores import span_files
from noria.stores.manifest import Manifest

Doomed = Callable[[pa.RecordBatch], np.ndarray]
Count = Callable[[pa.RecordBatch], Mapping[str, int]]


def find(manifest: Manifest, columns: Collection[str], doomed: Doomed) -> int:
    """How many rows of a version are to be removed.

    Args:
      manifest: of the version.
      columns: those that `doomed` looks at; a version without them has no such row.
      doomed: tells which rows of a batch, `[rows]` bool.
    """
    known = [name for name in columns if name in manifest.columns]
    if not known:
        return 0
    return sum(int(doomed(batch).sum()) for batch in span_files.read(manifest, known))


def remove(
    manifest: Manifest,
    columns: Collection[str],
    doomed: Doomed,
    *,
    time: str | None = None,
    count: Count | None = None,
    before: int = 0,
) -> int:
    """Removes rows from a version; a version without any rows left keeps an empty file.

    Args:
      manifest: of the version.
      columns, doomed: as in `find`.
      time: the column of the event time, epoch seconds; None for none.
      count: counts rows by label; None: the manifest then has no counts.
      before: rows of the version before this one, for `late_rows`.

    Returns:
      How many rows it has removed.
    """
    files.fetched(manifest.folder)
    _delete_unnamed(manifest)
    if not find(manifest, columns, doomed):
        return 0
    removed_labels: collections.Counter[str] = collections.Counter()
    times: list[int] = []

    def kept() -> Iterator[pa.Table]:
        for batch in span_files.read(manifest, verify=True):
            mask = doomed(batch)
            table = pa.Table.from_batches([batch])
            if count is not None and mask.any():
                for batch_removed in table.filter(pa.array(mask)).to_batches():
                    removed_labels.update(count(batch_removed))
            table = table.filter(pa.array(~mask))
            if time in table.column_names and table.num_rows:
                ends = pc.min_max(table.column(time))
                times.extend(each.as_py() for each in (ends["min"], ends["max"]) if each.is_valid)
            yield table

    first = next(iter(span_files.read(manifest)))
    beside = files.staging(manifest.folder.parent.parent)
    try:
        beside.mkdir(parents=True)
        _, written = span_files.write(beside, kept(), f"data-{uuid.uuid4().hex[:8]}", first.schema)
        rows = sum(file["rows"] for file in written)
        changed = _without(manifest, rows, written, removed_labels if count is not None else None, before)
        if time in manifest.columns and manifest.event_time is not None:
            first, last = manifest.event_time  # late rows of an earlier span may be before it
            ends = (max(min(times), first), min(max(times), last)) if times else None
            changed = dataclasses.replace(changed, event_time=ends)
        for file in written:
            files.commit_file(beside / file["name"], manifest.folder / file["name"])
        files.write_text(manifest.folder / manifests.FILE, changed.text())
    finally:
        files.remove_tree(beside)
    _delete_unnamed(changed)
    return manifest.rows - rows


def _without(
    old: Manifest,
    rows: int,
    written: list[dict[str, Any]],
    removed_labels: Mapping[str, int] | None,
    before: int,
) -> Manifest:
    removed = old.rows - rows
    return dataclasses.replace(
        old,
        rows=rows,
        files=tuple(written),
        late_rows=max(rows - before, 0) if old.late_rows else 0,
        labels={}
        if removed_labels is None
        else {word: n - removed_labels.get(word, 0) for word, n in old.labels.items()},
        extra={**old.extra, "forgotten": old.extra.get("forgotten", 0) + removed},
    )


def _delete_unnamed(manifest: Manifest) -> None:
    """Deletes what a killed removal has left in the version's folder."""
    files.sweep(manifest.folder)
    named = {file["name"] for file in manifest.files}
    for path in sorted(manifest.folder.glob("*.parquet")):
        if path.name not in named:
            files.remove_tree(path)
    files.sync(manifest.folder)
