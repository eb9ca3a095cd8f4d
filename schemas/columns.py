"""Flat Arrow columns as the list columns that TFDV and TFT read."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from noria.schemas.summarize import BATCH_ROWS


def list_batches(source: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cuts a table, or batches, into record batches of list columns of at most 10,000 rows.

    Integers, booleans and timestamps (as epoch seconds) become int64, floats and decimals float32, everything
    else text: the same types that SpanExampleGen writes into tf.Examples. A null, and a NaN, becomes a null list.
    """
    tables = [source] if isinstance(source, pa.Table) else source
    for table in tables:
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            columns = [_as_list(part.column(index)) for index in range(part.num_columns)]
            yield pa.RecordBatch.from_arrays(columns, names=part.schema.names)


def _as_list(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # older Arrow gives one chunk as a chunked array
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column))
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float32(), safe=False)
    else:
        column = column.cast(pa.string()).cast(pa.binary())
    missing = np.asarray(column.is_null())
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        missing = missing | np.isnan(values)
        present = pa.array(values[~missing], type=pa.float32())
    else:
        present = column.drop_null()
    offsets = np.concatenate([[0], np.cumsum(~missing)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets, mask=np.append(missing, False), type=pa.int32()), present
    )
