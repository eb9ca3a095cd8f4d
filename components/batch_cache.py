"""The batch cache: rows that one stage has just written, decoded, for the next stage in the same process.

The result of a stage is a file: it is TFX's artifact, and other processes read it. If the next stage runs in the same
process, decoding the file would cost more than that stage's own work. So the writer of a file also puts its rows into
the cache, and a reader looks there first. Rows that do not fit in memory spill to an Arrow file without a name. That
costs a tenth of decoding, and the operating system frees the file however the process ends. A file that is not in the
cache, because another process wrote it or it has changed, is read. `tests/unit/components/test_batch_cache.py`
compares all ways.
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

# Bytes of rows that a process holds in memory between its stages; a week of flights takes 3 MB.
BUDGET = 128 << 20
# The cache leaves this much of the disk to the files that the stages must write.
DISK_RESERVE = 1 << 30
# Each spill file holds a descriptor; macOS gives a process 256.
MOST_SPILLS = 64

Adapted = TypeVar("Adapted")


class Spill:
    """Record batches of one schema in an Arrow file without a name. The disk space is free again after the object is.

    Safe for threads once it is closed.

    Args:
      folder: on the disk to use.
      schema: of all batches.

    Raises:
      OSError, pa.ArrowException: from every method, if the disk is full or fails.
    """

    def __init__(self, folder: str | Path, schema: pa.Schema):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the rows are needed
        self._folder = folder
        self._process = os.getpid()
        # Half the space in the same time: most of a narrow row is Arrow's offsets.
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._reader: Any = None
        self._lock = threading.Lock()

    def append(self, batch: pa.RecordBatch) -> None:
        """Writes a batch."""
        if shutil.disk_usage(self._folder).free < DISK_RESERVE + batch.nbytes:
            raise OSError(f"less than {DISK_RESERVE >> 20} MiB of the disk would be free")
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Ends the writing; after this the batches can be read."""
        self._writer.close()
        self._file.flush()
        # Not mapped: pages that were read would remain in the process's memory.
        self._reader = pa.ipc.open_file(pa.PythonFile(self._file, mode="r"))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for index in range(self._reader.num_record_batches):
            if os.getpid() != self._process:  # a fork shares the file's position, and no lock
                raise OSError("the rows belong to another process")
            with self._lock:  # the file has one position
                batch = self._reader.get_batch(index)
            yield batch


class BatchCache:
    """Record batches by the file that holds the same rows.

    Scope: per Python process; safe for threads. Batches are immutable.

    Args:
      budget: bytes of Arrow buffers to hold in memory, with those of open entries.
      enabled: whether a later stage can use the rows; if not, `put` stores nothing.
    """

    def __init__(self, budget: int = BUDGET, enabled: bool = True):
        self._free = budget
        self._spills = 0
        self._enabled = enabled
        self._entries: dict[str, tuple[files.Mark, Entry]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def enabled(self) -> Iterator[None]:
        """While stages run one after the other in this process. At the end the cache is cleared: the next run's files
        are others."""
        self._enabled = True
        try:
            yield
        finally:
            self._enabled = False
            self.clear()

    def open(self, scratch: str | Path) -> "Entry":
        """Opens an entry for the rows of a file that is being written.

        Args:
          scratch: folder on the disk for rows that do not fit in memory; it must exist when the first row comes.
        """
        return Entry(self, scratch, self._enabled)

    def get(self, path: str | Path, rows: int) -> Iterator[pa.RecordBatch] | None:
        """The file's rows in batches of `rows`, the last one shorter, as reading the file would give them.

        Returns:
          None if they are not in the cache, or the file has changed since they were put.
        """
        now = files.mark(path)
        with self._lock:
            known, entry = self._entries.get(str(path), (None, None))
            if entry is None or known is None or known != now:
                return None
            return _in_batches(entry.rows, rows)

    def get_or_read(
        self,
        path: str | Path,
        rows: int,
        adapt: Callable[[pa.RecordBatch], Adapted | None],
        read: Callable[[], Iterator[Adapted]],
    ) -> Iterator[Adapted]:
        """The file's rows in a stage's own form: from the cache, or else from the file.

        Args:
          path: the file.
          rows: of each batch but the last.
          adapt: converts a batch; None if it cannot, then the file is read, and its reader raises the error.
          read: reads the whole file in such batches.
        """
        found, done = self.get(path, rows), 0
        while found is not None:
            try:
                batch = next(found, None)
            except (OSError, pa.ArrowException) as error:
                logger.warning(
                    "%s is read again, because its rows in the cache cannot be read: %s", path, error
                )
                break
            if batch is None:
                return
            part = adapt(batch)
            if part is None:
                break
            done += 1
            yield part
        yield from islice(read(), done, None)

    def remove(self, path: str | Path) -> None:
        """Removes a file's rows, and frees their memory or disk."""
        with self._lock:
            _, entry = self._entries.pop(str(path), (None, None))
            if entry is not None:
                self._free_rows(entry)

    def clear(self) -> None:
        """Removes all rows."""
        for path in list(self._entries):
            self.remove(path)

    def _put(self, path: str | Path, now: files.Mark, entry: "Entry") -> None:
        with self._lock:
            _, earlier = self._entries.pop(str(path), (None, None))
            if earlier is not None:
                self._free_rows(earlier)
            self._entries[str(path)] = (now, entry)

    def _reserve(self, size: int) -> bool:
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def _spill(self, entry: "Entry") -> None:
        """Counts an entry's rows as moved from memory to a file.

        Raises:
          OSError: there are too many such files.
        """
        with self._lock:
            if self._spills >= MOST_SPILLS:
                raise OSError(f"{MOST_SPILLS} spill files are open already")
            self._spills += 1
            entry.spilled = True
            self._free += entry.reserved
            entry.reserved = 0

    def _discard(self, entry: "Entry") -> None:
        with self._lock:
            self._free_rows(entry)

    def _free_rows(self, entry: "Entry") -> None:
        self._free += entry.reserved
        self._spills -= entry.spilled
        entry.rows, entry.reserved, entry.spilled = [], 0, False


class Entry:
    """The rows of one file, added while it is written: in memory, and on the disk once they do not fit there.

    Attributes:
      rows: those added.
      reserved: bytes of the cache's budget that they take.
      spilled: whether they are on the disk.
    """

    def __init__(self, cache: BatchCache, scratch: str | Path, enabled: bool):
        self.rows: list[pa.RecordBatch] | Spill = []
        self.reserved = 0
        self.spilled = False
        self._cache = cache
        self._scratch = scratch
        self._enabled = enabled

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows: one list column for each feature, as tfx_bsl decodes tf.Examples.

        That is large_list of int64, float or large_binary; a null list if the feature is missing.
        """
        if not self._enabled:
            return
        if isinstance(self.rows, list) and self._cache._reserve(batch.nbytes):
            self.reserved += batch.nbytes
            self.rows.append(batch)
            return
        try:
            self._on_disk(batch.schema).append(batch)
        except (OSError, pa.ArrowException) as error:
            self._give_up(error)

    def put(self, path: str | Path, written: files.Mark | None = None) -> None:
        """Puts the rows into the cache, under the closed file that holds the same rows.

        Args:
          path: the file.
          written: its mark when its rows were read; by default now, for a file that this process has just written.
        """
        written = written or files.mark(path)
        if isinstance(self.rows, Spill):
            try:
                self.rows.close()
            except (OSError, pa.ArrowException) as error:
                self._give_up(error)
        if self._enabled and written is not None:
            self._cache._put(path, written, self)
        else:
            self.discard()

    def discard(self) -> None:
        """Frees the rows; nothing is put into the cache."""
        self._enabled = False
        self._cache._discard(self)

    def _on_disk(self, schema: pa.Schema) -> Spill:
        if isinstance(self.rows, list):
            self._cache._spill(self)
            spill = Spill(self._scratch, schema)
            for earlier in self.rows:
                spill.append(earlier)
            self.rows = spill
        return self.rows

    def _give_up(self, error: Exception) -> None:
        logger.warning(
            "Rows fit neither in memory nor in %s; the next stage reads the file: %s", self._scratch, error
        )
        self.discard()


def _in_batches(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
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


# The one that all stages of this process share.
examples = BatchCache(enabled=False)
