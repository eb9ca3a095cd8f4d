"""Rows that one stage has just written, kept decoded for the next stage of the same process.

Stages hand on files: they are TFX's artifacts, and what a process elsewhere reads. But where the next stage runs in
the same process, decoding what was encoded a moment ago would cost it more than its own work. So the writer of a file
may leave the file's rows here, and a reader asks here first. A file that is not here, because it came from elsewhere,
was changed since or did not fit, is read; `tests/unit/components/test_handover.py` holds both ways equal.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

# What a resident process may hold between its stages; a week of flights takes 3 MB, a wide span is read from its file.
BUDGET = 256 << 20

Mark = tuple[int, int, int]


class Handover:
    """Record batches by the file that holds the same rows; the oldest go when the budget is spent.

    Scope: per Python process; safe for threads. Batches are immutable.

    Args:
      budget: bytes of Arrow buffers to hold.
    """

    def __init__(self, budget: int = BUDGET):
        self.budget = budget
        self._kept: OrderedDict[str, tuple[Mark, list[pa.RecordBatch], int]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, path: str | Path, batches: Sequence[pa.RecordBatch]) -> bool:
        """Keeps the rows of a file that is written and closed.

        Args:
          path: the file.
          batches: its rows in their order: one list column for each feature, as tfx_bsl decodes tf.Examples
            (large_list of int64, float or large_binary; a null list where the feature is missing).

        Returns:
          False where they are larger than the budget, and are not kept.
        """
        size = sum(batch.nbytes for batch in batches)
        mark = _mark(path)
        with self._lock:
            self._kept.pop(str(path), None)
            if size > self.budget or mark is None:
                return False
            self._kept[str(path)] = (mark, list(batches), size)
            while sum(held for _, _, held in self._kept.values()) > self.budget:
                self._kept.popitem(last=False)
        return True

    def batches(self, path: str | Path, rows: int) -> Iterator[pa.RecordBatch] | None:
        """The file's rows in batches of `rows`, the last one shorter, as reading the file would give them.

        Returns:
          None where they are not here, or the file is not the one they were written to.
        """
        with self._lock:
            found = self._kept.get(str(path))
        if found is None or found[0] != _mark(path):
            return None
        return _cut(found[1], rows)

    def release(self, path: str | Path) -> None:
        """Lets go of a file's rows, which nobody asks for again: what others still wait for keeps its room."""
        with self._lock:
            self._kept.pop(str(path), None)

    def clear(self) -> None:
        """Lets go of all rows: the run is over, and the next one's files are others."""
        with self._lock:
            self._kept.clear()


def _cut(batches: list[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    if not batches:
        return
    table = pa.Table.from_batches(batches)
    for start in range(0, len(table), rows):
        yield from table.slice(start, rows).combine_chunks().to_batches()


def _mark(path: str | Path) -> Mark | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Collector:
    """Gathers a file's batches while it is written, and stops where they grow over the budget.

    Args:
      handover: where they are going to be kept.
    """

    def __init__(self, handover: Handover):
        self._handover = handover
        self._size = 0
        self._batches: list[pa.RecordBatch] | None = []

    def add(self, batch: pa.RecordBatch) -> None:
        self._size += batch.nbytes
        if self._size > self._handover.budget:
            self._batches = None
        elif self._batches is not None:
            self._batches.append(batch)

    def keep(self, path: str | Path) -> None:
        """Keeps what was gathered for the file, which must be closed."""
        if self._batches is not None:
            self._handover.keep(path, self._batches)


examples = Handover()
