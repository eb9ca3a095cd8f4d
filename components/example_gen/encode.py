"""Flat Arrow columns as tf.Examples, through tfx_bsl's C++ encoder."""

from pathlib import Path

import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from noria.components import example_file
from noria.schemas.list_columns import as_list


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
    return pa.RecordBatch.from_arrays(
        [as_list(column, large=True) for column in batch.columns], batch.schema.names
    )
