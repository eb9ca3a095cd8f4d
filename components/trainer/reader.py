"""Transformed examples as matrices, parsed and checked.

Rows that Transform has put into the batch cache are used unchanged. Others are parsed once, in batches of
8,192 rows: at 256 rows a batch, parsing costs more than the step.
"""

import collections
import dataclasses
import glob
import math
import os
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from noria.components import batch_cache
from noria.components.libraries import tf
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings
from noria.core.errors import DataError

BLOCK = 8192  # rows parsed at once


@dataclasses.dataclass
class Block:
    """Rows, packed: numeric float32 `[n, F]`, ids int32 `[n, C]`, labels float32 `[n]`."""

    numeric: Any
    ids: Any
    labels: Any

    @property
    def rows(self) -> int:
        return int(self.labels.shape[0])


class Reader:
    """Reads and checks transformed gzip TFRecords.

    Args:
      patterns: files, or patterns of files.
      spec: the transform graph's transformed feature spec.
      features: what the model reads.
      settings: task and limits.
    """

    def __init__(self, patterns: list[str], spec: dict[str, Any], features: Features, settings: Settings):
        self.files = sorted(
            file for pattern in patterns for file in glob.glob(pattern) if os.path.isfile(file)
        )
        self.features, self.settings = features, settings
        self.spec = {name: spec[name] for name in [*features.names, features.label]}
        self.where = os.path.dirname(patterns[0]) if patterns else "no files"
        self.rows: dict[str, int] = {}  # by file, once `blocks` has passed it
        self._not_finite: dict[str, collections.Counter[str]] = {}
        if not self.files:
            raise DataError("there are no examples to read", where=self.where)

    @property
    def newest(self) -> list[str]:
        """The files of the newest span, the last ones; those of a warm run's older spans are named `replay-...`."""
        stem = os.path.basename(self.files[-1])[: len("span-00000000")]
        return [file for file in self.files if os.path.basename(file).startswith(stem)]

    @property
    def compressed(self) -> int:
        """Bytes on disk."""
        return sum(os.path.getsize(file) for file in self.files)

    def digest(self) -> str:
        """Digest of the files' names and contents."""
        value = 0
        for file in self.files:
            value = zlib.crc32(os.path.basename(file).encode(), value)
            with open(file, "rb") as opened:
                while piece := opened.read(1 << 22):
                    value = zlib.crc32(piece, value)
        return f"{value:08x}-{self.compressed}"

    def records(self, files: Any = None) -> Any:
        """tf.data.Dataset of serialized examples; several files at a time, always in the same order."""
        reads = min(8, len(self.files))
        return tf.data.TFRecordDataset(
            self.files if files is None else files, compression_type="GZIP", num_parallel_reads=reads
        )

    def parse(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Parses serialized examples `[n]` into numeric, ids and labels."""
        return self._pack(tf.io.parse_example(records, self.spec))

    def blocks(self, rows: int = BLOCK) -> Iterator[Block]:
        """All rows, file by file and in each in order, checked; the same from Transform's cache or from the file.

        Numbers that are not finite (1e39 in float32) are 0, and counted.
        """
        for file in self.files:
            count, self._not_finite[file] = 0, collections.Counter()
            for block in batch_cache.examples.get_or_read(
                file, rows, self._adapt, partial(self._read, file, rows)
            ):
                self._check(block)
                count += block.rows
                yield self._finite(block, self._not_finite[file])
            self.rows[file] = count

    def not_finite(self) -> dict[str, int]:
        """Rows in which a feature was not a finite number, by feature; only features that have such rows."""
        return dict(sum(self._not_finite.values(), collections.Counter()))

    def _finite(self, block: Block, counts: "collections.Counter[str]") -> Block:
        finite = np.isfinite(block.numeric)
        if finite.all():
            return block
        for name, columns in self.features.numeric_columns().items():
            bad = int((~finite[:, columns]).any(1).sum())
            if bad:
                counts[name] += bad
        return dataclasses.replace(block, numeric=np.where(finite, block.numeric, np.float32(0)))

    def _adapt(self, batch: pa.RecordBatch) -> Block | None:
        """Rows of Transform in the batch cache; None if a column is wrong: parsing the file gives the error."""
        columns = {name: _dense(batch, name, kind) for name, kind in self.spec.items()}
        return None if any(column is None for column in columns.values()) else self._block(columns)

    def _read(self, file: str, rows: int) -> Iterator[Block]:
        for records in self.records([file]).batch(rows).prefetch(2):
            yield self._block(tf.io.parse_example(records, self.spec))

    def _block(self, columns: dict[str, Any]) -> Block:
        return Block(*(tensor.numpy() for tensor in self._pack(columns)))

    def _pack(self, columns: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        numeric, ids = self.features.pack(columns)
        return numeric, ids, tf.reshape(tf.cast(columns[self.features.label], tf.float32), [-1])

    def _check(self, block: Block) -> None:
        labels, task = block.labels, self.settings.task
        good = np.isfinite(labels)
        if task != "regression":
            good &= (
                (labels >= 0)
                & (labels < (2 if task == "binary" else self.settings.classes))
                & (labels % 1 == 0)
            )
        if not good.all():
            classes = "0 or 1" if task == "binary" else f"0 .. {self.settings.classes - 1}"
            raise DataError(
                f"label {self.features.label!r} is {labels[~good][0]}, the first of {int((~good).sum())}; "
                f"expected {'a finite number' if task == 'regression' else classes}",
                where=self.where,
                next_step="ingestion skips rows without a label: correct the task or the label",
            )


def _dense(batch: pa.RecordBatch, name: str, kind: Any) -> np.ndarray | None:
    """A column of a fixed shape as parsing gives it; None if it has another type, or rows with other shapes."""
    at = batch.schema.get_field_index(name)
    if at < 0 or not isinstance(kind, tf.io.FixedLenFeature):
        return None
    lists, shape = batch.column(at), (batch.num_rows, *kind.shape)
    if not pa.types.is_large_list(lists.type) or lists.null_count:
        return None
    values = lists.flatten()
    width = math.prod(kind.shape)
    if (
        values.null_count
        or values.type.to_pandas_dtype() != kind.dtype.as_numpy_dtype
        or not (np.diff(lists.offsets.to_numpy()) == width).all()
    ):
        return None
    return values.to_numpy().reshape(shape)
