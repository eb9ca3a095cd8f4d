"""The rows of a split, from which the steps pick theirs: in memory, in a file, or as a stream.

Up to `memory_mb` they stay in memory. A larger window goes to a file that is mapped into memory piece by piece
(`cache: true`), and gives the same batches; with `cache: false` it is read again in every pass and shuffled through a
buffer, and no more than the buffer, a few blocks and the cached batches are in memory.
"""

import dataclasses
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from noria.components.libraries import tf
from noria.components.trainer import batches
from noria.components.trainer.reader import BLOCK, Block, Reader
from noria.components.trainer.settings import Settings
from noria.core import files
from noria.core.errors import DataError

GROWTH = 6  # parsed bytes per compressed byte, at least; the flights have 7
ROOM = 32 << 20  # bytes of a mapped window that are picked ahead, and of its file that are mapped at a time


@dataclasses.dataclass
class Feed:
    """What one call of the train function gets: a block, and each step's rows in it `[steps, batch]`."""

    block: Block
    index: np.ndarray


class Table:
    """Rows in memory."""

    path = "memory"

    def __init__(self, block: Block, digest: str, settings: Settings):
        self.block, self.digest, self.settings = block, digest, settings
        self.rows = block.rows
        self.labels = block.labels

    def feed(self, origin: int, step: int, sizes: Iterator[int]) -> Iterator[Feed]:
        """The feeds of consecutive calls from global step `step`; `sizes` are the steps of each call."""
        size, seed = self.settings.batch_size, self.settings.seed
        block = Block(*(tf.constant(getattr(self.block, field.name)) for field in dataclasses.fields(Block)))
        for steps in sizes:
            rows = batches.rows_of(seed, origin, self.rows, (step - origin) * size, steps * size)
            yield Feed(block, rows.reshape(steps, size))
            step += steps

    def blocks(self, rows: int = 8 * BLOCK) -> Iterator[Block]:
        """All rows in order."""
        for start in range(0, self.rows, rows):
            part = slice(start, start + rows)
            yield Block(self.block.numeric[part], self.block.ids[part], self.block.labels[part])


class Mapped:
    """Rows in a file, row after row, of which no more than a few times ROOM are in memory; labels are.

    The memory of each read is released at once: the pages stay in the system's cache, not in the process. The rows of
    many steps are read together, in the file's order, so that each page is read once for all of them.

    Args:
      file: open, flushed and not empty; it may be closed afterwards.
      dtype: of a row, a structure with a Block's fields.
      labels: float32 `[n]`.
      digest, settings: as Table's.
    """

    path = "mapped"

    def __init__(self, file: Any, dtype: np.dtype, labels: np.ndarray, digest: str, settings: Settings):
        self.rows, self.labels = len(labels), labels
        self.digest, self.settings = digest, settings
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file = np.frombuffer(self._map, dtype)

    def feed(self, origin: int, step: int, sizes: Iterator[int]) -> Iterator[Feed]:
        """As Table.feed, with the same rows."""
        size, seed = self.settings.batch_size, self.settings.seed
        for calls in _groups(sizes, max(1, ROOM // (size * self._file.itemsize))):
            first, wanted = (step - origin) * size, sum(calls) * size
            picked = self._pick(batches.rows_of(seed, origin, self.rows, first, wanted))
            step += sum(calls)
            for steps in calls:
                taken, picked = np.split(picked, [steps * size])
                yield Feed(_block(taken), np.arange(steps * size, dtype=np.int32).reshape(steps, size))

    def blocks(self, rows: int = 8 * BLOCK) -> Iterator[Block]:
        """All rows in order."""
        for start in range(0, self.rows, rows):
            block = _block(self._file[start : start + rows])
            self._give_back()
            yield block

    def _pick(self, rows: np.ndarray) -> np.ndarray:
        picked = np.empty(len(rows), self._file.dtype)
        order = np.argsort(rows)
        ends = np.arange(0, self.rows, max(1, ROOM // self._file.itemsize))[1:]
        for part in np.split(order, np.searchsorted(rows, ends, sorter=order)):
            if len(part):
                picked[part] = self._file[rows[part]]
                self._give_back()
        return picked

    def _give_back(self) -> None:
        self._map.madvise(mmap.MADV_DONTNEED)


def _groups(sizes: Iterator[int], most: int) -> Iterator[list[int]]:
    """Consecutive calls, together of at most `most` steps, or one.

    >>> list(_groups(iter([4, 4, 1, 9, 2]), 8))
    [[4, 4], [1], [9], [2]]
    """
    group: list[int] = []
    for steps in sizes:
        if group and sum(group) + steps > most:
            yield group
            group = []
        group.append(steps)
    if group:
        yield group


def _block(rows: np.ndarray) -> Block:
    """A copy of structured rows, field by field."""
    return Block(*(np.ascontiguousarray(rows[field.name]) for field in dataclasses.fields(Block)))


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


Window = Table | Mapped | Stream


def open_window(reader: Reader, scratch: Path) -> Window:
    """The rows of a split, in memory or in a file, by their size and the settings.

    Args:
      reader: the split.
      scratch: a folder on the disk that mapped rows go to, in a file without a name.

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
        return _map(reader, scratch, digest, settings)


def _map(reader: Reader, scratch: Path, digest: str, settings: Settings) -> Mapped:
    """Writes the rows into a flat file and maps it.

    The file has no name: the disk space is free again when the mapping ends, also after a kill.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in dataclasses.fields(Block)]
    dtype, labels = np.dtype([]), []
    with tempfile.TemporaryFile(dir=scratch) as file:
        for block in reader.blocks():
            arrays = {name: getattr(block, name) for name in names}
            dtype = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in arrays.items()])
            rows = np.empty(block.rows, dtype)
            for name, array in arrays.items():
                rows[name] = array
            file.write(rows.view(np.uint8).data)
            labels.append(block.labels)
        _some(labels, reader)
        file.flush()
        return Mapped(file, dtype, np.concatenate(labels), digest, settings)


def _some(rows: Any, reader: Reader) -> None:
    if not rows:
        raise DataError(
            "the split has no rows",
            where=reader.where,
            next_step="check the span's rows and labels with `noria status`, and eval_share",
        )
