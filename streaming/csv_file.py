"""A CSV file, read as text in bounded batches; its delimiter, quotes, encoding and header are found in it."""

import bisect
import bz2
import codecs
import collections
import contextlib
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from noria.stores.errors import DataError

BLOCK_BYTES = 8 << 20
_HEAD_BYTES = 256 << 10
_DELIMITERS = ",\t;|^~\x01\x1f: "

# Told of a row that has the wrong number of fields: its number, its text, the reason.
OnBadRow = Callable[[int, str, str], None]


class CsvFile:
    """One CSV file.

    Args:
      path: the file; `.gz`, `.bz2`, `.xz` and `.zip` (of one file) are unpacked while reading.
      delimiter: found in the file's head if None.

    Attributes:
      columns: the header's names; nameless ones are called `column_<number>`.

    Raises:
      DataError: the file is missing, empty or no text, or two columns have one name.
    """

    def __init__(self, path: Path, delimiter: str | None = None):
        self.path = path
        self._tail = b""
        head = self._head()
        self.encoding = self._encoding(head)
        text = head.decode(self.encoding, errors="ignore").lstrip("\ufeff")
        if not text.strip():
            raise DataError("the file is empty", where=path, next_step="give a file with a header and rows")
        self.quote = _quote(text)
        self.delimiter = delimiter or _delimiter(text, self.quote)
        self.columns, self._header_lines = self._header(text)
        # Files with a semicolon between columns are often from places where 3.14 is written 3,14.
        self.comma = self.delimiter == ";"

    def batches(self, on_bad_row: OnBadRow | None = None) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows as text, and their numbers in the file, from 1 after the header.

        Args:
          on_bad_row: told of each row with too many or too few fields; such rows are left out.

        Raises:
          DataError: the file is no CSV (a quote that never ends, bytes that are no text).
        """
        bad_numbers: list[int] = []

        def skip(row: pa_csv.InvalidRow) -> str:
            number = row.number - self._header_lines
            bad_numbers.append(number)
            if on_bad_row is not None:
                more = "too many" if row.actual_columns > row.expected_columns else "too few"
                said = f"{more} fields: {row.actual_columns}, {row.expected_columns} expected"
                on_bad_row(number, row.text, said)
            return "skip"

        read = 0
        last: pa.RecordBatch | None = None
        try:
            with self._open() as file:
                reader = pa_csv.open_csv(
                    file,
                    # One thread, since only then the rows come with their numbers.
                    read_options=pa_csv.ReadOptions(
                        use_threads=False,
                        block_size=BLOCK_BYTES,
                        column_names=[str(i) for i in range(len(self.columns))],
                        skip_rows=self._header_lines,
                        encoding=self.encoding,
                    ),
                    parse_options=pa_csv.ParseOptions(
                        delimiter=self.delimiter,
                        quote_char=self.quote,
                        newlines_in_values=True,
                        invalid_row_handler=skip,
                    ),
                    convert_options=pa_csv.ConvertOptions(
                        column_types={str(i): pa.string() for i in range(len(self.columns))},
                        strings_can_be_null=False,
                    ),
                )
                for batch in reader:
                    numbers = _numbers(read, batch.num_rows, bad_numbers)
                    read += batch.num_rows
                    last = batch
                    yield pa.RecordBatch.from_arrays(batch.columns, list(self.columns)), numbers
            self._refuse_open_quote(last, read + len(bad_numbers))
        except (pa.ArrowException, UnicodeError, OSError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, pa.ArrowInvalid) and "Empty CSV" in str(error):
                return
            raise DataError(
                f"the file cannot be read as CSV after row {read + len(bad_numbers)}: {_said(error)}",
                where=self.path,
                next_step="look there for a quote that never ends, or for bytes that are no text",
            ) from error

    def _refuse_open_quote(self, last: pa.RecordBatch | None, row: int) -> None:
        """Arrow takes all that follows a quote that never ends for one value, without a word."""
        if last is None or not last.num_rows or self._tail.rstrip().endswith(self.quote.encode()):
            return
        if "\n" in last.column(last.num_columns - 1)[last.num_rows - 1].as_py():
            raise DataError(
                f"the file cannot be read as CSV: a quote opens in row {row} and never ends",
                where=self.path,
                next_step="close the quote, or write quotes inside of values twice",
            )

    def _open(self) -> IO[bytes] | io.BufferedIOBase:
        return opened(self.path)

    def _head(self) -> bytes:
        try:
            with self._open() as file:
                return file.read(_HEAD_BYTES)
        except FileNotFoundError as error:
            raise DataError(
                "there is no such file", where=self.path, next_step="correct the path of the data"
            ) from error
        except (OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError) as error:
            raise DataError(
                f"the file cannot be read: {_said(error)}",
                where=self.path,
                next_step="check its permissions, and that it was copied whole",
            ) from error

    def _encoding(self, head: bytes) -> str:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if b"\x00" in head:
            raise DataError(
                "the file is neither CSV nor Parquet: it holds bytes that are no text",
                where=self.path,
                next_step="export it as CSV (UTF-8) or Parquet",
            )
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self._open() as file:
            try:
                encoding = "utf-8"
                while chunk := file.read(BLOCK_BYTES):
                    self._tail = (self._tail + chunk)[-8:]
                    try:
                        if encoding == "utf-8":
                            decoder.decode(chunk)
                    except UnicodeDecodeError:
                        encoding = "latin-1"
                with contextlib.suppress(UnicodeDecodeError):
                    decoder.decode(b"", final=True)
                    return encoding
                return "latin-1"
            except (OSError, EOFError, lzma.LZMAError) as error:
                raise DataError(
                    f"the file cannot be read to its end: {_said(error)}",
                    where=self.path,
                    next_step="check that it was copied whole",
                ) from error

    def _header(self, text: str) -> tuple[tuple[str, ...], int]:
        rows = csv.reader(io.StringIO(text), delimiter=self.delimiter, quotechar=self.quote)
        fields = next(row for row in rows if any(field.strip() for field in row))
        names = tuple(name.strip() or f"column_{i}" for i, name in enumerate(fields, start=1))
        refuse_duplicates(names, self.path)
        if all(_is_number(name) for name in names):
            raise DataError(
                f"row 1 holds no column names but values: {', '.join(names[:5])}",
                where=self.path,
                next_step="write the names of the columns into the file's first line",
            )
        return names, rows.line_num


def opened(path: Path) -> IO[bytes] | io.BufferedIOBase:
    """The file's bytes, unpacked by its suffix."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".bz2":
        return bz2.open(path, "rb")
    if suffix == ".xz":
        return lzma.open(path, "rb")
    if suffix == ".zip":
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
        if len(names) != 1:
            raise DataError(
                f"the archive must hold one file, it holds {len(names)}",
                where=path,
                next_step="unpack it, and name the folder",
            )
        return archive.open(names[0])
    return path.open("rb")


def refuse_duplicates(names: tuple[str, ...], where: object) -> None:
    """Raises DataError if two columns have one name."""
    counts = collections.Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        places = [str(i) for i, name in enumerate(names, start=1) if name == twice[0]]
        raise DataError(
            f"column {twice[0]!r} is there {counts[twice[0]]} times, as columns {', '.join(places)}",
            where=where,
            next_step="give each column a name of its own",
        )


def _quote(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0].strip()
    return "'" if first.startswith("'") and first.endswith("'") and '"' not in first else '"'


def _delimiter(text: str, quote: str) -> str:
    """The delimiter that cuts the most lines into as many fields as the header, and into the most fields."""
    lines = text.splitlines()
    if len(text) >= _HEAD_BYTES // 4 and len(lines) > 2:
        lines = lines[:-1]  # may be cut
    best = (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(io.StringIO("\n".join(lines[:101])), delimiter=delimiter, quotechar=quote))
        rows = [row for row in rows if row]
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        alike = sum(len(row) == width for row in rows[1:]) / max(len(rows) - 1, 1)
        # Blanks and colons stand in values too: only where nothing else fits.
        weight = 0.5 if delimiter in ": " else 1.0
        if (alike * weight, width) > best[:2] and alike >= 0.5:
            best = (alike * weight, width, delimiter)
    return best[2]


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")


def _said(error: BaseException) -> str:
    return str(error).removeprefix("CSV parse error: ").strip() or type(error).__name__
