"""Rows that one stage has just written, kept decoded for the next stage of the same process.

Stages hand on files: they are TFX's artifacts, and what a process elsewhere reads. But where the next stage runs in
the same process, decoding what was encoded a moment ago would cost it more than its own work. So the writer of a file
may leave the file's rows here, and a reader asks here first. Rows that do not fit in memory go to a file of Arrow's
without a name, which costs a tenth of decoding and has its room back however the process ends. A file that is not
here, because it came from elsewhere or was changed since, is read; `tests/unit/components/test_handover.py` holds all
ways equal.
"""

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

logger = logging.getLogger(__name__)

# What a resident process may hold in memory between its stages; a week of flights takes 3 MB.
BUDGET = 128 << 20

Mark = tuple[int, int, int]
Adapted = TypeVar("Adapted")


class Spill:
    """Record batches of one schema in an Arrow file that has no name: the room is free again when this is.

    Safe for threads once it is closed.

    Args:
      folder: on the disk to use.
      schema: of all batches.
    """

    def __init__(self, folder: str | Path, schema: pa.Schema):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lasts as long as the rows
        # Half the room for the same time: most of a narrow row is Arrow's offsets.
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._reader: Any = None
        self._lock = threading.Lock()

    def append(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Ends the writing; from here on the batches can be read."""
        self._writer.close()
        self._file.flush()
        # Not mapped: what was read would stay in the process's memory until somebody else wants it.
        self._reader = pa.ipc.open_file(pa.PythonFile(self._file, mode="r"))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for index in range(self._reader.num_record_batches):
            with self._lock:  # the file has one position
                batch = self._reader.get_batch(index)
            yield batch


class Handover:
    """Record batches by the file that holds the same rows.

    Scope: per Python process; safe for threads. Batches are immutable.

    Args:
      budget: bytes of Arrow buffers to hold in memory, those that are still gathered among them.
    """

    def __init__(self, budget: int = BUDGET):
        self._free = budget
        self._kept: dict[str, tuple[Mark, Collector]] = {}
        self._lock = threading.Lock()

    def gather(self, scratch: str | Path) -> "Collector":
        """Opens what gathers the rows of a file in the making.

        Args:
          scratch: folder on the disk for rows that do not fit in memory; it must be there by then.
        """
        return Collector(self, scratch)

    def batches(self, path: str | Path, rows: int) -> Iterator[pa.RecordBatch] | None:
        """The file's rows in batches of `rows`, the last one shorter, as reading the file would give them.

        Returns:
          None where they are not here, or the file is not the one they were written to.
        """
        with self._lock:
            found = self._kept.get(str(path))
        if found is None or found[0] != _mark(path):
            return None
        return _cut(found[1].batches, rows)

    def adapted(
        self,
        path: str | Path,
        rows: int,
        adapt: Callable[[pa.RecordBatch], Adapted | None],
        read: Callable[[], Iterator[Adapted]],
    ) -> Iterator[Adapted]:
        """The file's rows as a stage wants them: from here, or else from the file.

        Args:
          path: the file.
          rows: of each batch but the last.
          adapt: turns a batch into what the stage wants; None where it cannot, and the file's reader is to say why.
          read: reads the whole file in such batches.
        """
        found = self.batches(path, rows)
        done = 0
        for batch in found or ():
            part = adapt(batch)
            if part is None:
                break
            done += 1
            yield part
        else:
            if found is not None:
                return
        yield from islice(read(), done, None)

    def release(self, path: str | Path) -> None:
        """Lets go of a file's rows, which nobody asks for again: what others still wait for keeps its room."""
        with self._lock:
            found = self._kept.pop(str(path), None)
        if found is not None:
            found[1].discard()

    def clear(self) -> None:
        """Lets go of all rows: the run is over, and the next one's files are others."""
        for path in list(self._kept):
            self.release(path)

    def _keep(self, path: str | Path, rows: "Collector") -> None:
        mark = _mark(path)
        self.release(path)
        if mark is None:
            rows.discard()
            return
        with self._lock:
            self._kept[str(path)] = (mark, rows)

    def _reserve(self, size: int) -> bool:
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True


class Collector:
    """Gathers a file's rows while it is written: in memory, and on the disk from where they do not fit there.

    Attributes:
      batches: those gathered; a list, or a `Spill`.
    """

    def __init__(self, handover: Handover, scratch: str | Path):
        self.batches: list[pa.RecordBatch] | Spill = []
        self._handover = handover
        self._scratch = scratch
        self._reserved = 0
        self._lost = False

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows: one list column for each feature, as tfx_bsl decodes tf.Examples.

        That is large_list of int64, float or large_binary; a null list where the feature is missing.
        """
        if self._lost:
            return
        if isinstance(self.batches, list) and self._handover._reserve(batch.nbytes):
            self._reserved += batch.nbytes
            self.batches.append(batch)
            return
        try:
            self._spilled(batch.schema).append(batch)
        except (OSError, pa.ArrowInvalid) as error:  # the disk is full, say: the file itself is read
            self._lose(error)

    def keep(self, path: str | Path) -> None:
        """Hands over what was gathered, under the name of the file that holds the same rows and is closed."""
        if isinstance(self.batches, Spill):
            try:
                self.batches.close()
            except OSError as error:
                self._lose(error)
        if not self._lost:
            self._handover._keep(path, self)

    def discard(self) -> None:
        """Lets go of what was gathered."""
        self.batches = []
        self._lost = True
        self._give_back()

    def _spilled(self, schema: pa.Schema) -> Spill:
        if isinstance(self.batches, list):
            spill = Spill(self._scratch, schema)
            for earlier in self.batches:
                spill.append(earlier)
            self.batches = spill
            self._give_back()
        return self.batches

    def _lose(self, error: Exception) -> None:
        logger.info("Rows are not handed over but read again from their file: %s", error)
        self.discard()

    def _give_back(self) -> None:
        with self._handover._lock:
            self._handover._free += self._reserved
        self._reserved = 0


def _cut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count < rows:
            continue
        table = pa.Table.from_batches(waiting)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield from table.slice(start, rows).combine_chunks().to_batches()
        waiting, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def _mark(path: str | Path) -> Mark | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


examples = Handover()
