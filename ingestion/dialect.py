"""How a CSV file is written: its delimiter, its quotes, its header, found in its first lines."""

import collections
import csv
import dataclasses
import io
from pathlib import Path

from noria.core.errors import DataError
from noria.ingestion.text_file import HEAD_BYTES

# Python reads 128 KiB; a long value in the first row is no fault of the header.
csv.field_size_limit(max(csv.field_size_limit(), 2 * HEAD_BYTES))
_DELIMITERS = ",\t;|^~\x01\x1f: "


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
      delimiter: between fields.
      quote: around fields.
      columns: the header's names; nameless ones are called `column_<number>`.
      header_lines: lines that the header takes, blank ones before it included.
    """

    delimiter: str
    quote: str
    columns: tuple[str, ...]
    header_lines: int


def find(text: str, path: Path, delimiter: str | None = None) -> Dialect:
    """Finds it in the file's first HEAD_BYTES.

    Raises:
      DataError: no text, no header, two columns of one name, or a quote in the header that never ends.
    """
    if not text.strip():
        raise DataError("the file is empty", where=path, next_step="give a file with a header and rows")
    quote = _quote(text)
    try:
        delimiter = delimiter or _delimiter(text, quote)
        columns, lines = _header(text, delimiter, quote, path)
    except csv.Error as error:
        raise _open_quote(path) from error
    return Dialect(delimiter, quote, columns, lines)


def refuse_duplicates(names: tuple[str, ...], where: object) -> None:
    """Raises DataError if two columns have one name."""
    counts = collections.Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        places = [str(i) for i, name in enumerate(names, start=1) if name == twice[0]]
        raise DataError(
            f"column {twice[0]!r} is there {counts[twice[0]]} times, as columns {', '.join(places)}",
            where=where,
            next_step="give each column a different name",
        )


def _header(text: str, delimiter: str, quote: str, path: Path) -> tuple[tuple[str, ...], int]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
    fields = next((row for row in rows if any(field.strip() for field in row)), None)
    if fields is None:
        raise DataError(
            "the file has no column names", where=path, next_step="write them into the first line"
        )
    # Where the quote of a name never ends, all the rows are part of the name.
    if "".join(text.splitlines(keepends=True)[: rows.line_num]).count(quote) % 2:
        raise _open_quote(path)
    names = tuple(name.strip() or f"column_{i}" for i, name in enumerate(fields, start=1))
    refuse_duplicates(names, path)
    if all(_is_number(name) for name in names):
        raise DataError(
            f"row 1 has values instead of column names: {', '.join(names[:5])}",
            where=path,
            next_step="write the names of the columns into the file's first line",
        )
    return names, rows.line_num


def _open_quote(path: Path) -> DataError:
    return DataError(
        "the file cannot be read as CSV: a quote opens in the header and never ends",
        where=path,
        next_step="close the quote in the file's first line",
    )


def _quote(text: str) -> str:
    first = text.lstrip().splitlines()[0].strip()
    return "'" if first.startswith("'") and first.endswith("'") and '"' not in first else '"'


def _delimiter(text: str, quote: str) -> str:
    """The delimiter that cuts the most lines into as many fields as the header, and into the most fields."""
    lines = text.splitlines()
    if len(text) >= HEAD_BYTES // 4 and len(lines) > 2:
        lines = lines[:-1]  # may be cut
    best = (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(io.StringIO("\n".join(lines[:101])), delimiter=delimiter, quotechar=quote))
        rows = [row for row in rows if row]
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        alike = sum(len(row) == width for row in rows[1:]) / max(len(rows) - 1, 1)
        # Blanks and colons are in values too: only if nothing else fits.
        weight = 0.5 if delimiter in ": " else 1.0
        if (alike * weight, width) > best[:2] and alike >= 0.5:
            best = (alike * weight, width, delimiter)
    return best[2]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")
