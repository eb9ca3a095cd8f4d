"""What all span assigners have in common."""

import collections
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from noria.ingestion.formats import Rows, Table
from noria.ingestion.partition import Partition

# Columns that accompany a row while it is sorted; no file can hold them. The index of its source in
# `SpanAssigner.sources`, and (spans cut by rows) its offset in the source.
SOURCE, OFFSET = "\x00source", "\x00offset"


class SpanAssigner:
    """Decides which rows of an ingestion are committed, and to which span each goes.

    Args:
      tables: the tables.

    Attributes:
      sources: where rows come from, name by sha256: the tables, then earlier ones that they begin with.
      only_new: by index of the table, whether its rows are all new, `[tables]`.
      seen: rows that could be read, by name of the table.
      repeated: rows that are skipped, because an earlier source had them.
    """

    def __init__(self, tables: Sequence[Table]):
        self.tables = tables
        self.sources = {table.digest: table.name for table in tables}
        self.only_new = np.array([table.only_new for table in tables], bool)
        self.seen: collections.Counter[str] = collections.Counter()
        self.repeated = 0

    def watch(self, rows: Iterable[Rows]) -> Iterable[Rows]:
        """Passes the rows on, before their time and label are read."""
        return rows

    def sort(self, parts: Iterator[Rows], partition: Partition) -> None:
        """Puts all rows into a partition, with the columns that accompany them."""
        raise NotImplementedError

    def sources_of(self, table: Table) -> set[str]:
        """The sources, by sha256, whose rows a table has."""
        return {table.digest}

    def notes(self) -> list[str]:
        """What people should know."""
        return []

    def span_of(self, key: int) -> int:
        """Id of the span that a key of the partition means, once all rows are in it."""
        return key


def beside(batch: pa.RecordBatch, **columns: np.ndarray) -> pa.RecordBatch:
    """A batch with further columns."""
    arrays = [*batch.columns, *map(pa.array, columns.values())]
    return pa.RecordBatch.from_arrays(arrays, [*batch.schema.names, *columns])
