"""From rows as somebody wrote them to events: coded label, time in seconds, one schema."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from noria.core import periods
from noria.core.errors import DataError
from noria.core.tasks import DEFAULT_TASK
from noria.ingestion import calendar, conversion, times
from noria.ingestion.column_types import EXCEL
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.dead_letters import MAX_BAD_SHARE, DeadLetters
from noria.ingestion.formats import Rows, text_at
from noria.ingestion.labels import Labels
from noria.ingestion.number_formats import PLAIN

# Clocks differ, and time zones may be missing: a row may be this many seconds in the future. One row of the year 2031
# among this year's would make span 6695, permanently the newest one.
FUTURE_SECONDS = periods.DAY
# 1901-01-01. Databases and spreadsheets write 0001-01-01, 1753-01-01, 1899-12-30 or 1900-01-01 where they know of no
# time; one such row in the first file would be span 1 permanently. Years and months without a day are no such entries.
PAST = -2_177_452_800


@dataclasses.dataclass(frozen=True)
class EventSettings:
    """How rows become events.

    Attributes:
      label: the label column.
      task: `binary`, `multiclass` or `regression`.
      classes: the label's values by class index; found in the data if None.
      time: the time column; None: rows are in file order.
      every: a period (`noria.core.periods.length`), or `rows:N`.
      columns: the columns to keep, besides label and time; None: all. All of them must be there.
      types: types of columns that are not to be inferred, by name or import path.
      missing: further texts that mean "missing", such as `?`.
      time_format: `strptime` format of the time column, where it is neither ISO 8601 nor a number; `excel` for days as
        Excel counts them.
      delimiter: of CSV files; found in them if None.
      encoding: of text files, a Python codec; found in them if None.
      decimal: the decimal sign of numbers in text; found in them if None.
      header: the columns' names, where CSV files have no line with them.
      max_bad_share: share of a file's rows that may be unreadable (0 to 1).
      folder: the project's folder, in which import paths of `types` are searched.
    """

    label: str
    task: str = DEFAULT_TASK
    classes: tuple[str | int | float | bool, ...] | None = None
    time: str | None = None
    every: str = periods.DEFAULT_LENGTH
    columns: tuple[str, ...] | None = None
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = ()
    time_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: tuple[str, ...] = ()
    max_bad_share: float = MAX_BAD_SHARE
    folder: Path | None = None

    def __post_init__(self) -> None:
        rows = calendar.rows_per_span(self.every)
        if self.time is None and rows is None:
            raise DataError(
                f"spans by time ({self.every}) need a time column",
                where="time.column in the config",
                next_step="name the time column, or set `span.every` to rows:N (such as rows:5000)",
            )
        if self.time == self.label:
            raise DataError(f"column {self.label!r} cannot be both the label and the time")

    @property
    def wanted(self) -> list[str] | None:
        """The columns to read, label and time included; None: all."""
        if self.columns is None:
            return None
        extra = [name for name in (self.time, self.label) if name is not None]
        return list(dict.fromkeys([*self.columns, *extra]))

    @property
    def time_label(self) -> str:
        """What a value of the time column is, for messages."""
        return f"a time (format {self.time_format})" if self.time_format else conversion.named("time").label

    @property
    def as_it_is(self) -> tuple[str, ...]:
        """The columns that are interpreted here and not by their type."""
        return tuple(name for name in (self.time, self.label) if name is not None)


def has_days(time_format: str | None) -> bool:
    """Whether times of this format, or of none, may be days that a database writes where it knows of no time."""
    return time_format in (None, EXCEL) or times.NAMES_DAY.search(time_format) is not None


def schema_of(columns: Mapping[str, ColumnType], settings: EventSettings) -> pa.Schema:
    """The event table's schema for columns of these types."""
    fields = {name: conversion.stored(column_type) for name, column_type in columns.items()}
    fields[settings.label] = pa.float64() if settings.task == "regression" else pa.int64()
    if settings.time is not None:
        fields[settings.time] = pa.int64()
    return pa.schema(list(fields.items()))


def events(
    rows: Iterable[Rows], settings: EventSettings, labels: Labels, letters: DeadLetters, now: float
) -> Iterator[Rows]:
    """Reads time and label of each row; buries those without a readable time, of the future or of the far past, or
    with an unknown label.

    Args:
      rows: from `tables.read`.
      settings: the settings.
      labels: observes the labels; they leave here as words, since the classes may not be settled yet.
      letters: gets the bad rows.
      now: epoch seconds; rows of more than FUTURE_SECONDS later have a wrong time.

    Yields:
      The rows that are left; the time column in int64 epoch seconds, without nulls.
    """
    for part in rows:
        arrays = dict(zip(part.batch.schema.names, part.batch.columns, strict=True))
        bad = np.zeros(part.batch.num_rows, bool)
        if settings.time is not None:
            raw = arrays[settings.time]
            arrays[settings.time], wrong = times.parse(raw, settings.time_format)
            missing = ~np.asarray(arrays[settings.time].is_valid()) & ~wrong
            _reject(part, wrong, settings.time, raw, f"is not {settings.time_label}", letters)
            _reject(part, missing, settings.time, raw, "the time is missing", letters)
            seconds = np.asarray(arrays[settings.time].fill_null(0))
            future = ~(wrong | missing) & (seconds > now + FUTURE_SECONDS)
            today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
            reason = f"is in the future, by more than a day (now it is {today:%Y-%m-%dT%H:%MZ})"
            _reject(part, future, settings.time, raw, reason, letters)
            past = ~(wrong | missing) & (seconds < PAST) & has_days(settings.time_format)
            _reject(part, past, settings.time, raw, "is before 1901", letters)
            bad |= wrong | missing | future | past
        raw = arrays[settings.label]
        form = part.table.number_format(settings.label) if settings.task == "regression" else PLAIN
        arrays[settings.label], wrong = labels.normalise(raw, form)
        _reject(part, wrong & ~bad, settings.label, raw, None, letters, labels.expected)
        bad |= wrong
        yield part.filter(~bad, list(arrays.values()))


def code_labels(tables: Iterable[pa.Table], column: str, labels: Labels) -> Iterator[pa.Table]:
    """Turns the words of the label column into classes."""
    for table in tables:
        index = table.column_names.index(column)
        yield table.set_column(index, column, labels.code(one_array(table.column(index))))


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A table's column as one array."""
    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _reject(
    part: Rows,
    bad: np.ndarray,
    column: str,
    raw: pa.Array,
    reason: str | None,
    letters: DeadLetters,
    expected: str = "",
) -> None:
    """Buries rows: with what is wrong about the value, or, where `reason` is None, with what it should be."""
    for i in map(int, np.flatnonzero(bad)):
        value = text_at(raw, i)
        if reason is None:
            text = conversion.refusal(value, expected)
        else:
            text = reason if value is None else f"{value!r} {reason}"
        letters.add(part.table.name, int(part.numbers[i]), part.text(i), text, column, value)
