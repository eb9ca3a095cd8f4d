"""Flat Arrow columns as the list columns that tfx_bsl encodes as tf.Examples."""

import pyarrow as pa

from noria.schemas.list_columns import as_list


def as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Flat columns of `n` rows as the list columns that tfx_bsl decodes from their tf.Examples.

    A null becomes a null list, which is a missing feature. Integers, booleans and timestamps (as epoch seconds)
    become lists of int64, floats of float32, text of bytes.
    """
    return pa.RecordBatch.from_arrays(
        [as_list(column, large=True) for column in batch.columns], batch.schema.names
    )
