"""Spans of N rows each. A row is known by its offset in its source, so rows may repeat."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from noria.ingestion import source_offsets
from noria.ingestion.formats import FileTable, Rows, Table
from noria.ingestion.grown_files import GrownFiles
from noria.ingestion.ledger import Beginning, Ledger
from noria.ingestion.partition import Partition
from noria.ingestion.source_offsets import SourceOffsets, SourceRows
from noria.ingestion.span_assigners.base import OFFSET, SOURCE, SpanAssigner, beside

_TABLE, _ROW = "\x00table", "\x00row"


class RowAssigner(SpanAssigner):
    """Assigns N rows to each span, in the order of their time if there is a time, else in the source's order.

    Args:
      tables: the tables.
      size: N.
      time: the time column, or None.
      ids: the spans that are there.
      source_rows: which rows of which source they have.
      ledger: knows what was read before.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        size: int,
        time: str | None,
        ids: Collection[int],
        source_rows: Iterable[SourceRows],
        ledger: Ledger,
    ):
        super().__init__(tables)
        self._size = size
        self._time = time
        self._ids = set(ids)
        self._source_rows: dict[str, list[SourceRows]] = {}
        for part in source_rows:
            self._source_rows.setdefault(part.digest, []).append(part)
        self._ledger = ledger
        self._grown = GrownFiles(ledger.beginnings())
        # What each table begins with, the longest last.
        self._begins: list[list[Beginning]] = []
        # By index of the source: its offsets, how many of its rows were seen, and the table whose rows count for it.
        self._offsets: list[SourceOffsets] = []
        self._at: list[int] = []
        self._owners = np.zeros(0, np.int64)
        # An id that a source knows must not be given to other rows; an empty store begins at 1.
        self._next = 1 + max(ids, default=0)
        if self._ids:
            self._next = max(self._next, 1 + max(ledger.spans(), default=0))
        self._kept = 0

    def watch(self, rows: Iterable[Rows]) -> Iterable[Rows]:
        return self._grown.watch(rows)

    def sort(self, parts: Iterator[Rows], partition: Partition) -> None:
        """Sorts by time first.

        A file may list its events in any order, so that all spans would cover the same time. And only after all rows
        were read it is known which of them are in an earlier source.
        """
        index = {table.digest: i for i, table in enumerate(self.tables)}
        with Partition(partition.folder / "in-order") as waiting:
            for part in parts:
                count = part.batch.num_rows
                self.seen[part.table.name] += count
                table = np.full(count, index[part.table.digest])
                batch = beside(part.batch, **{_TABLE: table, _ROW: part.numbers})
                waiting.add(batch, np.zeros(count, np.int64))
            self._begins = [self._beginnings(table) for table in self.tables]
            if waiting.spans:
                self._find_offsets(waiting)
                for rows in waiting.read(0, self._time):
                    self._assign(rows, partition)

    def begin(self) -> None:
        """Enters the tables into the ledger, so that a file that grows while this ingestion is killed is known."""
        for table, begins in zip(self.tables, self._begins, strict=True):
            earlier = [each.digest for each in begins]
            self._ledger.begin(table, **self._grown.rows_read(table), begins_with=earlier)

    def sources_of(self, table: Table) -> set[str]:
        begins = self._begins[list(self.tables).index(table)]
        return {table.digest, *(each.digest for each in begins)}

    def ranges(self, committed: Sequence[SourceRows]) -> dict[str, list[list[int]]]:
        """For the ledger: by sha256 of a source, `[span, first, rows]` of all that the spans have of it.

        Args:
          committed: what this ingestion committed.
        """
        found: dict[str, list[list[int]]] = {}
        for digest, known in zip(self.sources, self._offsets, strict=False):
            mine = [[each.span, each.first, each.end - each.first] for each in known.here]
            mine += [[each.span, each.first or 0, each.rows] for each in committed if each.digest == digest]
            found[digest] = sorted(mine)
        return found

    def notes(self) -> list[str]:
        notes = []
        for table, found in zip(self.tables, self._begins, strict=True):
            if found:
                notes.append(
                    f"{table.name}: its rows 1 to {found[-1].rows:,} were read before, as {found[-1].name}, "
                    "and are not ingested again"
                )
            elif isinstance(table, FileTable) and self._grown.changed(table):
                notes.append(
                    f"{table.name}: it was read before, but does not begin with the rows it had then; "
                    "all its rows count as new"
                )
        return notes

    def _beginnings(self, table: Table) -> list[Beginning]:
        """What a table begins with, the longest last; of two with the same rows, the one that has more in spans."""
        found = self._grown.found.get(table.digest, [])
        entry = self._ledger.entry(table.digest)
        if table.digest in self._source_rows and "begins_with" in entry:
            # Which rows are its own must not change while spans have some.
            found = [each for each in found if each.digest in entry["begins_with"]]
        return sorted(found, key=lambda each: (each.rows, -self._committed(each.digest)))

    def _committed(self, digest: str) -> int:
        return sum(part.rows for part in self._source_rows.get(digest, ()))

    def _find_offsets(self, waiting: Partition) -> None:
        """Looks up which source each row is from, and which of a source's rows the spans have."""
        for each in [each for begins in self._begins for each in begins]:
            self.sources.setdefault(each.digest, each.name)
        counts: dict[tuple[int, int], int] = {}
        for rows in waiting.read(0, None):
            pairs, numbers = np.unique(np.stack(self._origin(rows)), axis=1, return_counts=True)
            for table, origin, count in zip(*pairs.tolist(), numbers.tolist(), strict=True):
                counts[origin, table] = counts.get((origin, table), 0) + count
        # Several tables may begin with one source: its rows count once.
        owners = list(range(len(self.tables)))
        for i in range(len(self.tables), len(self.sources)):
            owners.append(min((table for origin, table in counts if origin == i), default=0))
        self._owners, self._at = np.array(owners), [0] * len(owners)
        for digest in self.sources:
            entry = self._ledger.entry(digest) if self._ids else {}
            self._offsets.append(source_offsets.find(self._source_rows.get(digest, []), entry, self._ids))

    def _origin(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the table that each row is in, and of the first source that had it, both `[rows]`."""
        tables, numbers = (rows.column(name).to_numpy() for name in (_TABLE, _ROW))
        origin = tables.copy()
        index = {digest: i for i, digest in enumerate(self.sources)}
        for i, begins in enumerate(self._begins):
            for each in reversed(begins):
                origin[(tables == i) & (numbers <= each.rows)] = index[each.digest]
        return tables, origin

    def _assign(self, rows: pa.Table, partition: Partition) -> None:
        """Adds those rows to the partition that no span has: back to the span that had them, or to the next one."""
        tables, origin = self._origin(rows)
        keep = self._owners[origin] == tables
        self.repeated += int((~keep).sum())
        offset, spans = np.zeros(len(origin), np.int64), np.zeros(len(origin), np.int64)
        for i in np.unique(origin[keep]).tolist():
            mine = np.flatnonzero(keep & (origin == i))
            offset[mine] = self._at[i] + np.arange(len(mine))
            self._at[i] += len(mine)
            committed = self._offsets[i].committed(offset[mine])
            spans[mine] = self._offsets[i].deleted(offset[mine])
            keep[mine[committed]] = False
            self.repeated += int(committed.sum()) if i >= len(self.tables) else 0
        new = np.flatnonzero(keep & (spans == 0))
        spans[new] = self._next + (self._kept + np.arange(len(new))) // self._size
        self._kept += len(new)
        added = {SOURCE: origin.astype(np.int32)[keep], OFFSET: offset[keep]}
        table, spans, at = rows.drop([_TABLE, _ROW]).filter(pa.array(keep)), spans[keep], 0
        for batch in table.to_batches():
            here = slice(at, at + batch.num_rows)
            partition.add(
                beside(batch, **{name: values[here] for name, values in added.items()}), spans[here]
            )
            at += batch.num_rows
