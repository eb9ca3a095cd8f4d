"""Columns of a record batch that hold one number in each row, as numpy arrays: most columns of a wide table."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


def numbers_of(column: pa.Array) -> np.ndarray | None:
    """The numbers of a list column, `[rows]`; None if a row has none or several, or they are not numbers.

    >>> numbers_of(pa.array([[1], [2]])), numbers_of(pa.array([[1], [2, 3], []])), numbers_of(pa.array([[1], None]))
    (array([1, 2]), None, None)
    """
    kind = column.type
    if not (pa.types.is_large_list(kind) or pa.types.is_list(kind)) or column.null_count:
        return None
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return None
    offsets = column.offsets.to_numpy()
    if not len(column) or offsets[-1] - offsets[0] != len(column) or not (np.diff(offsets) == 1).all():
        return None
    values = column.flatten()
    return None if values.null_count else values.to_numpy()


def single_values(batch: pa.RecordBatch, kinds: Iterable[pa.DataType]) -> dict[str, np.ndarray]:
    """The numbers of all such columns whose values have one of some types, by name, in the batch's order."""
    wanted, found = set(kinds), {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if getattr(field.type, "value_type", None) in wanted:
            numbers = numbers_of(column)
            if numbers is not None:
                found[field.name] = numbers
    return found
