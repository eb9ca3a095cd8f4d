"""Wider types of columns and further classes of labels, after the first spans.

A file is read with the types that the spans have. Only where its values do not fit are its own types found, so a file
whose types are known is read once.
"""

import dataclasses
import shlex
from collections.abc import Collection, Sequence

from noria.core.errors import DataError
from noria.ingestion import conversion, tables
from noria.ingestion.calendar import Calendar
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.formats import Table, TextTable

Types = dict[str, ColumnType]


def asked(known: Types, config: Types) -> Types:
    """The types that the config asks for and that hold all values of the spans.

    Args:
      known: the spans' types.
      config: those of `data.types`.

    Raises:
      DataError: the config asks for a type that may not hold the spans' values.
    """
    grown = {}
    for name, column_type in config.items():
        old = known.get(name)
        if old is None or old == column_type:
            continue
        if conversion.unify(old, column_type) != column_type:
            raise DataError(
                f"column {name!r} has the type {old.name} in the spans, the config asks for {column_type.name}",
                where=f"data.types in the config ({name})",
                next_step=f"noria migrate {shlex.quote(f'{name}={column_type.name}')} changes the spans, and says "
                f"first which values would be lost; or set data.types back to {old.name}",
            )
        grown[name] = column_type
    return grown


def found(new: Sequence[Table], known: Types, bad: Collection[str]) -> Types:
    """The wider types of columns whose values did not fit.

    Args:
      new: the tables.
      known: the types they were read with.
      bad: columns with values that did not fit.
    """
    if not bad:
        return {}
    here = tables.columns_of(new, wanted=sorted(bad))
    wider = {name: conversion.unify(known[name], column_type) for name, column_type in here.items()}
    return {
        name: column_type
        for name, column_type in wider.items()
        if column_type is not None and column_type != known[name]
    }


def explained(error: DataError, new: Sequence[Table], known: Types, bad: Collection[str]) -> DataError:
    """The error of a refused file, with the step that lets a column change its type."""
    here = tables.columns_of(new, wanted=sorted(bad)) if bad else {}
    texts = [table.profiles for table in new if isinstance(table, TextTable)]
    if marks := {
        mark for profiles in texts for name in bad if name in profiles for mark in profiles[name].marks
    }:
        return DataError(
            error.what,
            where=error.where,
            next_step=f'if {", ".join(map(repr, sorted(marks)))} means "missing", add it to data.missing in the '
            f"config; else {error.next_step}",
        )
    other = [
        (name, column_type)
        for name, column_type in here.items()
        if column_type not in (known[name], conversion.named("empty"))
    ]
    if not other:
        return error
    name, column_type = other[0]
    if known[name].is_time:
        way = f"if the times in {name!r} are written in another way from now on, set data.types in the config to "
        way += f"{{{name}: 'time(FORMAT)'}}, with FORMAT such as %d.%m.%Y; ISO 8601 is read beside it"
    else:
        way = f"if {name!r} is {column_type.label} from now on: noria migrate "
        way += f"{shlex.quote(f'{name}={column_type.name}')}, which first lists the values that would be lost"
    return DataError(error.what, where=error.where, next_step=f"{error.next_step}; or, {way}")


def classes(known: Calendar, wanted: Sequence[str]) -> Calendar:
    """The calendar with the config's classes, which may follow those of the spans.

    Raises:
      DataError: a class of the spans has another number in the config, or none.
    """
    if tuple(wanted[: len(known.classes)]) != known.classes:
        raise DataError(
            f"the spans number the classes {list(known.classes)}, the config says {list(wanted)}",
            where="label.classes in the config",
            next_step="keep these classes first, in this order, and put new ones at the end: "
            f"{[*known.classes, *(each for each in wanted if each not in known.classes)]}",
        )
    return dataclasses.replace(known, classes=tuple(wanted))


def other_times(error: DataError) -> DataError:
    """The error of a file with times that cannot be read, with the step that names their format."""
    return DataError(
        error.what,
        where=error.where,
        next_step="give the format in time.format in the config, such as '%d/%m/%Y %H:%M' (ISO 8601 is read "
        f"beside it); else {error.next_step}",
    )


def unknown_class(error: DataError, known: Sequence[str], task: str) -> DataError:
    """The error of a file with labels that are not classes, with the step that adds one, or takes them for missing."""
    step = f"if it is a new class, put it at the end of label.classes in the config, after {list(known)}; "
    return DataError(
        error.what,
        where=error.where,
        next_step=f"{step if task == 'multiclass' else ''}if such rows have no label, add the word to data.missing; "
        f"else {error.next_step}",
    )
