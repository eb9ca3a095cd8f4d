"""Which type a column has, and its conversion to it."""

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion.arrow_values import blank, decoded
from noria.ingestion.column_types import COLUMN_TYPES, time_format
from noria.ingestion.column_types._numbers import LARGEST
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import MISSING_NUMBER, PLAIN, NumberFormat


def named(name: str, folder: Path | None = None) -> ColumnType:
    """The column type of a name such as `int`, or of an import path.

    Args:
      name: as in `data.types`, such as `int` or `time(%d.%m.%Y)`.
      folder: the project's folder, in which an import path is searched.

    Raises:
      ConfigError: there is no such type.
    """
    own = time_format(name) is not None or "." not in name
    return _own(name) if own else COLUMN_TYPES.find(name, folder)(name)


def resolved(names: Mapping[str, str], folder: Path | None = None) -> dict[str, ColumnType]:
    """The types of columns by the types' names; see `named`."""
    return {column: named(name, folder) for column, name in names.items()}


@functools.cache
def known() -> tuple[ColumnType, ...]:
    """Noria's own types."""
    return tuple(_own(name) for name in COLUMN_TYPES.names())


@functools.cache
def _own(name: str) -> ColumnType:
    return COLUMN_TYPES.find(name)(name)


def of_arrow(arrow_type: pa.DataType) -> ColumnType | None:
    """The type of a typed (Parquet, pandas) column; None for lists, structs and the like."""
    if pa.types.is_dictionary(arrow_type):
        return of_arrow(arrow_type.value_type)
    return next((each for each in known() if each.holds(arrow_type)), None)


def unify(first: ColumnType, second: ColumnType) -> ColumnType | None:
    """The type that holds the values of both without loss; None if there is none."""
    empty = named("empty")
    if empty in (first, second):
        return first if second == empty else second
    if _is_time(first) and _is_time(
        second
    ):  # one type, whose format may change: ISO 8601 is read beside each
        return second if time_format(second.name) else first
    others = (second.name, *second.widens_to)
    common = [name for name in (first.name, *first.widens_to) if name in others]
    if not common:
        return None
    return {first.name: first, second.name: second}.get(common[0]) or named(common[0])


def _is_time(column_type: ColumnType) -> bool:
    return column_type.name == "time" or time_format(column_type.name) is not None


def refusal(value: str | None, expected: str) -> str:
    """Why a value is a bad one, for messages.

    Args:
      value: its text.
      expected: the label of what it should be.
    """
    if value is not None and expected == named("float").label:
        with contextlib.suppress(ValueError):
            if abs(float(value.replace(",", "."))) > LARGEST:
                return f"{value!r} is beyond float32, in which models compute"
    return f"{value!r} is not {expected}"


def stored(column_type: ColumnType) -> pa.DataType:
    """The Arrow type by which the event table holds a column."""
    return pa.type_for_alias(column_type.storage)


def convert(
    values: pa.Array, column_type: ColumnType, form: NumberFormat = PLAIN
) -> tuple[pa.Array, np.ndarray]:
    """Converts a column to how the event table holds `column_type`.

    Args:
      values: `[rows]`, text (missing ones as null or a text that means it) or typed.
      column_type: the column's type.
      form: how numbers are written in text.

    Returns:
      The values as `stored(column_type)`, `[rows]`, and a mask of those that are not of this type, which are null.
    """
    values, unreadable = decoded(values)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), stored(column_type)), unreadable
    if pa.types.is_string(values.type):
        trimmed = pc.utf8_trim_whitespace(values)
        if column_type.missing is None:
            values = trimmed
        missing = MISSING_NUMBER if column_type.missing is None else column_type.missing
        values = blank(values, pc.is_in(trimmed, value_set=pa.array(missing)))
        read, bad = column_type.from_text(values, form)
        return read, bad | unreadable
    try:
        return column_type.from_arrow(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(values), stored(column_type)), np.asarray(values.is_valid())
