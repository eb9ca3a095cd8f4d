"""Flat Arrow columns as the list columns that TFDV and TFT read."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

# As TFDV on Beam (`_CombinerStatsGeneratorsCombineFn`): larger batches cost memory, smaller ones the combiners' fixed
# cost for each batch.
BATCH_ROWS = 10_000


def list_batches(source: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Converts a table, or batches, to record batches of list columns of at most 10,000 rows.

    Integers, booleans and timestamps (as epoch seconds) become int64, floats and decimals float32, everything
    else text: the same types that SpanExampleGen writes into tf.Examples. A null, and a NaN, becomes a null list.
    """
    tables = [source] if isinstance(source, pa.Table) else source
    for table in tables:
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            columns = [as_list(part.column(index)) for index in range(part.num_columns)]
            yield pa.RecordBatch.from_arrays(columns, names=part.schema.names)


def as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Flat columns of `n` rows as the list columns that tfx_bsl decodes from their tf.Examples.

    A null becomes a null list, which is a missing feature. Integers, booleans and timestamps (as epoch seconds)
    become lists of int64, floats of float32, text of bytes.
    """
    columns = [as_list(column, large=True) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def as_list(column: pa.Array | pa.ChunkedArray, large: bool = False) -> pa.Array:
    """One flat column of `n` values as `n` lists of one value, or null if it is missing.

    Args:
      column: any type that `list_batches` takes.
      large: as tfx_bsl decodes tf.Examples: 64-bit offsets of lists and text, and a list type for every column;
        otherwise as TFDV reads Arrow: 32-bit offsets, and plain nulls for a column without a type.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # older Arrow gives one chunk as a chunked array
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    arrow_type = column.type
    if pa.types.is_null(arrow_type) and not large:
        return pa.nulls(len(column))
    if pa.types.is_timestamp(arrow_type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    elif pa.types.is_boolean(arrow_type) or pa.types.is_integer(arrow_type):
        column = column.cast(pa.int64())
    elif pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        column = column.cast(pa.float32(), safe=False)
    else:
        column = column.cast(pa.string()).cast(pa.binary())
        column = column.cast(pa.large_binary()) if large else column
    missing = np.asarray(column.is_null())
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        missing = missing | np.isnan(values)
        present = pa.array(values[~missing], type=pa.float32())
    else:
        present = column.drop_null()
    arrow_type, width = (pa.LargeListArray, np.int64) if large else (pa.ListArray, np.int32)
    offsets = np.concatenate([[0], np.cumsum(~missing)]).astype(width)
    # A null offset at a list's start makes the list null. An empty list would be a value for TFDV and TFT, a null is a
    # missing one.
    return arrow_type.from_arrays(pa.array(offsets, mask=np.append(missing, False)), present)
