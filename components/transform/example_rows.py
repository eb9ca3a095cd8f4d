"""The rows of Examples files as Arrow record batches and tensors, in bounded memory.

A refresh reads the train files once per phase of analysis and once to transform them. Rows in the batch
cache (`components.batch_cache`) are not decoded at all, others in the first phase only.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from noria.components import batch_cache
from noria.components.internals.tft import tf
from noria.components.internals.tfx_bsl import ExamplesToRecordBatchDecoder, TensorAdapter
from noria.core import files
from noria.core.errors import DataError

# To apply a graph: large enough that the fixed cost of a call (3 to 4 ms) is small; 8,192 rows give about 1M rows/s.
APPLY_ROWS = 8192
# To analyse: TFT's own limit. Its analyzers sum a batch in float32 and merge in float64, so larger batches are less
# exact: on January's flights per-key z-scores are off by 7e-6 at 1,000 rows, 4e-4 at 8,192 and
# 2e-3 at 32,768.
ANALYZE_ROWS = 1000


def reader(paths: Sequence[str], schema: Any) -> tfxio.TFExampleRecord:
    """tfx_bsl's reader of gzip TFRecords of tf.Example. Its schema decides which columns become which tensors."""
    return tfxio.TFExampleRecord(list(paths), schema=schema, telemetry_descriptors=["noria", "Transform"])


class ExampleRows:
    """Reads gzip TFRecord files of tf.Example by one schema.

    Args:
      schema: of the examples; decides which columns become which tensors.
      scratch: a folder on the disk for decoded rows that do not fit in memory.

    Attributes:
      specs: type spec of every column of the schema, `[rows]` or `[rows, ...]`.
    """

    def __init__(self, schema: Any, scratch: str):
        self.schema = schema
        self._config = reader(["unused"], schema).TensorAdapterConfig()
        self._adapter = TensorAdapter(self._config)
        self.specs: dict[str, Any] = self._adapter.OriginalTypeSpecs()
        self._decoder = ExamplesToRecordBatchDecoder(schema.SerializeToString())
        self._scratch = scratch
        self._decoded = batch_cache.BatchCache()  # decoded by the schema, so no other stage can use them

    def small(self, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of at most ANALYZE_ROWS rows; none spans two files. They are cached.

        Raises:
          DataError: a file cannot be read completely.
        """
        for file in paths:
            yield from self._rows(
                file, ANALYZE_ROWS, self._config.arrow_schema, partial(self._read_and_put, file)
            )

    def large(self, paths: Sequence[str], projection: "Projection") -> Iterator[pa.RecordBatch]:
        """Batches of about APPLY_ROWS rows, with the projection's columns; none spans two files.

        Raises:
          DataError: a file cannot be read completely.
        """
        for file in paths:
            yield from self._rows(
                file, APPLY_ROWS, projection.schema, partial(self._read, file, APPLY_ROWS, projection.decoder)
            )

    def tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """The batch as eager tensors, by column."""
        return self._adapter.eager_tensors(batch)

    def projection(self, columns: Sequence[str]) -> "Projection":
        """Tensors of some columns only."""
        return Projection(self.schema, columns)

    def _rows(
        self, file: str, rows: int, schema: pa.Schema, read: Callable[[], Iterator[pa.RecordBatch]]
    ) -> Iterator[pa.RecordBatch]:
        # A column of another type than the schema's is an error, which the decoder raises.
        adapt = partial(_typed, schema=schema)
        read_once = partial(self._decoded.get_or_read, file, rows, adapt, read)
        return batch_cache.examples.get_or_read(file, rows, adapt, read_once)

    def _read_and_put(self, file: str) -> Iterator[pa.RecordBatch]:
        """Decodes a file, and puts the rows into the cache for the next phase and for `large`."""
        written, rows = files.mark(file), self._decoded.open(self._scratch)
        try:
            for batch in self._read(file, ANALYZE_ROWS, self._decoder):
                rows.add(batch)
                yield batch
        except BaseException:
            rows.discard()
            raise
        rows.put(file, written)

    def _read(self, file: str, batch_rows: int, decoder: Any) -> Iterator[pa.RecordBatch]:
        records = tf.data.TFRecordDataset(file, compression_type="GZIP", buffer_size=8 << 20)
        rows = size = 0
        try:
            for examples in records.batch(batch_rows).as_numpy_iterator():
                batch = decoder.DecodeBatch(examples)
                rows += batch.num_rows
                size += sum(map(len, examples)) + _FRAME * batch.num_rows
                yield batch
            _check_size(file, size)
        except (tf.errors.DataLossError, tf.errors.NotFoundError, RuntimeError, OSError, EOFError) as error:
            raise DataError(
                f"the examples cannot be read completely: {error}",
                where=f"{file}, after row {rows}",
                next_step="run again; SpanExampleGen writes the examples again",
            ) from error


# TFRecord's frame around each record: length (8 bytes), its checksum (4), the data's checksum (4).
_FRAME = 16


def _check_size(file: str, size: int) -> None:
    """Compares the bytes read with the size in the last four bytes of a gzip file.

    If a gzip stream is truncated between two records, TensorFlow takes this for the end of the records, without an
    error.

    Raises:
      EOFError, OSError: the file is truncated.
    """
    with open(file, "rb") as content:
        content.seek(0, 2)
        if content.tell() >= 18:  # header and trailer
            content.seek(-4, 2)
            if int.from_bytes(content.read(4), "little") == size % (1 << 32):
                return
    # Truncated, or several gzip members: this needs to read the whole file.
    total = 0
    with gzip.open(file) as whole:
        for block in iter(lambda: whole.read(1 << 20), b""):
            total += len(block)
    if total != size:
        raise EOFError(f"{size} bytes of records were read, {total} are there")


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch | None:
    """The schema's columns of a batch, null lists if it has none; None if one of them is of another type."""
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        column = batch.column(index) if index >= 0 else None
        if column is None or column.null_count == batch.num_rows:
            column = pa.nulls(batch.num_rows, field.type)
        if column.type != field.type:
            return None
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class Projection:
    """Turns record batches into tensors of some of their columns.

    Attributes:
      decoder: of examples, to these columns only.
      schema: Arrow's, of these columns.
    """

    def __init__(self, schema: Any, columns: Sequence[str]):
        io = reader(["unused"], schema).Project(list(columns))
        config = io.TensorAdapterConfig()
        names = set(config.arrow_schema.names)
        part = schema_pb2.Schema()
        part.CopyFrom(schema)
        del part.feature[:]
        part.feature.extend(feature for feature in schema.feature if feature.name in names)
        self.decoder = ExamplesToRecordBatchDecoder(part.SerializeToString())
        self.schema = config.arrow_schema
        self._adapter = TensorAdapter(config)

    def tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        indices = [batch.schema.get_field_index(name) for name in self.schema.names]
        part = pa.RecordBatch.from_arrays([batch.column(i) for i in indices], schema=self.schema)
        return self._adapter.eager_tensors(part)
