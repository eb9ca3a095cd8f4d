"""Tables from outside: CSV, JSON lines and Parquet files, folders and globs of them, pandas and Arrow tables.

They come out as Arrow batches of one schema. What cannot be read goes to the dead letters, with its row and the
reason.
"""

import collections
import difflib
import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError
from noria.ingestion import conversion, file_names
from noria.ingestion.arrow_values import blank, decoded
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.csv_file import CsvFile
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.formats import MemoryTable, ParquetTable, Rows, Table, TextTable, text_at
from noria.ingestion.json_lines import JsonLinesFile
from noria.ingestion.number_formats import PLAIN, NumberFormat
from noria.ingestion.sources.base import FoundFile
from noria.ingestion.text_file import inner_name

_PANDAS = "pandas.read_{0}(...).to_parquet('table.parquet')"
# Formats that are not read, and the way to one that is.
_REFUSED = {
    ".xlsx": "save it in Excel as CSV UTF-8",
    ".xls": "save it in Excel as CSV UTF-8",
    ".avro": "export it as CSV (UTF-8), JSON lines or Parquet",
    ".feather": f"convert it with {_PANDAS.format('feather')}",
    ".orc": f"convert it with {_PANDAS.format('orc')}",
}


def open_tables(
    source: Any,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    missing: Sequence[str] = (),
    decimal: str | None = None,
    header: Sequence[str] = (),
    name: str = "table",
) -> list[Table]:
    """Finds the tables that a source means.

    Args:
      source: a path, a folder, a glob, a `FoundFile`, a list of these, a pandas data frame or an Arrow table.
      delimiter: of CSV files; found in them if None.
      encoding: of text files, a Python codec; found in them if None.
      missing: further texts that mean "missing".
      decimal: the decimal sign of numbers in text; found in them if None.
      header: the columns' names, where CSV files have no line with them.
      name: of a table in memory.

    Returns:
      The tables, those of a folder or glob by name.

    Raises:
      DataError: nothing there, empty, damaged, or neither CSV nor Parquet.
    """
    if isinstance(source, pa.Table) or type(source).__module__.startswith("pandas"):
        return [MemoryTable(source, name)]
    if isinstance(source, list | tuple):
        options: dict[str, Any] = {
            "delimiter": delimiter,
            "encoding": encoding,
            "missing": missing,
            "decimal": decimal,
            "header": header,
            "name": name,
        }
        return [table for each in source for table in open_tables(each, **options)]
    if isinstance(source, Table):
        return [source]
    if isinstance(source, FoundFile):
        return [_open(source, delimiter, encoding, missing, decimal, header)]
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            "the data must be a path, a pandas or Arrow table, a list of these, or a function that returns "
            f"one of these kinds, got {type(source).__name__}",
            where="data.source",
            next_step="let the function return a pandas data frame or an Arrow table",
        )
    found = _paths(Path(source).expanduser())
    return [_open(each, delimiter, encoding, missing, decimal, header) for each in found]


def columns_of(
    tables: Sequence[Table],
    *,
    wanted: Sequence[str] | None = None,
    types: Mapping[str, ColumnType] | None = None,
    as_it_is: Sequence[str] = (),
) -> dict[str, ColumnType]:
    """The columns that the tables have in common, and their types.

    Args:
      tables: the tables.
      wanted: the columns to read; by default those of the first table. A table may have more.
      types: types that are known already; what is not is found in the tables.
      as_it_is: columns that somebody else interprets; they get the type `empty`.

    Raises:
      DataError: a column is missing (names the one it may have become), or has types that don't fit together.
    """
    names = list(wanted) if wanted is not None else list(tables[0].columns)
    for table in tables:
        for column in names:
            if column not in table.columns and (column in as_it_is or not table.may_lack_columns):
                raise missing_column(column, table, names)
    for table in tables:
        if not isinstance(table, TextTable):
            table.column_types(
                names
            )  # refuses lists and similar types, even if they are known; reads only the schema
    known = dict(types or {})
    found = {column: conversion.named("empty") for column in names}
    unknown = [column for column in names if column not in as_it_is]
    if any(column not in known for column in unknown):
        for table in tables:
            for column, column_type in table.column_types(unknown).items():
                unified = conversion.unify(found[column], column_type)
                if unified is None and isinstance(table, TextTable) and not column_type.is_time:
                    unified = conversion.named("string")  # text in one file, numbers in another: codes
                if unified is None and column not in known:
                    raise DataError(
                        f"column {column!r} holds {column_type.label} here, "
                        f"{found[column].label} in the files before",
                        where=table.name,
                        next_step="give the column one type in all files",
                    )
                found[column] = unified or found[column]
    return {column: known.get(column, found[column]) for column in names}


def read(
    tables: Sequence[Table],
    columns: Mapping[str, ColumnType],
    letters: DeadLetters,
    *,
    as_it_is: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> Iterator[Rows]:
    """Reads tables in bounded batches of one schema.

    Args:
      tables: the tables, in this order.
      columns: column -> type, as from `columns_of`.
      letters: gets the rows that cannot be read.
      as_it_is: columns that are not converted; text that means "missing" becomes null.
      missing: further texts that mean "missing".

    Raises:
      DataError: a file cannot be read.
    """
    for table in tables:
        for raw, numbers in table.raw(letters, columns):
            arrays = []
            bad = np.zeros(raw.num_rows, bool)
            for name, column_type in columns.items():
                index = raw.schema.get_field_index(name)
                column = raw.column(index) if index >= 0 else pa.nulls(raw.num_rows, pa.string())
                values, no_text = decoded(column)
                if missing and pa.types.is_string(values.type):
                    marks = pc.is_in(pc.utf8_trim_whitespace(values), value_set=pa.array(missing))
                    values = blank(values, marks)
                wrong = no_text
                if name not in as_it_is:
                    values, other = conversion.convert(values, column_type, _form(table, name, column_type))
                    wrong = wrong | other
                elif pa.types.is_string(values.type):
                    values, _ = conversion.convert(values, conversion.named("string"))
                arrays.append(values)
                for i in map(int, np.flatnonzero(wrong & ~bad)):
                    value = text_at(column, i)
                    reason = conversion.refusal(value, "text in UTF-8" if no_text[i] else column_type.label)
                    letters.add(table.name, int(numbers[i]), table.text(raw, i), reason, name, value)
                bad |= wrong
            yield Rows(pa.RecordBatch.from_arrays(arrays, list(columns)), numbers, table, raw).filter(~bad)


def read_table(
    source: Any,
    *,
    delimiter: str | None = None,
    limit: int | None = None,
    columns: Mapping[str, ColumnType] | None = None,
    missing: Sequence[str] = (),
    letters: DeadLetters | None = None,
) -> pa.Table:
    """Reads a source into memory, its types found in it; for a first look.

    Args:
      source: as in `open_tables`.
      delimiter: of CSV files.
      limit: stop after about this many rows.
      columns: the columns to read, and their types; by default all of the first table.
      missing: further texts that mean "missing".
      letters: counts the rows that cannot be read.

    Raises:
      DataError: it cannot be read, or more than 1% of the rows looked at are bad.
    """
    tables = open_tables(source, delimiter=delimiter, missing=missing)
    columns = columns_of(tables) if columns is None else columns
    schema = pa.schema([(name, conversion.stored(column_type)) for name, column_type in columns.items()])
    batches: list[pa.RecordBatch] = []
    rows: collections.Counter[str] = collections.Counter()
    with letters or DeadLetters(None, "table", "") as letters:
        for part in read(tables, columns, letters, missing=missing):
            batches.append(part.batch)
            rows[part.table.name] += part.batch.num_rows
            if limit is not None and sum(rows.values()) >= limit:
                break
    for name in dict.fromkeys(each.name for each in tables):
        letters.check(name, rows[name] + letters.count_of(name))
    table = pa.Table.from_batches(batches, schema)
    return table if limit is None else table.slice(0, limit)


def _form(table: Table, name: str, column_type: ColumnType) -> NumberFormat:
    """How numbers are written there; the plain way for types that are not numbers, which asks nothing of the file."""
    return table.number_format(name) if column_type.numeric else PLAIN


def missing_column(column: str, table: Table, wanted: Iterable[str]) -> DataError:
    """The error for a column that is not there."""
    spare = [name for name in table.columns if name not in set(wanted) or name.lower() == column.lower()]
    folded = {name.casefold(): name for name in spare}
    near = difflib.get_close_matches(column.casefold(), folded, n=1, cutoff=0.6)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    return DataError(
        f"column {column!r} is missing{hint}",
        where=f"{table.name}: columns {', '.join(table.columns)}",
        next_step=f"rename it to {column!r} in the data; if it will not return, remove it from the preprocessing, "
        "from `key` and the slices in the config: what the model does not read may be missing",
    )


def _paths(path: Path, root: Path | None = None) -> list[FoundFile]:
    """The files that a path means; folders below `root` may be keys of a partition."""
    if path.is_dir():
        root = root or path
        found = [
            each
            for each in sorted(path.rglob("*"))
            if each.is_file() and file_names.is_table(each.relative_to(path))
        ]
        if not found:
            raise DataError(
                "the folder holds no CSV, JSON or Parquet file",
                where=path,
                next_step="name another one",
            )
        return [_found(each, root) for each in _with_bytes(found)]
    if path.exists():
        return [_found(path, root)]
    matches = [Path(each) for each in sorted(glob.glob(str(path), recursive=True))]
    if not matches:
        is_glob = any(c in str(path) for c in "*?[")
        raise DataError(
            "no file matches this pattern" if is_glob else "there is no such file",
            where=path.absolute(),
            next_step="correct the path of the data",
        )
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    return [each for match in _with_bytes(matches) for each in _paths(match, root)]


def _with_bytes(paths: list[Path]) -> list[Path]:
    """Without empty files (a day without data, or one that another program begins to write), unless all are empty."""
    return [path for path in paths if path.is_dir() or path.stat().st_size] or paths


def _found(path: Path, root: Path | None) -> FoundFile:
    return FoundFile(path, keys=file_names.keys(path.relative_to(root).parts[:-1]) if root else {})


def _open(
    file: FoundFile,
    delimiter: str | None,
    encoding: str | None,
    missing: Sequence[str],
    decimal: str | None,
    header: Sequence[str],
) -> Table:
    path = file.path
    suffix = path.suffix.lower()
    if suffix in _REFUSED:
        raise DataError(f"{path.suffix} files are not read", where=path, next_step=_REFUSED[suffix])
    packed = suffix in file_names.PACKED
    if suffix in file_names.PARQUET or (not packed and _begins_like_parquet(path)):
        return ParquetTable(file)
    if packed and path.exists():
        suffix = PurePath(inner_name(path)).suffix.lower()
    if suffix in file_names.JSON_LINES + file_names.JSON:
        return TextTable(file, JsonLinesFile(path, encoding), missing, decimal)
    return TextTable(file, CsvFile(path, delimiter, encoding, header), missing, decimal)


def _begins_like_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False  # the reader gets the error
