"""The number of rows with a value outside a vocabulary, counted in transformed record batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass
class Coverage:
    """A count that can be added to another.

    Attributes:
      rows: rows counted.
      outside: rows with at least one id outside of a vocabulary, by vocabulary.
    """

    rows: int = 0
    outside: dict[str, int] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """Per vocabulary, the share of rows with a value outside of it, in [0, 1]."""
        return {name: count / self.rows if self.rows else 0.0 for name, count in self.outside.items()}

    def plus(self, other: "Coverage") -> "Coverage":
        names = sorted(self.outside.keys() | other.outside.keys())
        total = {name: self.outside.get(name, 0) + other.outside.get(name, 0) for name in names}
        return Coverage(self.rows + other.rows, total)


def count(batch: pa.RecordBatch, sizes: Mapping[str, int]) -> Coverage:
    """Counts one batch.

    An id is outside if it is negative (TFT's default value) or not below the vocabulary's size (TFT's
    out-of-vocabulary buckets). A row without any value is not outside.

    Args:
      batch: transformed features, each a column of lists of int64.
      sizes: vocabulary size by output feature.
    """
    outside = {}
    for name, size in sizes.items():
        column = batch.column(batch.schema.get_field_index(name))
        ids = column.flatten().to_numpy(zero_copy_only=False)
        wrong = (ids < 0) | (ids >= size)
        rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        outside[name] = int(np.unique(rows[wrong]).size)
    return Coverage(batch.num_rows, outside)


def total(parts: Sequence[Coverage]) -> Coverage:
    result = Coverage()
    for part in parts:
        result = result.plus(part)
    return result
