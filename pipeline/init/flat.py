"""How `noria init` reads a table: columns that fit no event table, marks for missing values, and what it says."""

import functools
import re
import shlex
import time as clock
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError
from noria.ingestion import conversion, times
from noria.ingestion.arrow_values import decoded, is_text
from noria.ingestion.column_profile import ColumnProfile
from noria.ingestion.column_types import EXCEL
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.dead_letters import MAX_BAD_SHARE, DeadLetters
from noria.ingestion.events import FUTURE_SECONDS, PAST, has_days
from noria.ingestion.formats import MemoryTable, ParquetTable, Table, TextTable
from noria.ingestion.number_formats import PLAIN
from noria.pipeline.init import row_order, time_formats

_MOST = 2**63 - 1
# `user_id`, `userId`, `id`, `zip`, but not `paid`; and the rows that each value of such a column has on average.
_NAMES_THINGS = re.compile(
    r"(?i:(^|[^a-z])(id|ids|uuid|guid|key|code|zip|zipcode|postcode|postalcode))$|[a-z](Id|ID|Code)$"
)
ROWS_EACH = 2


def unreadable(tables: Sequence[Table]) -> dict[str, str]:
    """Columns of typed tables and of JSON that have no place in an event table, and why."""
    found: dict[str, str] = {}
    for table in tables:
        if isinstance(table, TextTable):
            found |= dict.fromkeys(table.nested, "holds lists or objects, which do not fit into a flat table")
            continue
        assert isinstance(table, ParquetTable | MemoryTable), "a table is text or typed"
        schema = table.schema if isinstance(table, ParquetTable) else table.table.schema
        for field in schema:
            if conversion.of_arrow(field.type) is None:
                found[field.name] = f"holds {field.type}, which does not fit in a flat table"
            elif pa.types.is_uint64(field.type) and _beyond_int64(table, field.name):
                found[field.name] = "holds whole numbers beyond 2^63, which the event table cannot hold"
    return found


def typed_texts(
    tables: Sequence[Table], types: Collection[str]
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, str]]:
    """What the columns of text in Parquet and pandas tables hold, as if they stood in a CSV file.

    Args:
      tables: the tables.
      types: columns whose type is known.

    Returns:
      The types of those that hold numbers, times, or true and false; texts that mean "missing" there, as `marks`; and
      why columns cannot be read.
    """
    found: dict[str, ColumnType | None] = {}
    signs: dict[str, list[str]] = {}
    bad: dict[str, str] = {}
    for table in tables:
        if not isinstance(table, ParquetTable | MemoryTable):
            continue
        schema = table.schema if isinstance(table, ParquetTable) else table.table.schema
        profiles = {
            field.name: ColumnProfile() for field in schema if is_text(field.type) and field.name not in types
        }
        rows, no_text = 0, dict.fromkeys(profiles, 0)
        with DeadLetters(None, "table", "") as letters:
            for batch, _ in table.raw(letters, list(profiles)) if profiles else ():
                rows += batch.num_rows
                for name, each in profiles.items():
                    texts, wrong = decoded(batch.column(batch.schema.get_field_index(name)))
                    no_text[name] += int(wrong.sum())
                    each.add(texts)
        for name, each in profiles.items():
            if no_text[name] > 0.01 * rows:
                bad[name] = "holds bytes that are no text"
            column_type = each.type_beside(each.marks)
            plain = column_type.name != "empty" and (not column_type.numeric or each.format == PLAIN)
            before = found.get(name, column_type)
            found[name] = conversion.unify(before, column_type) if plain and before is not None else None
            for mark in each.marks if column_type.numeric else ():
                signs.setdefault(mark, []).append(name)
    column_types = {
        name: column_type.name
        for name, column_type in found.items()
        if column_type is not None and column_type.name != "string"
    }
    return column_types, signs, bad


def marks(tables: Sequence[Table], columns: Sequence[str], types: Mapping[str, str]) -> dict[str, list[str]]:
    """Texts that mean "missing" in columns of numbers, and the columns in which they do."""
    found: dict[str, list[str]] = {}
    numbers = {column_type.name for column_type in conversion.known() if column_type.numeric}
    for table in tables:
        if not isinstance(table, TextTable):
            continue
        for name, profile in table.profiles.items():
            if name in columns and types.get(name, "float") in numbers:
                for mark in profile.marks:
                    if name not in found.setdefault(mark, []):
                        found[mark].append(name)
    return found


def declare_missing(tables: Sequence[Table], missing: Sequence[str]) -> None:
    """These texts mean "missing" in all text tables from now on."""
    for table in tables:
        if isinstance(table, TextTable):
            table.missing = tuple(missing)


def written_times(
    table: pa.Table, column_types: Mapping[str, ColumnType], apart: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The columns of times that are neither ISO 8601 nor seconds since 1970, and the formats that fit them.

    Args:
      table: the rows.
      column_types: the columns' types.
      apart: columns that people have decided about.
    """
    plain = ("int", "string")
    found = {
        name: time_formats.written(table.column(name).combine_chunks())
        for name in table.column_names
        if name not in apart and column_types[name].name in plain
    }
    return {name: forms for name, forms in found.items() if forms}


def further_times(
    table: pa.Table,
    column_types: Mapping[str, ColumnType],
    apart: Collection[str],
    written: Mapping[str, Sequence[str]],
) -> tuple[pa.Table, dict[str, str], dict[str, str]]:
    """Columns of times that their type does not show.

    Args:
      table: the rows.
      column_types: the columns' types.
      apart: columns that people have decided about.
      written: columns and the formats that fit, the first one is used.

    Returns:
      The table, with epoch seconds in these columns; their types; and the columns that are not used, and why.
    """
    types: dict[str, str] = {}
    mixed: dict[str, str] = {}
    for at, name in enumerate(table.column_names):
        values = table.column(name).combine_chunks()
        form = written[name][0] if name in written else None
        if name in apart or not (form or column_types[name].numeric and time_formats.is_time(values)):
            continue
        seconds, bad = times.parse(values, form)
        if bad.mean() > MAX_BAD_SHARE:
            mixed[name] = f"{int(bad.sum()):,} of its values are no times of the format {form}"
            continue
        types[name] = f"time({form})" if form else "time"
        table = table.set_column(at, name, seconds)
    return table, types, mixed


def foreign_keys(
    table: pa.Table, in_order: pa.Table, apart: Collection[str]
) -> tuple[pa.Table, pa.Table, list[str]]:
    """Columns of whole numbers that name things, such as `user_id` or `zip_code`: their size means nothing.

    By their name, and because values repeat. A number that follows the order of the rows stays a number: as a category,
    each span would have new ones.

    Args:
      table: the rows.
      in_order: the same rows in the order of their time.
      apart: columns that people have decided about.

    Returns:
      Both tables with texts in these columns, and the columns' names.
    """
    candidates = []
    for field in table.schema:
        if field.name not in apart and pa.types.is_integer(field.type) and _NAMES_THINGS.search(field.name):
            column = table.column(field.name)
            different = pc.count_distinct(column.combine_chunks(), mode="only_valid").as_py()
            if 2 < different <= (len(column) - column.null_count) / ROWS_EACH:
                candidates.append(field.name)
    names = [name for name in candidates if name not in row_order.growing(in_order, candidates)]
    texts = [
        functools.reduce(
            lambda each, name: each.set_column(
                each.column_names.index(name), name, each.column(name).cast(pa.string())
            ),
            names,
            whole,
        )
        for whole in (table, in_order)
    ]
    return texts[0], texts[1], names


def refuse_times_of_no_event(time: str, seconds: np.ndarray, form: str | None) -> None:
    """Refuses a time column with more rows of the future, or of the far past, than a file of bad rows may have.

    Raises:
      DataError: it would be refused by the first run.
    """
    future = float(np.mean(seconds > clock.time() + FUTURE_SECONDS))
    past = float(np.mean(seconds < PAST)) if has_days(form) else 0.0
    for share, said in ((future, "are in the future"), (past, "are before 1901")):
        if share > MAX_BAD_SHARE:
            worst = np.datetime64(int(seconds.max() if share == future else seconds.min()), "s")
            raise DataError(
                f"{share:.1%} of the times {said}, such as {worst}Z: no event has happened then",
                where=time,
                next_step="give the format with --time-format if they are read in a wrong way; or name the column "
                "with the time at which a row was known, or omit --time to use the row order",
            )


def unread(letters: DeadLetters, texts: Collection[str]) -> list[str]:
    """A note about rows that cannot be read.

    Args:
      letters: of the reading.
      texts: columns that were read as numbers, and that the project reads as text.
    """
    rows = letters.count - sum(letters.columns[name] for name in texts)
    if not rows:
        return []
    first = letters.first(texts)
    example = f", such as {first}" if first else ""
    return [f"{rows:,} rows cannot be read{example}; the first run puts them into the dead letters"]


def far_past(time: str | None, seconds: np.ndarray | None) -> list[str]:
    """A note about times that begin before 1980: numbers of another unit or epoch are read so."""
    if time is None or seconds is None or seconds.min() >= 315_532_800:
        return []
    first = np.datetime64(int(seconds.min()), "s")
    return [
        f"the times in {time!r} begin at {first}Z: if this is wrong, give the format with --time-format, or omit --time"
    ]


def ambiguous(tables: Sequence[Table], column_types: Mapping[str, ColumnType]) -> list[str]:
    """A line about the columns whose numbers can be read with either decimal sign."""
    signs: dict[str, list[str]] = {}
    for table in tables:
        for name, profile in table.profiles.items() if isinstance(table, TextTable) else ():
            number = name in column_types and column_types[name].numeric
            if number and profile.ambiguous and name not in signs.setdefault(profile.format.decimal, []):
                signs[profile.format.decimal].append(name)
    said = {",": ("1,234 is read as 1.234", "."), ".": ("1,234 is read as 1234", ",")}
    return [
        f"{', '.join(names)}: {said[sign][0]}; if this is wrong, give `--decimal {said[sign][1]}`"
        for sign, names in signs.items()
    ]


def bounds(tables: Sequence[Table], column_types: Mapping[str, ColumnType]) -> list[str]:
    """A line about each column of numbers with bounds such as `>3`, which are read as the number in them."""
    texts = {
        name: next(iter(profile.bounds))
        for table in tables
        for name, profile in (table.profiles.items() if isinstance(table, TextTable) else ())
        if profile.bounds and name in column_types and column_types[name].numeric
    }
    return [
        f"{name}: a bound such as {text!r} is read as the number in it; if it is a class, give "
        f"--types {shlex.quote(f'{name}=string')}"
        for name, text in texts.items()
    ]


def notes(
    found: Mapping[str, list[str]],
    dropped: Mapping[str, str],
    formats: Sequence[str],
    times: Sequence[str],
    written: Mapping[str, Sequence[str]],
    yearly: Sequence[str],
    texts: Mapping[str, str],
    references: Sequence[str],
) -> list[str]:
    """What was decided and why, a line for each decision."""
    lines = [
        f"{mark!r} is read as missing (in {', '.join(names)}): correct `data.missing` if it is a value"
        for mark, names in found.items()
    ]
    lines += [
        f"column {name!r} is text and is read as {column_type}: remove it from `data.types` if it is text"
        for name, column_type in texts.items()
    ]
    if references:
        lines.append(
            f"{', '.join(references)}: read as text, because these numbers name things: remove them from `data.types` "
            "if their size means something"
        )
    lines += [f"column {name!r} is not used: {why}" for name, why in dropped.items()]
    if len(formats) > 1:
        lines.append(
            f"all times fit {' and '.join(formats)}; the first is used: correct `time.format` in noria.yaml "
            "before the first run if it is wrong"
        )
    elif formats and formats[0] == EXCEL:
        lines.append(
            "times are read as days that Excel counts: if they are not, give the format with --time-format"
        )
    elif formats:
        lines.append(f"times are read with the format {formats[0]}")
    for name in times:
        used, *others = written.get(name, ())[:2] or (None,)
        parts = "the hour, the weekday and the season" if name in yearly else "the hour and the weekday"
        said = f" (read as {used})" if used else ""
        lines.append(f"{name}: {parts} of this time{said} are features")
        if others:
            lines.append(
                f"{name}: all values fit {used} and {others[0]}; {used} is used: if this is wrong, give "
                f"--types {shlex.quote(f'{name}=time({others[0]})')}, or correct `data.types` before the first run"
            )
    return lines


def _beyond_int64(table: Table, name: str) -> bool:
    with DeadLetters(None, "table", "") as letters:
        for batch, _ in table.raw(letters, [name]):
            column = batch.column(batch.schema.get_field_index(name))
            if pc.any(pc.greater(column, pa.scalar(_MOST, pa.uint64()))).as_py():
                return True
    return False
