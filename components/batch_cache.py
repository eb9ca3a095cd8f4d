"""Rows that one stage has just written, kept decoded for the next stage of the same process.

Stages hand on files: they are TFX's artifacts, and what a process elsewhere reads. But where the next stage runs in
the same process, decoding what was encoded a moment ago would cost it more than its own work. So the writer of a file
may leave the file's rows here, and a reader asks here first. Rows that do not fit in memory go to a file of Arrow's
without a name, which costs a tenth of decoding and has its room back however the process ends. A file that is not
here, because it came from elsewhere or was changed since, is read; `tests/unit/components/test_handover.py` holds all
ways equal.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from noria.core import files

logger = logging.getLogger(__name__)

# What a resident process may hold in memory between its stages; a week of flights takes 3 MB.
BUDGET = 128 << 20
# What is spilled is a convenience: it leaves this much of the disk to the files that the stages must write.
DISK_RESERVE = 1 << 30
# Each spilled file holds a descriptor; macOS gives a process 256.
MOST_SPILLS = 64

Adapted = TypeVar("Adapted")


class Spill:
    """Record batches of one schema in an Arrow file that has no name: the room is free again when this is.

    Safe for threads once it is closed.

    Args:
      folder: on the disk to use.
      schema: of all batches.

    Raises:
      OSError, pa.ArrowException: from all that it does, where the disk is full or fails.
    """

    def __init__(self, folder: str | Path, schema: pa.Schema):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lasts as long as the rows
        self._folder = folder
        self._process = os.getpid()
        # Half the room for the same time: most of a narrow row is Arrow's offsets.
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._reader: Any = None
        self._lock = threading.Lock()

    def append(self, batch: pa.RecordBatch) -> None:
        if shutil.disk_usage(self._folder).free < DISK_RESERVE + batch.nbytes:
            raise OSError(f"less than {DISK_RESERVE >> 20} MiB would be left")
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Ends the writing; from here on the batches can be read."""
        self._writer.close()
        self._file.flush()
        # Not mapped: what was read would stay in the process's memory until somebody else wants it.
        self._reader = pa.ipc.open_file(pa.PythonFile(self._file, mode="r"))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for index in range(self._reader.num_record_batches):
            if os.getpid() != self._process:  # a fork shares the file's position, and no lock
                raise OSError("the rows are another process's")
            with self._lock:  # the file has one position
                batch = self._reader.get_batch(index)
            yield batch


Rows = list[pa.RecordBatch] | Spill


class Handover:
    """Record batches by the file that holds the same rows.

    Scope: per Python process; safe for threads. Batches are immutable.

    Args:
      budget: bytes of Arrow buffers to hold in memory, those that are still gathered among them.
      awaited: whether anybody is going to ask for rows; where not, none are gathered.
    """

    def __init__(self, budget: int = BUDGET, awaited: bool = True):
        self._free = budget
        self._spills = 0
        self._awaited = awaited
        self._kept: dict[str, tuple[files.Mark, Collector]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def awaiting(self) -> Iterator[None]:
        """While stages follow each other in this process. At the end all rows go: the next run's files are others."""
        self._awaited = True
        try:
            yield
        finally:
            self._awaited = False
            self.clear()

    def gather(self, scratch: str | Path) -> "Collector":
        """Opens what gathers the rows of a file.

        Args:
          scratch: folder on the disk for rows that do not fit in memory; it must be there by then.
        """
        return Collector(self, scratch, self._awaited)

    def batches(self, path: str | Path, rows: int) -> Iterator[pa.RecordBatch] | None:
        """The file's rows in batches of `rows`, the last one shorter, as reading the file would give them.

        Returns:
          None where they are not here, or the file is not the one they were written to.
        """
        now = files.mark(path)
        with self._lock:
            known, collector = self._kept.get(str(path), (None, None))
            if collector is None or known is None or known != now:
                return None
            return _cut(collector.rows, rows)

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
        found, done = self.batches(path, rows), 0
        while found is not None:
            try:
                batch = next(found, None)
            except (OSError, pa.ArrowException) as error:
                logger.warning("%s is read again, because its rows cannot be taken over: %s", path, error)
                break
            if batch is None:
                return
            part = adapt(batch)
            if part is None:
                break
            done += 1
            yield part
        yield from islice(read(), done, None)

    def release(self, path: str | Path) -> None:
        """Lets go of a file's rows, which nobody asks for again: what others still wait for keeps its room."""
        with self._lock:
            _, collector = self._kept.pop(str(path), (None, None))
            if collector is not None:
                self._take_back(collector)

    def clear(self) -> None:
        """Lets go of all rows."""
        for path in list(self._kept):
            self.release(path)

    def _keep(self, path: str | Path, now: files.Mark, collector: "Collector") -> None:
        with self._lock:
            _, earlier = self._kept.pop(str(path), (None, None))
            if earlier is not None:
                self._take_back(earlier)
            self._kept[str(path)] = (now, collector)

    def _reserve(self, size: int) -> bool:
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def _spill(self, collector: "Collector") -> None:
        """Notes that the collector's rows leave memory for a file.

        Raises:
          OSError: there are too many such files.
        """
        with self._lock:
            if self._spills >= MOST_SPILLS:
                raise OSError(f"{MOST_SPILLS} files are held already")
            self._spills += 1
            collector.spilled = True
            self._free += collector.reserved
            collector.reserved = 0

    def _discard(self, collector: "Collector") -> None:
        with self._lock:
            self._take_back(collector)

    def _take_back(self, collector: "Collector") -> None:
        self._free += collector.reserved
        self._spills -= collector.spilled
        collector.rows, collector.reserved, collector.spilled = [], 0, False


class Collector:
    """Gathers a file's rows while it is written: in memory, and on the disk from where they do not fit there.

    Attributes:
      rows: those gathered.
      reserved: bytes of the handover's budget that they take.
      spilled: whether they are on the disk.
    """

    def __init__(self, handover: Handover, scratch: str | Path, wanted: bool):
        self.rows: Rows = []
        self.reserved = 0
        self.spilled = False
        self._handover = handover
        self._scratch = scratch
        self._wanted = wanted

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows: one list column for each feature, as tfx_bsl decodes tf.Examples.

        That is large_list of int64, float or large_binary; a null list where the feature is missing.
        """
        if not self._wanted:
            return
        if isinstance(self.rows, list) and self._handover._reserve(batch.nbytes):
            self.reserved += batch.nbytes
            self.rows.append(batch)
            return
        try:
            self._on_disk(batch.schema).append(batch)
        except (OSError, pa.ArrowException) as error:
            self._lose(error)

    def keep(self, path: str | Path, written: files.Mark | None = None) -> None:
        """Hands over what was gathered, under the name of the file that holds the same rows and is closed.

        Args:
          path: the file.
          written: its mark when its rows were read; left out where this process has just written it.
        """
        written = written or files.mark(path)
        if isinstance(self.rows, Spill):
            try:
                self.rows.close()
            except (OSError, pa.ArrowException) as error:
                self._lose(error)
        if self._wanted and written is not None:
            self._handover._keep(path, written, self)
        else:
            self.discard()

    def discard(self) -> None:
        """Lets go of what was gathered."""
        self._wanted = False
        self._handover._discard(self)

    def _on_disk(self, schema: pa.Schema) -> Spill:
        if isinstance(self.rows, list):
            self._handover._spill(self)
            spill = Spill(self._scratch, schema)
            for earlier in self.rows:
                spill.append(earlier)
            self.rows = spill
        return self.rows

    def _lose(self, error: Exception) -> None:
        logger.warning(
            "Rows do not fit in memory, nor in %s; their file will be read: %s", self._scratch, error
        )
        self.discard()


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


examples = Handover(awaited=False)
