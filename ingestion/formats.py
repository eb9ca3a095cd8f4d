"""What a table from outside may be: a CSV, JSON lines or Parquet file, or a table in memory; read in batches."""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noria.core import files
from noria.core.errors import DataError
from noria.ingestion import conversion
from noria.ingestion.arrow_values import BATCH_ROWS, filtered
from noria.ingestion.column_profile import MOSTLY, ColumnProfile
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.csv_file import CsvFile
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.dialect import refuse_duplicates
from noria.ingestion.json_lines import JsonLinesFile
from noria.ingestion.number_formats import COMMA, PLAIN, NumberFormat
from noria.ingestion.sources.base import FoundFile
from noria.ingestion.text_file import READ_ERRORS, reason_of


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a table.

    Attributes:
      batch: the values.
      numbers: each row's number in its file, from 1 after the header, `[rows]`.
      table: where they are from.
      raw: the same rows as they are there.
    """

    batch: pa.RecordBatch
    numbers: np.ndarray
    table: "Table"
    raw: pa.RecordBatch

    def text(self, row: int) -> str:
        """One row of the table, as text."""
        return self.table.text(self.raw, row)

    def filter(self, keep: np.ndarray, columns: Sequence[pa.Array] | None = None) -> "Rows":
        """Some of the rows.

        Args:
          keep: which ones, `[rows]`.
          columns: what the columns became; as they are if None.
        """
        names = self.batch.schema.names
        batch = self.batch if columns is None else pa.RecordBatch.from_arrays(list(columns), names)
        if keep.all():
            return dataclasses.replace(self, batch=batch)
        return Rows(filtered(batch, keep), self.numbers[keep], self.table, filtered(self.raw, keep))


def text_at(values: pa.Array, row: int) -> str | None:
    """One value as text, None where it is missing."""
    try:
        value = values[row].as_py()
    except UnicodeDecodeError:  # a text of a damaged file
        one = values.slice(row, 1)
        one = one.dictionary_decode() if pa.types.is_dictionary(one.type) else one
        return one.cast(pa.binary())[0].as_py().decode(errors="replace")
    except (OverflowError, ValueError):  # times that Python has none for: beyond the year 9999
        return str(values.slice(row, 1).cast(pa.string())[0].as_py())
    return None if value is None else str(value)


class Table:
    """One file, or one table in memory.

    Attributes:
      name: what people know it by: the path.
      may_lack_columns: a column that it has not is missing in all its rows.
      only_new: no row of it was in an earlier piece of its source; its rows are not compared with old ones.
    """

    name: str
    only_new = False
    may_lack_columns = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Its column names."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """sha256 of its bytes."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about it, once it was read."""
        return ()

    def column_types(self, names: Collection[str]) -> dict[str, ColumnType]:
        """The types of these columns; reads a CSV file to its end."""
        raise NotImplementedError

    def number_format(self, name: str) -> NumberFormat:
        """How numbers are written in a column of text."""
        return PLAIN

    def raw(
        self, letters: DeadLetters | None, names: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows as they are there, with at least these columns, and their numbers."""
        raise NotImplementedError

    def text(self, batch: pa.RecordBatch, row: int) -> str:
        """One row of a raw batch as text."""
        out = io.StringIO()
        # Zero bytes are what Python 3.10 takes for an escape.
        values = ((text_at(column, row) or "").replace("\0", "\\0") for column in batch.columns)
        csv.writer(out, lineterminator="").writerow(values)
        return out.getvalue()


class FileTable(Table):
    """A file. Reading begins with the first access.

    Attributes:
      path: where it is.
    """

    def __init__(self, file: FoundFile):
        self.path = file.path
        self.name = file.name or str(file.path)
        self.only_new = file.only_new
        self._given = file.keys
        self._digest: str | None = None

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns within the file."""
        raise NotImplementedError

    @functools.cached_property
    def keys(self) -> dict[str, pa.Array]:
        """Further columns with one value for all rows: name -> array of it. The file's own columns win."""
        return {name: _key(value) for name, value in self._given.items() if name not in self.own_columns}

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.own_columns, *self.keys)

    @property
    def digest(self) -> str:
        """sha256 of its bytes; with keys, of these too: equal rows of two folders are different rows."""
        if self._digest is None:
            with _Reading(self.path, "cannot be read"):
                self._digest = files.sha256(self.path)
            if self._given:
                named = json.dumps([self._digest, *sorted(self._given.items())])
                self._digest = hashlib.sha256(named.encode()).hexdigest()
        return self._digest

    def _with_keys(
        self, batches: Iterable[tuple[pa.RecordBatch, np.ndarray]], names: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The batches with the wanted keys."""
        added = {name: value for name, value in self.keys.items() if name in names}
        for batch, numbers in batches:
            if added:
                rows = pa.array(np.zeros(batch.num_rows, np.int64))
                columns = [*batch.columns, *(value.take(rows) for value in added.values())]
                batch = pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *added])
            yield batch, numbers

    def _key_types(self, names: Collection[str]) -> dict[str, ColumnType]:
        found = (
            (name, conversion.of_arrow(value.type)) for name, value in self.keys.items() if name in names
        )
        return {name: column_type for name, column_type in found if column_type is not None}

    def recall(self, digest: str) -> None:
        """Takes a digest that is known already."""
        self._digest = digest


class TextTable(FileTable):
    """A file of text: what its columns hold is found in the texts.

    Args:
      found: the file.
      file: its reader.
      missing: further texts that mean "missing".
      decimal: the decimal sign of its numbers; found in them if None.
    """

    def __init__(
        self,
        found: FoundFile,
        file: CsvFile | JsonLinesFile,
        missing: Collection[str] = (),
        decimal: str | None = None,
    ):
        super().__init__(found)
        self._file = file
        self.may_lack_columns = isinstance(
            file, JsonLinesFile
        )  # a key that no row has is like one that a row lacks
        self._decimal = decimal
        self.missing = tuple(missing)
        self._formats: Mapping[str, NumberFormat] | None = None

    @property
    def own_columns(self) -> tuple[str, ...]:
        return self._file.columns

    @property
    def notes(self) -> tuple[str, ...]:
        notes = [self._file.encoding.note] if self._file.encoding.note else []
        notes += self._file.dialect.notes if isinstance(self._file, CsvFile) else ()
        return tuple(f"{self.name}: {note}" for note in notes)

    @property
    def nested(self) -> tuple[str, ...]:
        """The columns with lists or objects of JSON; reads the file to its end."""
        return self._file.nested if isinstance(self._file, JsonLinesFile) else ()

    def column_types(self, names: Collection[str]) -> dict[str, ColumnType]:
        own = (name for name in self.own_columns if name in names)
        return {name: self.profiles[name].type_beside(self.missing) for name in own} | self._key_types(names)

    @functools.cached_property
    def profiles(self) -> dict[str, ColumnProfile]:
        """What its own columns hold; reads the file to its end."""
        found = {name: ColumnProfile(self._comma, self._decimal) for name in self.own_columns}
        for batch, _ in self._file.batches():
            for profile, column in zip(found.values(), batch.columns, strict=True):
                profile.add(column)
        return found

    def number_format(self, name: str) -> NumberFormat:
        if self._formats is not None:
            # Files with a semicolon between columns are often from places where 3.14 is written 3,14.
            semicolons = isinstance(self._file, CsvFile) and self._file.dialect.delimiter == ";"
            comma = semicolons if self._decimal is None else self._decimal == ","
            return self._formats.get(name, COMMA if comma else PLAIN)
        return self.profiles[name].format if name in self.profiles else PLAIN

    def reconsider(self, names: Collection[str]) -> dict[str, NumberFormat]:
        """Looks at how the file writes the numbers of these columns; returns those for which this is another way.

        Reads the file to its end.
        """
        found = {}
        for name in names:
            profile = self.profiles.get(name)
            if profile is None or profile.format == self.number_format(name):
                continue
            if profile.numbers[profile.format] >= MOSTLY * profile.present and not profile.codes:
                found[name] = profile.format
        self._formats = {**(self._formats or {}), **found}
        return found

    def assume_formats(self, formats: Mapping[str, NumberFormat]) -> None:
        """Takes number formats that are known already, so that the file is read once only."""
        self._formats = formats

    def raw(
        self, letters: DeadLetters | None, names: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        def add(row: int, text: str, reason: str) -> None:
            if letters is not None:
                letters.add(self.name, row, text, reason)

        return self._with_keys(self._file.batches(add), names)

    @property
    def _comma(self) -> bool:
        """Whether 1,234 alone is a fraction."""
        return isinstance(self._file, CsvFile) and self._file.dialect.delimiter != ","

    def text(self, batch: pa.RecordBatch, row: int) -> str:
        own = self.own_columns
        return self._file.line(pa.RecordBatch.from_arrays(batch.columns[: len(own)], list(own)), row)


class ParquetTable(FileTable):
    """A Parquet file."""

    @functools.cached_property
    def schema(self) -> pa.Schema:
        with self._reading(), pq.ParquetFile(self.path) as file:
            schema = file.schema_arrow
        refuse_duplicates(tuple(schema.names), self.path)
        if not schema.names:
            raise DataError(
                "the file has no columns", where=self.path, next_step="write it again, with columns"
            )
        return schema

    @property
    def own_columns(self) -> tuple[str, ...]:
        return tuple(self.schema.names)

    def column_types(self, names: Collection[str]) -> dict[str, ColumnType]:
        return _arrow_column_types(self.schema, self.name, names) | self._key_types(names)

    def raw(
        self, letters: DeadLetters | None, names: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        return self._with_keys(self._batches(names), names)

    def _batches(self, names: Collection[str]) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        read = 0
        chosen = [name for name in self.own_columns if name in names]
        with self._reading(), pq.ParquetFile(self.path) as file:
            for batch in _side_by_side(file, chosen):
                yield batch, np.arange(read + 1, read + batch.num_rows + 1)
                read += batch.num_rows

    def _reading(self) -> "_Reading":
        return _Reading(self.path, "is not a complete Parquet file")


def _side_by_side(file: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Reads columns of a Parquet file in batches, with one reader for each column.

    A reader of several columns crashes if a damaged page makes one column shorter than the others.

    Raises:
      pa.ArrowInvalid: a column has fewer rows than the file.
    """
    if not names:
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=[])
        return
    readers = [_values(file, name) for name in names]
    none = pa.nulls(0)
    parts: list[pa.Array] = [none for _ in names]
    left = file.metadata.num_rows
    while left > 0:
        # They differ in length where a reader has split a batch of long texts.
        parts = [
            part if len(part) else next(reader, none) for part, reader in zip(parts, readers, strict=True)
        ]
        rows = min(left, *map(len, parts))
        if not rows:
            short = next(name for name, part in zip(names, parts, strict=True) if not len(part))
            raise pa.ArrowInvalid(f"column {short!r} has {left} rows less than the file")
        yield pa.RecordBatch.from_arrays([part[:rows] for part in parts], list(names))
        parts = [part[rows:] for part in parts]
        left -= rows


def _values(file: pq.ParquetFile, name: str) -> Iterator[pa.Array]:
    """One column of a Parquet file, in parts that are not empty.

    Raises:
      pa.ArrowIndexError: its dictionary does not have a value that a row refers to.
    """
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
        values = batch.column(batch.schema.get_field_index(name))
        if len(values):
            yield values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


class MemoryTable(Table):
    """An Arrow table or a pandas data frame."""

    def __init__(self, table: Any, name: str):
        if not isinstance(table, pa.Table):
            # Mixed columns (numbers and texts in one) are distinguished as in a file.
            table = _from_pandas(table)
        self.table: pa.Table = table
        self.name = name
        refuse_duplicates(self.columns, name)
        self._digest: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    @property
    def digest(self) -> str:
        if self._digest is None:
            sink = _HashingSink()
            with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), self.table.schema) as writer:
                writer.write_table(self.table.combine_chunks(), max_chunksize=BATCH_ROWS)
            self._digest = sink.digest.hexdigest()
        return self._digest

    def column_types(self, names: Collection[str]) -> dict[str, ColumnType]:
        return _arrow_column_types(self.table.schema, self.name, names)

    def raw(
        self, letters: DeadLetters | None, names: Collection[str]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        read = 0
        for batch in self.table.to_batches(max_chunksize=BATCH_ROWS):
            yield batch, np.arange(read + 1, read + batch.num_rows + 1)
            read += batch.num_rows


class _Reading:
    """Turns what is raised about a damaged file into an error that helps."""

    def __init__(self, path: Path, what: str):
        self.path = path
        self.what = what

    def __enter__(self) -> None:
        if self.path.exists() and not self.path.stat().st_size:
            raise DataError("the file is empty", where=self.path, next_step="write it again, with rows")

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, READ_ERRORS):
            raise DataError(
                f"the file {self.what}: {reason_of(error)}",
                where=self.path,
                next_step="copy or write it again; it looks truncated or damaged",
            ) from error


class _HashingSink(io.RawIOBase):
    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


def _key(value: str | None) -> pa.Array:
    """The value of a partitioned folder, a whole number where it looks like one (as Hive, Spark and Arrow read it)."""
    if value is not None and re.fullmatch(r"-?\d{1,18}", value):
        return pa.array([int(value)])
    return pa.array([value], pa.string() if value is not None else pa.null())


def _arrow_column_types(schema: pa.Schema, name: str, names: Collection[str]) -> dict[str, ColumnType]:
    found = {}
    for field in schema:
        if field.name not in names:
            continue
        column_type = conversion.of_arrow(field.type)
        if column_type is None:
            raise DataError(
                f"column {field.name!r} holds {field.type}, which does not fit in a flat table",
                where=name,
                next_step="flatten it into columns of numbers or text, or leave it out (`data.columns`)",
            )
        found[field.name] = column_type
    return found


def _from_pandas(frame: Any) -> pa.Table:
    names = [name for name in frame.index.names if name is not None]
    if (names or hasattr(frame.index, "tz")) and not set(names) & set(frame.columns):
        frame = frame.reset_index()  # a time, or what somebody gave a name, is a column
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError):
        mixed = frame.copy()
        for name in mixed.select_dtypes("object").columns:
            mixed[name] = mixed[name].where(mixed[name].isna(), mixed[name].astype(str))
        return pa.Table.from_pandas(mixed, preserve_index=False)
