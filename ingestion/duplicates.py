"""Rows that were delivered before: a file that grew has its old rows again; they must not count twice."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from noria.core import splitmix64
from noria.ingestion.formats import text_at


def row_hashes(table: pa.Table | pa.RecordBatch) -> np.ndarray:
    """A 64-bit hash of each row's values, `[rows]`; equal in every process.

    Two different rows of a span of 5 million collide with a probability of about 1 in a million.
    """
    total = np.zeros(table.num_rows, np.uint64)
    for position, column in enumerate(table.columns):
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
        # The position keeps (a, b) and (b, a) apart.
        total = splitmix64.mix(total + _hashes(values) + np.uint64(position + 1))
    return total


def new_rows(
    old: Iterable[pa.RecordBatch], new: Iterable[tuple[pa.Table, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of several sources are new: what is left is the same whether they come together or one by one.

    A row that `old` or an earlier source has n times is taken off n times; within a source rows may repeat.

    Args:
      old: batches of the committed span.
      new: the delivered rows, with the same columns, and the index of each row's source.

    Returns:
      Whether each row of `new` is new, and its source, both `[rows]`.
    """
    hashes = [row_hashes(batch) for batch in old]
    sources = [np.full(len(each), -1) for each in hashes]
    known = sum(map(len, hashes))
    for table, source in new:
        hashes.append(row_hashes(table))
        sources.append(source)
    values = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
    origin = np.concatenate(sources) if sources else np.zeros(0, np.int64)
    keep = np.ones(len(values), bool)
    if len(values):
        order = np.lexsort((origin, values))
        keep[order] = _beyond(values[order], origin[order])
    return keep[known:], origin[known:]


def _beyond(values: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Of rows sorted by value and source: which are beyond what the sources before have of the value, `[rows]`."""
    value_begins = np.r_[True, values[1:] != values[:-1]]
    begins = value_begins | np.r_[True, sources[1:] != sources[:-1]]
    first = np.flatnonzero(begins)
    counts = np.diff(np.r_[first, len(values)])
    # The running maximum of the counts, restarted with each value: values are lifted above those before.
    lift = np.cumsum(value_begins[first]) * (len(values) + 1)
    most = np.maximum.accumulate(lift + counts) - lift
    before = np.where(value_begins[first], 0, np.r_[0, most[:-1]])
    group = np.cumsum(begins) - 1
    return np.arange(len(values)) - first[group] >= before[group]


def _hashes(values: pa.Array) -> np.ndarray:
    valid = np.asarray(values.is_valid())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type):
        coded = values.dictionary_encode()
        words = pd.util.hash_array(np.asarray(coded.dictionary.to_pylist() or [""], dtype=object))
        hashes = words[np.asarray(coded.indices.fill_null(0))]
    elif pa.types.is_floating(values.type) and not pa.types.is_float16(values.type):
        # -0.0 and 0.0 are one value.
        hashes = (np.asarray(values.fill_null(0.0)).astype(np.float64) + 0.0).view(np.uint64)
    elif _is_whole(values.type):
        hashes = np.asarray(pc.cast(values, pa.int64()).fill_null(0)).view(np.uint64)
    else:  # dates, decimals, booleans: what a label or time may be before it is read
        return _hashes(pa.array([text_at(values, i) for i in range(len(values))], pa.string()))
    return np.where(valid, splitmix64.mix(hashes), np.uint64(0x9E3779B97F4A7C15))


def _is_whole(arrow_type: pa.DataType) -> bool:
    whole = pa.types.is_integer(arrow_type) and arrow_type != pa.uint64()
    return whole or pa.types.is_timestamp(arrow_type) or pa.types.is_null(arrow_type)
