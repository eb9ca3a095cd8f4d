"""Writes files of tf.Examples: encoded in threads, gzip TFRecords on disk, the rows in the batch cache."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from noria.components import batch_cache, example_bytes
from noria.components.keras3 import prefer_keras3
from noria.core import files

tf = prefer_keras3()

# Rows encoded at once, and their numbers: an example of 1,500 columns has 35 kilobytes.
ROWS = 8192
NUMBERS = 1 << 19
# The encoder releases Python's lock; one more thread writes.
_THREADS = 2
# Level 1 takes a fifth of the time of the default 6 for files a tenth larger; they are read once or twice.
OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


class ExampleFile:
    """An open file of tf.Examples; see `create`."""

    def __init__(
        self,
        records: Any,  # a tf.io.TFRecordWriter
        threads: ThreadPoolExecutor,
        rows: batch_cache.Entry,
        schema: Any = None,
    ):
        self._rows = rows
        self._records = records
        self._threads = threads
        self._schema = schema
        self._pending: deque[Future] = deque()

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows: one list column for each feature, a null list if it is missing. The order is kept."""
        for start in range(0, batch.num_rows, ROWS):
            part = batch.slice(start, ROWS)
            self._rows.add(part)
            rows = max(1, NUMBERS // max(1, part.num_columns))
            for begin in range(0, part.num_rows, rows):
                some = part.slice(begin, rows)
                self._pending.append(self._threads.submit(example_bytes.encode, some, self._schema))
                while len(self._pending) > _THREADS:
                    self._write_next()

    def finish(self) -> None:
        """Writes the rows that are still being encoded."""
        while self._pending:
            self._write_next()

    def _write_next(self) -> None:
        for example in self._pending.popleft().result():
            self._records.write(example)


@contextlib.contextmanager
def create(path: str | Path, schema: Any = None) -> Iterator[ExampleFile]:
    """Creates a file for the time of a `with`; after it the rows are in the batch cache.

    The file gets its name when it is complete. If Beam repeats a bundle while a lost worker still writes, each writes
    another file, and the name is that of the file that is finished last.

    Args:
      path: the file, `.gz`, in the folder of its split.
      schema: of the features (`schema_pb2.Schema`), if it must give their shapes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    batch_cache.examples.remove(path)  # rows of a file that this one replaces
    # Beside the split's folder, as readers take every file that is in there.
    beside = files.staging(path.parent.parent)
    rows = batch_cache.examples.open(path.parent.parent)
    try:
        with (
            ThreadPoolExecutor(_THREADS) as threads,
            tf.io.TFRecordWriter(str(beside), options=OPTIONS) as records,
        ):
            file = ExampleFile(records, threads, rows, schema)
            yield file
            file.finish()
        os.replace(
            beside, path
        )  # without a sync: after a crash of the machine the run writes its examples again
    except BaseException:
        rows.discard()
        beside.unlink(missing_ok=True)
        raise
    rows.put(path)
