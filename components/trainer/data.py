"""Transformed examples as matrices: in memory, in a file, or as a stream.

Rows that Transform has handed over in this process are taken as they are. Others are parsed once, in batches of
8,192 rows (at 256 rows a batch, parsing costs more than the step). Up to `memory_mb` they stay in memory; a larger
window goes to files that are mapped into memory (`cache: true`), and gives the same batches; with `cache: false` it is
read again in every pass and shuffled through a buffer, and no more than the buffer, a few blocks and what was handed
over are in memory.
"""

import contextlib
import dataclasses
import glob
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noria.components import handover
from noria.components.keras_first import ensure_keras3
from noria.components.trainer import batches
from noria.components.trainer.features import Features
from noria.components.trainer.settings import Settings
from noria.stores import files
from noria.stores.errors import DataError

tf = ensure_keras3()

BLOCK = 8192  # rows parsed at once
GROWTH = 6  # parsed bytes per compressed byte, at least; the flights have 7


@dataclasses.dataclass
class Block:
    """Rows, packed: numeric float32 `[n, F]`, ids int32 `[n, C]`, labels float32 `[n]`."""

    numeric: Any
    ids: Any
    labels: Any

    @property
    def rows(self) -> int:
        return int(self.labels.shape[0])


@dataclasses.dataclass
class Feed:
    """What one call of the train function gets: a block, and each step's rows in it `[steps, batch]`."""

    block: Block
    index: np.ndarray


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
        if not self.files:
            raise DataError("there are no examples to read", where=self.where)

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
        """All rows, file by file and in each in order, checked; the same whether handed over or read."""
        for file in self.files:
            for block in handover.examples.adapted(file, rows, self._adapt, partial(self._read, file, rows)):
                self._check(block)
                yield block

    def _adapt(self, batch: pa.RecordBatch) -> Block | None:
        """Rows handed over by Transform; None where something is amiss, which parsing the file puts into words."""
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
        if not np.isfinite(block.numeric).all():
            for name, columns in self.features.numeric_columns().items():
                bad = int((~np.isfinite(block.numeric[:, columns])).any(1).sum())
                if bad:
                    raise DataError(
                        f"feature {name!r} is not a finite number in {bad} of {block.rows} rows",
                        where=self.where,
                        next_step="fill missing values, guard divisions and logarithms in preprocessing_fn",
                    )
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
                next_step="rows without a label are left out at ingestion: correct the task or the label",
            )


def _dense(batch: pa.RecordBatch, name: str, kind: Any) -> tf.Tensor | None:
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
    return tf.constant(values.to_numpy().reshape(shape))


class Table:
    """Rows that any step can pick from: in memory, or in mapped files."""

    def __init__(self, block: Block, digest: str, settings: Settings, mapped: bool = False):
        self.block, self.digest, self.settings, self.mapped = block, digest, settings, mapped
        self.rows = block.rows
        self.labels = block.labels
        self.path = "mapped" if mapped else "memory"

    def feed(self, origin: int, step: int, sizes: Iterator[int]) -> Iterator[Feed]:
        """The feeds of consecutive calls from global step `step`; `sizes` are the steps of each call."""
        size = self.settings.batch_size
        block = self.block
        if not self.mapped:
            block = Block(*(tf.constant(array) for array in (block.numeric, block.ids, block.labels)))
        for steps in sizes:
            rows = batches.rows_of(
                self.settings.seed, origin, self.rows, (step - origin) * size, steps * size
            )
            step += steps
            if not self.mapped:
                yield Feed(block, rows.reshape(steps, size))
                continue
            picked = Block(self.block.numeric[rows], self.block.ids[rows], self.block.labels[rows])
            yield Feed(picked, np.arange(len(rows), dtype=np.int32).reshape(steps, size))

    def blocks(self, rows: int = 8 * BLOCK) -> Iterator[Block]:
        """All rows in order."""
        for start in range(0, self.rows, rows):
            part = slice(start, start + rows)
            yield Block(self.block.numeric[part], self.block.ids[part], self.block.labels[part])


class Stream:
    """Rows that are read in every pass: files in random order, several at a time, then a shuffle buffer."""

    path = "stream"

    def __init__(self, reader: Reader, digest: str, settings: Settings):
        self.reader, self.digest, self.settings = reader, digest, settings
        self.labels = np.concatenate(
            [block.labels for block in reader.blocks()]
        )  # also counts and checks them
        self.rows = len(self.labels)

    def feed(self, origin: int, step: int, sizes: Iterator[int]) -> Iterator[Feed]:
        """As Table.feed; the rows before `step` are read and skipped."""
        size = self.settings.batch_size
        first_pass, skip = divmod((step - origin) * size, self.rows)
        per_call = self.settings.steps_per_call * size
        rows = self._passes(origin, first_pass).skip(skip).batch(min(BLOCK, per_call))
        parsed = rows.map(self.reader.parse, num_parallel_calls=2, deterministic=True).prefetch(2)
        blocks = iter(parsed.as_numpy_iterator())
        held: list[tuple[np.ndarray, ...]] = []
        for steps in sizes:
            wanted = steps * size
            while sum(len(block[2]) for block in held) < wanted:
                held.append(next(blocks))
            joined = tuple(np.concatenate(arrays) for arrays in zip(*held, strict=True))
            held = [tuple(array[wanted:] for array in joined)]
            taken = Block(*(array[:wanted] for array in joined))
            yield Feed(taken, np.arange(wanted, dtype=np.int32).reshape(steps, size))

    def _passes(self, origin: int, first: int) -> Any:
        files = np.asarray(self.reader.files)

        def one_pass(number: int) -> tuple[np.ndarray, int]:
            random = np.random.default_rng([self.settings.seed, origin, number])
            return files[random.permutation(len(files))], int(random.integers(1 << 31))

        def order() -> Iterator[tuple[np.ndarray, int]]:
            number = first
            while True:
                yield one_pass(number)
                number += 1

        def read(names: tf.Tensor, seed: tf.Tensor) -> Any:
            return self.reader.records(names).shuffle(
                self.settings.shuffle_rows, seed=seed, reshuffle_each_iteration=False
            )

        signature = (tf.TensorSpec([len(files)], tf.string), tf.TensorSpec([], tf.int64))
        return tf.data.Dataset.from_generator(order, output_signature=signature).flat_map(read)

    def blocks(self, rows: int = 8 * BLOCK) -> Iterator[Block]:
        yield from self.reader.blocks(rows)


def open_window(reader: Reader, scratch: Path) -> Table | Stream:
    """The rows of a split, held as their size and the settings ask.

    Args:
      reader: the split.
      scratch: a folder on the disk that mapped rows go to, in files without a name.

    Raises:
      DataError: no rows, rows that cannot be trained on, or no room for them on the disk.
    """
    settings, digest = reader.settings, reader.digest()
    limit = settings.memory_mb << 20
    if reader.compressed * GROWTH <= limit:
        blocks, size = [], 0
        for block in reader.blocks():
            blocks.append(block)
            size += block.numeric.nbytes + block.ids.nbytes + block.labels.nbytes
            if size > limit:
                break
        else:
            _some(blocks, reader)
            joined = [np.concatenate([getattr(b, f.name) for b in blocks]) for f in dataclasses.fields(Block)]
            return Table(Block(*joined), digest, settings)
        del blocks
    if not settings.cache:
        return Stream(reader, digest, settings)
    with files.explained("the window's rows cannot be kept on the disk", scratch, DataError):
        return Table(_map(reader, scratch), digest, settings, mapped=True)


def _map(reader: Reader, scratch: Path) -> Block:
    """Writes the rows into three flat files and maps them.

    The files have no name: the disk has its room back when the last mapping goes, however the process ends.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in dataclasses.fields(Block)]
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {}
    rows = 0
    with contextlib.ExitStack() as stack:
        opened = {name: stack.enter_context(tempfile.TemporaryFile(dir=scratch)) for name in names}
        for block in reader.blocks():
            rows += block.rows
            for name in names:
                array = getattr(block, name)
                shapes[name] = (array.dtype, array.shape[1:])
                opened[name].write(np.ascontiguousarray(array).data)
        _some(rows, reader)
        arrays = []
        for name in names:
            dtype, tail = shapes[name]
            if 0 in tail:
                arrays.append(np.zeros((rows, *tail), dtype))
            else:
                opened[name].flush()
                arrays.append(np.memmap(opened[name], dtype=dtype, mode="r", shape=(rows, *tail)))
    return Block(*arrays)


def _some(rows: Any, reader: Reader) -> None:
    if not rows:
        raise DataError(
            "the split has no rows",
            where=reader.where,
            next_step="check the span's rows and labels with `noria status`, and eval_share",
        )
