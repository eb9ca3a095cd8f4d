"""Exact value counts for TFDV's statistics in one process.

In memory TFDV counts values with a sketch of 1,024 entries, in Beam exactly: a week of flights has 2,900 aircraft,
whose counts would differ between the two. `ValueCounter` takes the place of the sketch in TFDV's generator.
The counts are Arrow columns: a distinct value costs its own bytes and 12 more, and up to three times that while counts
are added (`tests/unit/components/test_summarize.py`).
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.components.internals import tfdv as tfdv_internals

# Counts that wait before they are merged; with fewer the merge would run too often.
_WAITING = 100_000


class ValueCounter:
    """Counts the values of one feature.

    Args:
      keep: number of the most frequent values to report.
    """

    def __init__(self, keep: int):
        self._keep = keep
        self._parts: list[pa.Table] = []
        self._merged = 0  # rows of the first part, which is merged: its values are distinct
        self._waiting = 0

    def add(self, values: pa.Array) -> None:
        """Counts values."""
        counted = values.value_counts()
        # A plain table, as it would otherwise hold the buffers of dictionaries and slices.
        self._append(pa.table({"value": counted.field(0), "count": counted.field(1)}))

    def merge(self, other: "ValueCounter") -> None:
        """Adds the counts of another counter."""
        for part in other._parts:
            self._append(part)

    def estimate(self) -> Any:
        """The number of distinct values and the most frequent ones, in TFDV's type."""
        self._merge()
        if not self._parts:
            return tfdv_internals.value_counts(0, [])
        (table,) = self._parts
        counts = table["count"].to_numpy()
        if len(counts) > self._keep:
            least = np.partition(counts, len(counts) - self._keep)[len(counts) - self._keep]
            table = table.filter(pa.array(counts >= least))
        # Of equal counts the larger value comes first, as in Beam's `Top` over (count, value).
        order = pc.sort_indices(table, [("count", "descending"), ("value", "descending")])
        top = table.take(order[: self._keep])
        pairs = list(zip(top["value"].to_pylist(), top["count"].to_pylist(), strict=True))
        return tfdv_internals.value_counts(self.distinct, pairs)

    @property
    def distinct(self) -> int:
        """The number of distinct values."""
        self._merge()
        return self._merged

    def _append(self, part: pa.Table) -> None:
        self._parts.append(part)
        self._waiting += len(part)
        # As many as are merged already: each value is then moved a constant number of times on average.
        if self._waiting > max(_WAITING, self._merged):
            self._merge()

    def _merge(self) -> None:
        if not self._waiting:
            return
        added = pa.concat_tables(self._parts).group_by("value").aggregate([("count", "sum")])
        self._parts = [added.rename_columns([name.removesuffix("_sum") for name in added.column_names])]
        self._parts = [self._parts[0].select(["value", "count"]).combine_chunks()]
        self._merged, self._waiting = len(added), 0
