"""Flat Arrow columns as tf.Examples, through tfx_bsl's C++ encoder."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from noria.components import example_file


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Encodes flat columns of `n` rows as `n` serialized tf.Examples; see `as_lists`."""
    return example_coder.RecordBatchToExamplesEncoder().encode(as_lists(batch))


def writer(path: Path) -> tf.io.TFRecordWriter:
    """Opens a gzip TFRecord file for serialized examples; a context manager that closes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tf.io.TFRecordWriter(str(path), options=example_file.OPTIONS)


def as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Flat columns of `n` rows as the list columns that tfx_bsl decodes from their tf.Examples.

    A null becomes a null list, which is a missing feature. Integers, booleans and timestamps (as epoch seconds)
    become lists of int64, floats of float32, text of bytes.
    """
    return pa.RecordBatch.from_arrays([_as_lists(column) for column in batch.columns], batch.schema.names)


def _as_lists(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float32(), safe=False)
    else:
        column = column.cast(pa.string()).cast(pa.binary()).cast(pa.large_binary())
    missing = np.asarray(column.is_null())
    if pa.types.is_floating(column.type):
        missing |= np.isnan(column.to_numpy(zero_copy_only=False))
        column = pa.array(column.to_numpy(zero_copy_only=False)[~missing], type=pa.float32())
    else:
        column = column.drop_null()
    offsets = np.concatenate([[0], np.cumsum(~missing)])
    # A null list, not an empty one: TFDV and TFT take the first for missing and the second for a value.
    return pa.LargeListArray.from_arrays(_null_offsets(offsets, missing), column)


def _null_offsets(offsets: np.ndarray, missing: np.ndarray) -> pa.Array:
    """Arrow's own way to say null in `ListArray.from_arrays`: a null offset at the list's start."""
    return pa.array(offsets, mask=np.append(missing, False), type=pa.int64())
