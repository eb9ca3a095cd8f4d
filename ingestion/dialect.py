"""How a CSV file is written: its delimiter, its quotes, its header, found in its first lines."""

import collections
import csv
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from noria.core.errors import DataError
from noria.ingestion.text_file import HEAD_BYTES

# Python reads 128 KiB; a long value in the first row is not a fault of the header.
csv.field_size_limit(max(csv.field_size_limit(), 2 * HEAD_BYTES))
_DELIMITERS = ",\t;|^~\x01\x1f: "


# What `_begin` calls a delimiter of one or more blanks and tabs, as in tables of aligned columns.
_BLANKS = "  "
# Lines before the header that are tried: titles, comments, the date of an export.
PREAMBLE = 20
# Share of the first rows that must have one number of fields, to tell the header from lines before it.
ALIKE = 0.9
_SEPARATOR = re.compile(r'"?sep=(.)"?(?=\r|\n|$)', re.IGNORECASE)  # Excel's way to name it
_BLANKS_BEFORE_QUOTE = re.compile(rb'([,;|]) +"')


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
      delimiter: between fields.
      quote: around fields.
      columns: the header's names; nameless ones are called `column_<number>`, the second `x` `x_2`.
      header_lines: lines that the header takes, those before it included.
      rewrite: what makes the lines that are read of whole lines: `squeezed`, `closed_up` or None.
      notes: what people should know.
    """

    delimiter: str
    quote: str
    columns: tuple[str, ...]
    header_lines: int
    notes: tuple[str, ...] = ()
    rewrite: Callable[[bytes], bytes] | None = None


def find(text: str, path: Path, delimiter: str | None = None, header: Sequence[str] = ()) -> Dialect:
    """Finds it in the file's first HEAD_BYTES.

    Args:
      text: the first HEAD_BYTES.
      path: for messages.
      delimiter: where it is known.
      header: the columns' names, where the file has no line with them.

    Raises:
      DataError: no text, no header, or a quote in the header that never ends.
    """
    if not text.strip():
        raise DataError("the file is empty", where=path, next_step="give a file with a header and rows")
    lines = io.StringIO(text, newline="").readlines()
    before = next(i for i, line in enumerate(lines) if line.strip())
    if named := _SEPARATOR.match(lines[before].strip()):
        delimiter, before = delimiter or named[1], before + 1
    rewrite = closed_up if _has_blanks_before_quotes(lines[before + 1 :]) else None
    lines = _rewritten(lines, rewrite) if rewrite else lines
    try:
        skipped, delimiter, quote = _begin(lines[before:], delimiter)
        before += skipped
        if delimiter == _BLANKS:
            rewrite, delimiter, lines = squeezed, " ", _rewritten(lines, squeezed)
        rows = _rows("".join(lines[before:]), delimiter, quote, path)
    except csv.Error as error:
        raise _open_quote(path) from error
    notes = [f"lines before the header are not read: {skipped}"] if skipped else []
    (fields, header_lines), *others = rows
    if header:
        if len(fields) != len(header):
            raise DataError(
                f"the rows have {len(fields)} fields, and {len(header)} names are given",
                where=path,
                next_step="name each column in --header or `data.header`, in the order of the file",
            )
        return Dialect(delimiter, quote, tuple(header), before, tuple(notes), rewrite)
    names = _names(fields, [row for row, _ in others])
    # pandas writes 0, 1, 2, ... above columns without names.
    if all(_is_number(name) for name in names) and names != [str(i) for i in range(len(names))]:
        raise DataError(
            f"row 1 has values instead of column names: {', '.join(names[:5])}",
            where=path,
            next_step="give the columns' names with `--header a,b,c` of noria init, or in `data.header`",
        )
    unique = _unique(names)
    if renamed := [f"{new!r}" for old, new in zip(names, unique, strict=True) if old != new]:
        notes.append(f"columns of one name are numbered: {', '.join(renamed)}")
    columns = zip(*(row for row, _ in others), strict=False)
    if values := [name for name, column in zip(names, columns, strict=False) if _is_value(name, column)]:
        notes.append(
            f"the first line may be a row and no header: it holds {', '.join(values[:3])}; if so, give the names with "
            "--header"
        )
    return Dialect(delimiter, quote, tuple(unique), before + header_lines, tuple(notes), rewrite)


def squeezed(text: bytes) -> bytes:
    """Whole lines with one blank in place of several blanks and tabs, and none at their ends."""
    return re.sub(rb"(?m)^ +| +(?=[\r\n]|\Z)", b"", re.sub(rb"[ \t]+", b" ", text))


def closed_up(text: bytes) -> bytes:
    """Whole lines without blanks between a delimiter and a quote, as some write columns one below the other."""
    return _BLANKS_BEFORE_QUOTE.sub(rb'\1"', text)


def _has_blanks_before_quotes(lines: Sequence[str]) -> bool:
    some = lines[:100]
    return 2 * sum(_BLANKS_BEFORE_QUOTE.search(line.encode()) is not None for line in some) > len(some)


def refuse_duplicates(names: tuple[str, ...], where: object) -> None:
    """Raises DataError if two columns have one name."""
    counts = collections.Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        places = [str(i) for i, name in enumerate(names, start=1) if name == twice[0]]
        raise DataError(
            f"column {twice[0]!r} appears {counts[twice[0]]} times, as columns {', '.join(places)}",
            where=where,
            next_step="give each column a different name",
        )


def _rows(text: str, delimiter: str, quote: str, path: Path) -> list[tuple[list[str], int]]:
    """The header and the rows of the head, and at which line each ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
    rows: list[tuple[list[str], int]] = []
    for row in reader:
        if any(field.strip() for field in row):
            if not rows and "".join(text.splitlines(keepends=True)[: reader.line_num]).count(quote) % 2:
                raise _open_quote(
                    path
                )  # where the quote of a name never ends, all the rows are part of the name
            rows.append((row, reader.line_num))
        if len(rows) > 100:
            break
    if not rows:
        raise DataError(
            "the file has no column names", where=path, next_step="write them into the first line"
        )
    return rows


def _names(fields: list[str], rows: list[list[str]]) -> list[str]:
    """The columns' names. Rows may have one field more: an empty one at the end, or R's names of the rows in front."""
    wider = [row for row in rows if len(row) == len(fields) + 1]
    if len(fields) > 1 and rows and len(wider) >= ALIKE * len(rows):
        empty = all(not row[-1].strip() for row in wider)
        fields = [*fields, ""] if empty else ["", *fields]
    return [
        name.strip().strip("\ufeff\u200b").strip() or f"column_{i}" for i, name in enumerate(fields, start=1)
    ]


def _unique(names: Sequence[str]) -> list[str]:
    """The names, where the second `x` is `x_2`."""
    taken, found = set(names), list[str]()
    for name in names:
        new, number = name, 1
        while new in found or (number > 1 and new in taken):
            number += 1
            new = f"{name}_{number}"
        found.append(new)
    return found


def _open_quote(path: Path) -> DataError:
    return DataError(
        "the file cannot be read as CSV: a quote opens in the header and never ends",
        where=path,
        next_step="close the quote in the file's first line",
    )


def _quote(text: str) -> str:
    first = text.lstrip().splitlines()[0].strip()
    return "'" if first.startswith("'") and first.endswith("'") and '"' not in first else '"'


def _begin(lines: Sequence[str], delimiter: str | None) -> tuple[int, str, str]:
    """How many lines stand before the header; the delimiter and the quote."""
    first: tuple[int, str, str] | None = None
    for skipped in range(min(PREAMBLE, max(1, len(lines) - 2)) + 1):
        rest = lines[skipped:]
        text = "".join(rest)
        if skipped and lines[skipped - 1].count('"') % 2:
            break  # the lines of one row
        if not rest or not rest[0].strip() or not text.strip():
            continue
        quote = _quote(text)
        found, alike = _delimiter(text, quote, delimiter)
        first = first or (0, found, quote)
        if alike >= (0.5 if skipped == 0 else ALIKE) and not _title(rest, found, quote):
            return skipped, found, quote
    assert first is not None, "`find` refuses a file without text"
    return first


def _title(lines: Sequence[str], delimiter: str, quote: str) -> bool:
    """Whether the first line is a title by chance one field shorter than the header, which is the second line."""
    if delimiter == _BLANKS:
        delimiter, lines = " ", _rewritten(lines, squeezed)
    first, *rows = [row for row in csv.reader(lines[:20], delimiter=delimiter, quotechar=quote) if row] or [
        []
    ]
    if len(rows) < 2 or len(rows[0]) != len(first) + 1:
        return False
    return not any(map(_is_number, rows[0])) and any(_is_number(field) for row in rows[1:] for field in row)


def _delimiter(text: str, quote: str, known: str | None) -> tuple[str, float]:
    """The delimiter that cuts the most lines into as many fields as the header, and into the most fields.

    Returns:
      It, and the share of such lines (0 where there are no two fields).
    """
    lines = text.splitlines()
    if len(text) >= HEAD_BYTES // 4 and len(lines) > 2:
        lines = lines[:-1]  # may be cut
    best = (0.0, 0, known or ",")
    plain = _share(lines, " ", quote) if known is None else (0.0, 0)
    blanks = _share(_rewritten(lines, squeezed), " ", quote) if known is None else (0.0, 0)
    for delimiter in known or _DELIMITERS:
        alike, width = _share(lines, delimiter, quote)
        # Blanks and colons are in values too: only if nothing else fits.
        weight = 0.5 if delimiter in ": " else 1.0
        if (alike * weight, width) > best[:2] and alike >= 0.5:
            best = (alike * weight, width, delimiter)
    # A tab may stand before the last column only, where blanks stand before all others.
    runs = sum("  " in line for line in lines[1:101]) >= ALIKE * len(lines[1:101])
    worse = best[0] < ALIKE or (runs and best[2] == "\t" and best[1] < blanks[1])
    if worse and blanks[0] >= ALIKE and blanks > plain:
        return _BLANKS, blanks[0]
    return best[2], best[0]


def _share(lines: Sequence[str], delimiter: str, quote: str) -> tuple[float, int]:
    """The share of the first lines with as many fields as the first one (or one more in nearly all), and how many."""
    rows = list(csv.reader(io.StringIO("\n".join(lines[:101])), delimiter=delimiter, quotechar=quote))
    rows = [row for row in rows if row]
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0, width
    alike = sum(len(row) == width for row in rows[1:]) / max(len(rows) - 1, 1)
    wider = sum(len(row) == width + 1 for row in rows[1:]) / max(len(rows) - 1, 1)
    return max(alike, wider if wider >= ALIKE else 0.0), width


def _rewritten(lines: Sequence[str], rewrite: Callable[[bytes], bytes]) -> list[str]:
    return [rewrite(line.encode()).decode() for line in lines]


def _is_value(name: str, values: Sequence[str]) -> bool:
    """Whether a name is a number with a fraction above a column of numbers: of no header."""
    return _is_number(name) and "." in name and all(_is_number(value) for value in values if value.strip())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")
