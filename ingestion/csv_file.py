"""A CSV file, read as text in bounded batches; its delimiter, quotes, encoding and header are found in it."""

import bisect
import csv
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from noria.core.errors import DataError
from noria.ingestion import dialect
from noria.ingestion.dialect import Dialect
from noria.ingestion.text_file import MARK, READ_ERRORS, Encoding, Rewritten, TextFile, reason_of

# A row must fit into a block.
BLOCKS = (8 << 20, 64 << 20, 1 << 30)

# Told of a row that cannot be read: its number, its text, the reason.
OnBadRow = Callable[[int, str, str], None]


class CsvFile:
    """One CSV file. Reading begins with the first access.

    Args:
      path: the file; gzip, bzip2, xz, zstd, lz4 and zip (of one table) are unpacked while reading.
      delimiter: found in the file's head if None.
      encoding: found in the file if None.
      header: the columns' names, where no line of the file holds them.

    Raises:
      DataError: (at the first access) the file is missing, empty, damaged or no text.
    """

    def __init__(
        self,
        path: Path,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: Sequence[str] = (),
    ):
        self.path = path
        self._file = TextFile(path, encoding)
        self._delimiter = delimiter
        self._header = header

    @property
    def encoding(self) -> Encoding:
        """How its bytes became text."""
        return self._file.encoding

    @functools.cached_property
    def dialect(self) -> Dialect:
        """How the file is written."""
        return dialect.find(self._file.head, self.path, self._delimiter, self._header)

    @property
    def columns(self) -> tuple[str, ...]:
        """The header's names."""
        return self.dialect.columns

    def batches(self, on_bad_row: OnBadRow | None = None) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows as text, and their numbers in the file, from 1 after the header.

        Args:
          on_bad_row: gets each row with too many or too few fields, or with bytes that are not text; such
            rows are skipped. Told of each line of a row that holds lines by a stray quote.

        Raises:
          DataError: the file is not CSV (a quote that never ends).
        """
        seen = 0
        reported: set[int] = set()
        for block in BLOCKS:
            before = frozenset(reported)

            def report(number: int, text: str, reason: str, before: frozenset[int] = before) -> None:
                if on_bad_row is not None and number not in before:
                    reported.add(number)
                    on_bad_row(number, text, reason)

            try:
                for batch, numbers in self._batches(report, block, seen):
                    seen = int(numbers[-1]) if len(numbers) else seen
                    yield batch, numbers
                return
            except _LongRow:
                continue  # from the row behind the last one, with longer blocks
        raise DataError(
            f"the row after row {seen} is longer than {BLOCKS[-1] >> 20} MiB",
            where=self.path,
            next_step="look there for a quote without its end",
        )

    def _batches(
        self, report: OnBadRow, block: int, seen: int
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows after number `seen`."""
        bad_numbers: list[int] = []
        failed: list[Exception] = []

        def skip(row: pa_csv.InvalidRow) -> str:
            number = row.number - self.dialect.header_lines
            if "\n" in row.text and row.text.count(self.dialect.quote) % 2:
                failed.append(self._open_quote(number))  # all the rows that follow are in this one's text
                return "error"
            bad_numbers.append(number)
            more = "too many" if row.actual_columns > row.expected_columns else "too few"
            reason = f"{more} fields: {row.actual_columns}, {row.expected_columns} expected"
            try:
                _report_lines(report, number, row.text, reason)
            except Exception as error:  # Arrow swallows it
                failed.append(error)
                return "error"
            return "skip"

        read = 0
        last: pa.RecordBatch | None = None
        try:
            text = self._file.open()
            with _Tail(_Lines(text, self.dialect.rewrite) if self.dialect.rewrite else text) as file:
                for batch in self._reader(file, skip, block):
                    numbers = _numbers(read, batch.num_rows, bad_numbers)
                    read += batch.num_rows
                    last = batch
                    new = int(np.searchsorted(numbers, seen, side="right"))
                    yield self._readable(batch.slice(new), numbers[new:], report)
                self._refuse_open_quote(last, read + len(bad_numbers), file.tail)
        except READ_ERRORS as error:
            if failed:
                raise failed[0] from None
            if isinstance(error, pa.ArrowInvalid) and "Empty CSV" in str(error):
                return
            if isinstance(error, pa.ArrowInvalid) and "straddl" in str(error):
                raise _LongRow from error
            raise DataError(
                f"the file cannot be read as CSV after row {read + len(bad_numbers)}: {reason_of(error)}",
                where=self.path,
                next_step="look there for a quote without its end, or for bytes that are not text",
            ) from error

    def line(self, batch: pa.RecordBatch, row: int) -> str:
        """A row of a batch as a line of the file."""
        out = io.StringIO()
        writer = csv.writer(
            out, delimiter=self.dialect.delimiter, quotechar=self.dialect.quote, lineterminator=""
        )
        writer.writerow("" if (value := column[row].as_py()) is None else value for column in batch.columns)
        return out.getvalue()

    def _reader(
        self, file: IO[bytes] | io.IOBase, skip: Callable[[pa_csv.InvalidRow], str], block: int
    ) -> pa_csv.CSVStreamingReader:
        names = [str(i) for i in range(len(self.columns))]
        return pa_csv.open_csv(
            file,
            # One thread, since only then the rows come with their numbers.
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=block,
                column_names=names,
                skip_rows=self.dialect.header_lines,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                quote_char=self.dialect.quote,
                newlines_in_values=True,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )

    def _readable(
        self, batch: pa.RecordBatch, numbers: np.ndarray, report: OnBadRow
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows of a batch that are what they seem."""
        bad = np.zeros(batch.num_rows, bool)
        for column in batch.columns:
            if self.encoding.rewritten:
                for i in (i for i in _holding(column, MARK) if not bad[i]):
                    _report_lines(
                        report, int(numbers[i]), self.line(batch, int(i)), _no_text(self.encoding.name)
                    )
                    bad[i] = True
            for i in (i for i in _holding(column, "\n") if not bad[i]):
                if self._holds_rows(column[int(i)].as_py()):
                    _report_lines(
                        report, int(numbers[i]), self.line(batch, int(i)), "a quote opens too early"
                    )
                    bad[i] = True
        columns = [column.filter(pa.array(~bad)) for column in batch.columns] if bad.any() else batch.columns
        return pa.RecordBatch.from_arrays(columns, list(self.columns)), numbers[~bad]

    def _holds_rows(self, value: str) -> bool:
        """Whether a value looks like rows of this file between two stray quotes.

        Free text has lines with as many delimiters by chance: seldom two, and with two columns seldom ten.
        """
        lines = value.splitlines()[1:-1]
        width = len(self.columns)
        if len(lines) < (2 if width > 2 else 10) or width < 2:
            return False
        rows = csv.reader(lines, delimiter=self.dialect.delimiter, quotechar=self.dialect.quote)
        return all(len(row) == width for row in rows)

    def _refuse_open_quote(self, last: pa.RecordBatch | None, row: int, tail: bytes) -> None:
        """Arrow takes all that follows a quote that never ends for one value, without a word."""
        if last is None or not last.num_rows or tail.rstrip().endswith(self.dialect.quote.encode()):
            return
        if "\n" in last.column(last.num_columns - 1)[last.num_rows - 1].as_py():
            raise self._open_quote(row)

    def _open_quote(self, row: int) -> DataError:
        return DataError(
            f"the file cannot be read as CSV: a quote opens in row {row} and never ends",
            where=f"{self.path} (rows count from 1 after the header)",
            next_step="close the quote, or write quotes inside of values twice",
        )


def _no_text(encoding: str) -> str:
    return f"bytes that are not text in {'UTF-8' if encoding == 'utf-8' else encoding}"


def _report_lines(report: OnBadRow, number: int, text: str, reason: str) -> None:
    """Every line counts: what stray quotes hold together may be thousands of rows."""
    lines = text.replace(MARK, "\ufffd").splitlines() or [""]
    if len(lines) > 1:
        reason += f" (one of {len(lines):,} lines that a quote holds together)"
    for line in lines:
        report(number, line, reason)


def _holding(column: pa.Array, text: str) -> np.ndarray:
    """Indices of the values that hold a text."""
    if not len(column):
        return np.zeros(0, np.int64)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    if not (data == text.encode()[0]).any():  # ten times as fast as to look at each value
        return np.zeros(0, np.int64)
    return np.flatnonzero(pc.match_substring(column, text).fill_null(False))


class _LongRow(Exception):
    """A row is longer than a block."""


class _Tail(Rewritten):
    """A file that remembers its last bytes."""

    tail = b""

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._file.read(size)
        self.tail = (self.tail + block[-8:])[-8:]
        return block


class _Lines(Rewritten):
    """A file whose lines are rewritten."""

    def __init__(self, file: IO[bytes] | io.IOBase, rewrite: Callable[[bytes], bytes]):
        super().__init__(file)
        self._rewrite = rewrite
        self._rest = b""

    def rewrite(self, block: bytes) -> bytes:
        text = self._rest + block
        end = text.rfind(b"\n") + 1 if block else len(text)
        self._rest = text[end:]
        return self._rewrite(text[:end])


def _numbers(read: int, count: int, bad: list[int]) -> np.ndarray:
    """Row numbers of the next `count` good rows, given how many were read and which row numbers were bad."""
    if not bad:
        return np.arange(read + 1, read + count + 1)
    # The k-th bad row had bad[k] - k - 1 good rows before it.
    good_before = [number - k - 1 for k, number in enumerate(bad)]
    indices = np.arange(read, read + count)
    first = bisect.bisect_right(good_before, read)
    shift = first + np.searchsorted(good_before[first:], indices, side="right")
    return indices + shift + 1
