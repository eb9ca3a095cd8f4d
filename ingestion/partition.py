"""Sorts rows into spans on disk: only one batch and one span's worth of sorting are ever in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from noria.core import files

# Where rows are sorted, below the spans. One name: the store is locked, and what a killed process left is found again.
FOLDER = ".partition"
# Bytes of rows held back before they are written out, and twice that while they are: 600,000 flights.
HELD_BYTES = 128 << 20
# Bytes that are read from the files before they are mapped again: pages of a map that were read stay in memory.
MAPPED_BYTES = 128 << 20
PART_ROWS = 65_536
# A slice of a batch takes memory, mostly for its columns: at most this many bytes, and this many for each
# column. Shuffled rows of hourly spans are almost nothing but slices.
SLICE_BYTES, COLUMN_BYTES = 512, 256
# Bytes of rows that are sorted in memory at once, and three times that while they are.
SORT_BYTES = 128 << 20


class Partition:
    """Rows by span id, in Arrow files of a temporary folder. A context manager, which makes and deletes the folder.

    Args:
      folder: where the files go.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: dict[int, int] = {}
        # Each file holds many spans, one after another; by span, the numbers of file and batch.
        self._files: list[pa.ipc.RecordBatchFileReader] = []
        self._mapped_bytes = 0
        self._written: dict[int, list[tuple[int, int]]] = {}
        self._held: dict[int, list[pa.RecordBatch]] = {}
        self._held_bytes = 0
        self._bytes = 0  # of all rows

    def __enter__(self) -> "Partition":
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._files.clear()
        files.remove_tree(self.folder)

    @property
    def spans(self) -> list[int]:
        """The ids that have rows, ascending."""
        return sorted(self.rows)

    def add(self, batch: pa.RecordBatch, spans: np.ndarray) -> None:
        """Adds rows.

        Args:
          batch: the rows.
          spans: their span ids, `[rows]`.
        """
        slices = 0
        for span, part in _by_span(batch, spans):
            self.rows[span] = self.rows.get(span, 0) + part.num_rows
            self._held.setdefault(span, []).append(part)
            slices += 1
        self._held_bytes += batch.nbytes + slices * (SLICE_BYTES + COLUMN_BYTES * batch.num_columns)
        self._bytes += batch.nbytes
        if self._held_bytes > HELD_BYTES:
            self._write_out()

    def read(self, span: int, order: str | None) -> Iterator[pa.Table]:
        """The rows of one span.

        Args:
          span: its id.
          order: int64 column to sort by, without nulls; rows of one value stay in the order they came in.
            None: all rows stay in that order.
        """
        if order is None:
            yield from self._tables(span)
            return
        times = [table.column(order).to_numpy() for table in self._tables(span)]
        everything = np.concatenate(times)
        if bool(np.all(everything[1:] >= everything[:-1])):
            yield from self._tables(span)
            return
        # Cut the times into ranges that fit in memory; each range is one scan over the files.
        size = self._bytes * len(everything) // sum(self.rows.values())
        count = -(-size // SORT_BYTES)
        edges = np.unique(np.quantile(everything, np.linspace(0, 1, count + 1)[1:-1], method="lower"))
        for low, high in zip([None, *edges], [*edges, None], strict=True):
            chosen = []
            for table, time in zip(self._tables(span), times, strict=True):
                mask = np.ones(len(time), bool)
                if low is not None:
                    mask &= time >= low
                if high is not None:
                    mask &= time < high
                chosen.append(table.filter(pa.array(mask)))
            part = pa.concat_tables(chosen).combine_chunks()
            if part.num_rows:
                yield part.take(pa.array(np.argsort(part.column(order).to_numpy(), kind="stable")))

    def _tables(self, span: int) -> Iterator[pa.Table]:
        for file, number in self._written.get(span, []):
            if self._mapped_bytes > MAPPED_BYTES:
                self._files = [self._map(file) for file in range(len(self._files))]
                self._mapped_bytes = 0
            batch = self._files[file].get_batch(number)
            self._mapped_bytes += batch.nbytes
            yield pa.Table.from_batches([batch])
        for batch in self._held.get(span, []):
            yield pa.Table.from_batches([batch])

    def _write_out(self) -> None:
        path = self._path(len(self._files))
        schema = next(iter(self._held.values()))[0].schema
        count = 0
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for span in sorted(self._held):
                table = pa.Table.from_batches(self._held.pop(span)).combine_chunks()
                for batch in table.to_batches(max_chunksize=PART_ROWS):
                    writer.write_batch(batch)
                    self._written.setdefault(span, []).append((len(self._files), count))
                    count += 1
        self._files.append(self._map(len(self._files)))
        self._held.clear()
        self._held_bytes = 0

    def _path(self, file: int) -> Path:
        return self.folder / f"{file}.arrow"

    def _map(self, file: int) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.memory_map(str(self._path(file))))


def _by_span(batch: pa.RecordBatch, spans: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
    if not len(spans):
        return
    if (spans[1:] < spans[:-1]).any():
        order = np.argsort(spans, kind="stable")
        batch = pa.RecordBatch.from_arrays(
            [c.take(pa.array(order)) for c in batch.columns], batch.schema.names
        )
        spans = spans[order]
    starts = np.flatnonzero(np.r_[True, spans[1:] != spans[:-1]])
    for start, end in zip(starts, [*starts[1:], len(spans)], strict=True):
        yield int(spans[start]), batch.slice(start, end - start)
