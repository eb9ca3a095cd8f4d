"""Merges two sorted streams of record batches in bounded memory."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa


def merge_sorted(
    first: Iterable[pa.RecordBatch], second: Iterable[pa.RecordBatch], by: str
) -> Iterator[pa.Table]:
    """Merges by an int64 column without nulls; among equal values the rows of `first` come first.

    Args:
      first: batches sorted by `by`.
      second: the same, with the same schema.
      by: the column.

    Yields:
      Tables in order. At most one batch of each stream is held at a time.
    """
    sides = [_Side(first, by), _Side(second, by)]
    while True:
        active = [side for side in sides if side.fill()]
        if not active:
            return
        # No later row can be before the smaller of the two last values.
        cut = min(side.last for side in active)
        parts = [side.take(cut) for side in active]
        merged = pa.concat_tables(parts)
        yield merged.take(pa.array(np.argsort(merged.column(by).to_numpy(), kind="stable")))


class _Side:
    def __init__(self, batches: Iterable[pa.RecordBatch], by: str):
        self.batches = iter(batches)
        self.by = by
        self.table: pa.Table = pa.table({})

    def fill(self) -> bool:
        """Loads a batch if no row is left; False at the end of the stream."""
        while not self.table.num_rows:
            batch = next(self.batches, None)
            if batch is None:
                self.table = pa.table({})  # an empty slice would keep its batch in memory
                return False
            self.table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        return True

    @property
    def last(self) -> int:
        return self.table.column(self.by)[-1].as_py()

    def take(self, cut: int) -> pa.Table:
        """Removes and returns the rows up to `cut`.

        If equal values continue in the next batch, those rows come one round later.
        """
        count = int(np.searchsorted(self.table.column(self.by).to_numpy(), cut, side="right"))
        taken, self.table = self.table.slice(0, count), self.table.slice(count)
        return taken
