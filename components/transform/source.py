"""The rows of Examples files as Arrow record batches and tensors, in bounded memory.

A refresh reads the train files once per phase of analysis and once to transform them. What fits in the budget
is kept decoded after the first reading, the rest is read again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from noria.components.transform import internals
from noria.stores.errors import DataError

# Large enough that the fixed cost of a call into the transform graph (3 to 4 ms) does not count: 8,192 rows
# come to about 1M rows/s. TFT's own default is 1,000.
BATCH_ROWS = 8192
KEEP_BYTES = 256 << 20


class Source:
    """Reads gzip TFRecord files of tf.Example by one schema.

    Attributes:
      specs: type spec of every column of the schema, `[rows]` or `[rows, ...]`.
    """

    def __init__(self, schema: Any, batch_rows: int = BATCH_ROWS, keep_bytes: int = KEEP_BYTES):
        self.schema = schema
        self._config = internals.tfxio(["unused"], schema).TensorAdapterConfig()
        self._adapter = internals.TensorAdapter(self._config)
        self.specs: dict[str, Any] = self._adapter.OriginalTypeSpecs()
        self._decoder = internals.ExamplesToRecordBatchDecoder(schema.SerializeToString())
        self._batch_rows = batch_rows
        self._free = keep_bytes
        self._kept: dict[str, list[pa.RecordBatch]] = {}

    def batches(self, files: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Record batches of at most `batch_rows` rows; none spans two files.

        Raises:
          DataError: a file cannot be read to its end.
        """
        for file in files:
            if file in self._kept:
                yield from self._kept[file]
            else:
                yield from self._read(file)

    def tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """The batch as eager tensors, by column."""
        return self._adapter.ToBatchTensors(batch, produce_eager_tensors=True)

    def projection(self, columns: Sequence[str]) -> "Projection":
        """Tensors of some columns only."""
        return Projection(self.schema, columns)

    def _read(self, file: str) -> Iterator[pa.RecordBatch]:
        tf = internals.tf
        kept: list[pa.RecordBatch] | None = []
        records = tf.data.TFRecordDataset(file, compression_type="GZIP", buffer_size=8 << 20)
        rows = 0
        try:
            for examples in records.batch(self._batch_rows).as_numpy_iterator():
                batch = self._decoder.DecodeBatch(examples)
                rows += batch.num_rows
                if kept is not None and batch.nbytes <= self._free:
                    kept.append(batch)
                    self._free -= batch.nbytes
                elif kept is not None:
                    self._free += sum(part.nbytes for part in kept)
                    kept = None
                yield batch
        except (tf.errors.DataLossError, tf.errors.NotFoundError, RuntimeError) as error:
            raise DataError(
                f"the examples cannot be read to their end: {error}",
                where=f"{file}, after row {rows}",
                next_step="run again; SpanExampleGen writes the examples anew",
            ) from error
        if kept is not None:
            self._kept[file] = kept


class Projection:
    """Turns full record batches into tensors of some of their columns."""

    def __init__(self, schema: Any, columns: Sequence[str]):
        io = internals.tfxio(["unused"], schema).Project(list(columns))
        config = io.TensorAdapterConfig()
        self._schema = config.arrow_schema
        self._adapter = internals.TensorAdapter(config)

    def tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        indices = [batch.schema.get_field_index(name) for name in self._schema.names]
        part = pa.RecordBatch.from_arrays([batch.column(i) for i in indices], schema=self._schema)
        return self._adapter.ToBatchTensors(part, produce_eager_tensors=True)
