"""The rows of a file as a model takes them. They are read as the project's events are, so training and requests have
the same values.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from noria.core.errors import DataError
from noria.ingestion import conversion, tables, times
from noria.ingestion.calendar import Calendar
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.events import EventSettings
from noria.ingestion.formats import Table, TextTable, text_at

__all__ = ["read"]

# The column types of TensorFlow's types; all others are whole numbers.
_FLOATS = dict.fromkeys(("half", "bfloat16", "float", "double"), "float")
_TYPES = {"string": "string", "bool": "bool", **_FLOATS}
_EMPTY = conversion.named("empty")


def read(
    source: Any,
    size: int,
    inputs: Mapping[str, str] | None = None,
    settings: EventSettings | None = None,
    calendar: Calendar | None = None,
) -> Iterator[dict[str, list[Any]]]:
    """Reads a file for a model.

    Args:
      source: as in `tables.open_tables`.
      size: rows that are given together, at most.
      inputs: the columns that the model takes, and TensorFlow's names of their types; None for all that are there.
      settings: how the project's files are written; None: it is found in the file.
      calendar: what the project's spans hold, if there are any.

    Yields:
      Values by column, `[rows]` each: int, float or str; None where one is missing.

    Raises:
      DataError: the file cannot be read, lacks a column, or has a value that is not of the column's type.
    """
    given: dict[str, Any] = {}
    if settings is not None:
        given = {
            "delimiter": settings.delimiter,
            "encoding": settings.encoding,
            "missing": settings.missing,
            "decimal": settings.decimal,
            "header": settings.header,
        }
    found = tables.open_tables(source, **given)
    if calendar is not None:
        for table in found:
            if isinstance(table, TextTable):
                table.assume_formats(calendar.formats())
    names = list(inputs) if inputs is not None else _names(found[0], settings, calendar)
    time = settings.time if settings is not None and settings.time in names else None
    as_it_is = [time] if time is not None else []
    for table in found:
        for name in names:
            if name not in table.columns and not table.may_lack_columns:
                raise DataError(
                    f"the model needs the column {name}; the file has {', '.join(table.columns)}",
                    where=table.name,
                    next_step="give the file this column; its cells may be empty",
                )
    columns = tables.columns_of(found, wanted=names, types=_known(settings, calendar), as_it_is=as_it_is)
    if inputs is not None:
        columns = {name: _as_input(each, inputs[name]) for name, each in columns.items()}
    missing = settings.missing if settings is not None else ()
    letters = _Refusal(settings)
    for part in tables.read(found, columns, letters, as_it_is=as_it_is, missing=missing):
        arrays = dict(zip(part.batch.schema.names, part.batch.columns, strict=True))
        if time is not None:
            assert settings is not None
            raw = arrays[time]
            arrays[time], wrong = times.parse(raw, settings.time_format)
            for row in map(int, np.flatnonzero(wrong)[:1]):
                value = text_at(raw, row)
                reason = f"{value!r} is not {settings.time_label}"
                letters.add(part.table.name, int(part.numbers[row]), part.text(row), reason, time, value)
        for start in range(0, part.batch.num_rows, size):
            yield {name: values.slice(start, size).to_pylist() for name, values in arrays.items()}


def _names(table: Table, settings: EventSettings | None, calendar: Calendar | None) -> list[str]:
    """The columns of a file that a model may read: the project's without the label, or all."""
    label = settings.label if settings is not None else None
    return [
        name for name in table.columns if name != label and (calendar is None or name in calendar.columns)
    ]


def _known(settings: EventSettings | None, calendar: Calendar | None) -> dict[str, ColumnType]:
    """The types of the project's columns, as far as it has said them."""
    folder = settings.folder if settings is not None else None
    types = conversion.resolved(settings.types, folder) if settings is not None else {}
    types |= calendar.types(folder) if calendar is not None else {}
    return {name: each for name, each in types.items() if each != _EMPTY}


def _as_input(column_type: ColumnType, dtype: str) -> ColumnType:
    """The type by which a column is read for an input: its own, if that is stored as the model takes it."""
    wanted = conversion.named(_TYPES.get(dtype, "int"))
    # A column may have got a wider type since the model was trained.
    return column_type if column_type != _EMPTY and _kind(column_type) == _kind(wanted) else wanted


def _kind(column_type: ColumnType) -> str:
    return column_type.storage.rstrip("0123456789")


class _Refusal(DeadLetters):
    """Each row gets an answer: the first one that cannot be read ends the reading."""

    def __init__(self, settings: EventSettings | None):
        super().__init__(None, "rows", "")
        self._settings = settings

    def add(
        self, file: str, row: int, raw: str, reason: str, column: str | None = None, value: str | None = None
    ) -> None:
        step = "correct the file"
        if self._settings is None:
            step += "; or name the project by --config: its noria.yaml says how its files are written"
        elif column is not None and column == self._settings.time:
            step += ", or `time.format` in noria.yaml"
        raise DataError(
            f"row {row}{f', column {column!r}' if column else ''}: {reason}",
            where=f"{file} (rows count from 1 after the header)",
            next_step=step,
        )
