"""Landing: rows of a source that is read in the order of a cursor column, copied into Parquet files.

The files are the only state. The cursor's last value in them is the position from which the next run reads; a file is
complete or absent, so a run that is killed neither loses rows nor copies them twice.
"""

import collections
import decimal
import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noria.core import files
from noria.core.errors import DataError

# Rows of one file at most. A killed run copies at most this many again.
FILE_ROWS = 1_000_000
_META = b"noria.landing"


class Landing:
    """The files `000001.parquet` and so on of one source.

    Args:
      folder: where they are.
      name: what people know the source by.
      cursor: the column in whose order rows come; a later row never has a smaller value.
      identity: what must not change between runs, such as the table's name.
    """

    def __init__(self, folder: Path, name: str, cursor: str, identity: dict[str, str]):
        self.folder = folder
        self.name = name
        self.cursor = cursor
        self._meta = {"cursor": cursor, **identity}
        files.sweep(files.fetched(folder))
        for path in self.paths[-1:]:
            self._check(path)

    @property
    def paths(self) -> list[Path]:
        """The files, in the order of their rows."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    @property
    def position(self) -> Any:
        """The cursor's last value; None before the first row."""
        for path in self.paths[-1:]:
            with pq.ParquetFile(path) as file:
                column = file.read_row_group(file.num_row_groups - 1, columns=[self.cursor]).column(0)
            return column[len(column) - 1].as_py()
        return None

    def append(self, parts: Iterable[tuple[Sequence[str], Sequence[Sequence[Any]]]]) -> int:
        """Copies rows.

        Args:
          parts: names of columns and rows, in the order of the cursor, from the position on: the rows that have the
            cursor's last value are among them, and those that were copied before are omitted.

        Returns:
          How many rows were new.

        Raises:
          DataError: the cursor is not in the rows, or holds neither whole numbers, times nor texts.
        """
        position, kinds = self.position, self._kinds()
        common = list(kinds)  # a column may be added or removed between two runs
        known: collections.Counter[bytes] | None = None
        number = int(self.paths[-1].stem) if self.paths else 0
        writer: _File | None = None
        count = 0
        try:
            for names, rows in parts:
                batch = _batch(names, rows, self.cursor, kinds)
                kinds = {field.name: field.type for field in batch.schema}
                self._check_cursor(batch)
                if known is None:
                    common = [name for name in common if name in names]
                    known = self._at_position(position, common)
                if known:
                    last = batch.column(batch.schema.get_field_index(self.cursor))[batch.num_rows - 1].as_py()
                    batch = _without(batch, known, common)
                    if _folded(last) != _folded(position):
                        known.clear()  # some were deleted in the database
                if not batch.num_rows:
                    continue
                count += batch.num_rows
                if writer is not None and (writer.schema != batch.schema or writer.rows >= FILE_ROWS):
                    writer.commit()
                    writer = None
                if writer is None:
                    number += 1
                    path = self.folder / f"{number:06}.parquet"
                    writer = _File(path, batch.schema, json.dumps(self._meta))
                writer.write(batch)
            if writer is not None:
                writer.commit()
                writer = None
        finally:
            if writer is not None:
                writer.discard()
        return count

    @staticmethod
    def remove_rows(
        path: Path, doomed: Callable[[pa.RecordBatch], np.ndarray], known: Callable[[str], bool]
    ) -> tuple[int, Path | None]:
        """Makes a file without some rows, beside the old one, which does not change.

        Args:
          path: one of the files.
          doomed: tells which rows of a batch, `[rows]` bool.
          known: tells whether a sha256 is that of a source that is in spans. Then the rows keep their place, without
            values, because rows are counted; else they go. A cursor's value becomes that of the row before.

        Returns:
          How many rows, and the new file; None where nothing changes, or no row is left.
        """
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            batches = list(file.iter_batches())
        mask = np.concatenate([doomed(batch) for batch in batches]) if batches else np.zeros(0, bool)
        if not mask.any() or mask.all():
            return int(mask.sum()), None
        table = pa.Table.from_batches(batches)
        if known(files.sha256(path)):
            cursor = json.loads((schema.metadata or {}).get(_META, b"{}")).get("cursor")
            place = np.maximum.accumulate(np.where(mask, -1, np.arange(len(mask))))
            place[place < 0] = np.flatnonzero(~mask)[0]
            columns = [
                values.take(pa.array(place))
                if name == cursor
                else pc.if_else(pa.array(mask), pa.scalar(None, values.type), values)
                for name, values in zip(table.column_names, table.columns, strict=True)
            ]
            table = pa.table(dict(zip(table.column_names, columns, strict=True)), schema)
        else:
            table = table.filter(pa.array(~mask))
        beside = files.staging(path.parent)
        pq.write_table(table, beside)
        return int(mask.sum()), beside

    @staticmethod
    def passed(folder: Path) -> list[Path]:
        """The files that no reading needs, if their rows are not needed: all before the cursor's last value."""
        paths = sorted(folder.glob("[0-9]*.parquet"))
        for i in range(len(paths) - 1, -1, -1):
            with pq.ParquetFile(files.fetched(paths[i])) as file:
                cursor = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}")).get("cursor")
                values = None if cursor is None else file.read(columns=[cursor]).column(0)
            if values is None or _folded(values[0].as_py()) != _folded(values[len(values) - 1].as_py()):
                return paths[:i]
        return []

    def _at_position(self, position: Any, names: list[str]) -> collections.Counter[bytes]:
        """The rows that were copied and have the cursor's last value: the database gives them again."""
        found: collections.Counter[bytes] = collections.Counter()
        for path in reversed(self.paths):
            with pq.ParquetFile(path) as file:
                for group in reversed(range(file.num_row_groups)):
                    if not set(names) <= set(file.schema_arrow.names):
                        return found
                    table = file.read_row_group(group, columns=names).select(names)
                    same = np.array([_folded(v) == _folded(position) for v in table[self.cursor].to_pylist()])
                    for row in table.filter(pa.array(same)).to_pylist():
                        found[_row_digest(row.values())] += 1
                    if not same.all():
                        return found
        return found

    def _kinds(self) -> dict[str, pa.DataType]:
        for path in self.paths[-1:]:
            with pq.ParquetFile(path) as file:
                return {field.name: field.type for field in file.schema_arrow}
        return {}

    def _check(self, path: Path) -> None:
        with pq.ParquetFile(path) as file:
            meta = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}"))
        if meta != self._meta:
            was, now = (", ".join(f"{k} {v!r}" for k, v in each.items()) for each in (meta, self._meta))
            raise DataError(
                f"the home folder holds rows that were read with {was}, and the config has {now}",
                where=self.folder,
                next_step="restore these settings of data.source, or name a new folder in `home`",
            )

    def _check_cursor(self, batch: pa.RecordBatch) -> None:
        index = batch.schema.get_field_index(self.cursor)
        if index < 0:
            raise DataError(
                f"the cursor column {self.cursor!r} is not in the result",
                where=f"{self.name}: columns {', '.join(batch.schema.names)}",
                next_step="name one of these columns in `cursor`",
            )
        kind = batch.column(index).type
        kinds = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_date, pa.types.is_string)
        if not any(is_kind(kind) for is_kind in kinds):
            raise DataError(
                f"the cursor column {self.cursor!r} must hold whole numbers, times or texts, got {kind}",
                where=self.name,
                next_step="name another column in `cursor`, such as an id or the time of the insert",
            )


def commit_columns(
    raw: Path,
    target: Path,
    columns: Mapping[str, str],
    keys: Mapping[str, Any],
    origin: Mapping[str, Any],
    names: Mapping[int | str, str] | None = None,
) -> None:
    """Writes the rows of a Parquet file of a table of many files as the table has them.

    Args:
      raw: the file.
      target: where it goes, complete.
      columns: the table's columns of simple types, with the names of their Arrow types. Those that the file does not
        have are added.
      keys: values of the columns that have one value for all rows; texts, or of the column's type. All others are
        missing.
      origin: where it came from, for the file's metadata.
      names: the table's name of a column in the file, by the field id there, or by the name if it has no id. Other
        columns are left out. None: each column has the name in the file.
    """
    writer: _File | None = None
    try:
        with pq.ParquetFile(raw) as file:
            given = file.schema_arrow
            there = {field.name: field.name for field in given}
            if names is not None:
                named = {field.name: names.get(_field_id(field) or field.name) for field in given}
                there = {name: new for name, new in named.items() if new is not None}
            more = {
                name: pa.type_for_alias(kind) for name, kind in columns.items() if name not in there.values()
            }
            values = [_value(keys.get(name), kind) for name, kind in more.items()]
            fields = [given.field(name).with_name(new) for name, new in there.items()]
            schema = pa.schema([*fields, *(pa.field(*each) for each in more.items())])
            writer = _File(target, schema, json.dumps(origin))
            for batch in file.iter_batches(columns=list(there)):
                kept = [batch.column(batch.schema.get_field_index(name)) for name in there]
                added = [pa.repeat(value, batch.num_rows) for value in values]
                writer.write(pa.RecordBatch.from_arrays([*kept, *added], schema=schema))
        writer.commit()
        writer = None
    finally:
        if writer is not None:
            writer.discard()


def _field_id(field: pa.Field) -> int | None:
    found = (field.metadata or {}).get(b"PARQUET:field_id")
    return int(found) if found is not None else None


def _value(value: Any, kind: pa.DataType) -> pa.Scalar:
    """A value as a table's log has it, in its type; an empty text means none."""
    if value in (None, ""):
        return pa.scalar(None, kind)
    return pa.array([value]).cast(kind)[0]


class _File:
    def __init__(self, path: Path, schema: pa.Schema, meta: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._beside = files.staging(path.parent)
        self.schema = schema
        self.rows = 0
        self._writer = pq.ParquetWriter(self._beside, schema.with_metadata({_META: meta.encode()}))

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_table(pa.Table.from_batches([batch]))
        self.rows += batch.num_rows

    def commit(self) -> None:
        self._writer.close()
        files.commit_file(self._beside, self._path)

    def discard(self) -> None:
        self._writer.close()
        self._beside.unlink(missing_ok=True)


def _batch(
    names: Sequence[str], rows: Sequence[Sequence[Any]], cursor: str, kinds: dict[str, pa.DataType]
) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    arrays = []
    for name, values in zip(names, columns, strict=True):
        array, before = _array(values, name == cursor), kinds.get(name)
        if before is not None and pa.types.is_null(array.type):
            array = pa.nulls(len(array), before)
        elif before == pa.float64() and array.type == pa.int64():
            array = array.cast(pa.float64(), safe=False)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, list(names))


def _array(values: Sequence[Any], is_cursor: bool) -> pa.Array:
    """Values as a database driver gives them, as a column of a flat table, if possible."""
    kinds = {type(value) for value in values}
    if any(issubclass(kind, decimal.Decimal) for kind in kinds):
        whole = is_cursor and all(value == int(value) for value in values)
        values = [_decimal(value, whole) for value in values]
    elif kinds & {dict, list, uuid.UUID, set, frozenset}:
        values = [_text(value) for value in values]
    elif timedelta in kinds:
        values = [value.total_seconds() if isinstance(value, timedelta) else value for value in values]
    elif memoryview in kinds:
        values = [bytes(value) if isinstance(value, memoryview) else value for value in values]
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        array = pa.array([_text(value) for value in values], pa.string())  # SQLite mixes kinds in a column
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", "UTC" if array.type.tz else None))
    return array


def _decimal(value: Any, whole: bool) -> Any:
    return value if not isinstance(value, decimal.Decimal) else int(value) if whole else float(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _without(batch: pa.RecordBatch, known: collections.Counter[bytes], names: list[str]) -> pa.RecordBatch:
    """The rows that are not known by these columns; each known one is taken off once."""
    keep = []
    for row in _rows(batch, names):
        digest = _row_digest(row)
        known[digest] -= 1
        keep.append(known[digest] < 0)
        if known[digest] < 1:
            del known[digest]
        if not known:
            break
    keep += [True] * (batch.num_rows - len(keep))
    return pa.RecordBatch.from_arrays([c.filter(pa.array(keep)) for c in batch.columns], batch.schema.names)


def _rows(batch: pa.RecordBatch, names: list[str]) -> Iterator[tuple[Any, ...]]:
    columns = [batch.column(batch.schema.get_field_index(name)) for name in names]
    for start in range(0, batch.num_rows, 1_000):
        yield from zip(*(column.slice(start, 1_000).to_pylist() for column in columns), strict=True)


def _row_digest(values: Iterable[Any]) -> bytes:
    """16 bytes that rows of the same values share; by their texts, as one column may be whole numbers in one batch only
    and texts in the next."""
    texts = "\x00".join(
        "\x01" if value is None else f"{value:.0f}" if _is_whole(value) else str(value) for value in values
    )
    return hashlib.blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _folded(value: Any) -> Any:
    """A database may take texts for equal that differ in case or in blanks at the end."""
    return value.rstrip().casefold() if isinstance(value, str) else value
