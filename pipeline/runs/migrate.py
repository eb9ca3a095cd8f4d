"""Changes the types of columns in all spans: spans, models and history stay."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from noria.core.errors import ConfigError
from noria.core.locks import hold
from noria.ingestion import conversion
from noria.ingestion.calendar import Calendar
from noria.ingestion.column_types.base import ColumnType
from noria.pipeline.config import Config
from noria.pipeline.runs.ingest import follow
from noria.stores import retyping
from noria.stores.spans import SpanStore

SHOWN = 3  # values of a column that are given as examples


@dataclasses.dataclass
class ColumnChange:
    """What a new type means for one column.

    Attributes:
      column: its name.
      old, new: names of its types.
      values: how many values the spans hold.
      lost: how many of them the new type does not hold; they are read as missing, or as the nearest number.
      spans: ids of the spans with such values.
      examples: some of them.
    """

    column: str
    old: str
    new: str
    values: int = 0
    lost: int = 0
    spans: list[int] = dataclasses.field(default_factory=list)
    examples: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Migration:
    """What a migration does, and whether it is done; `notes` says what changed beside the spans."""

    changes: list[ColumnChange]
    done: bool
    notes: list[str]


def migrate(config: Config, types: Mapping[str, str], *, accept_loss: bool = False) -> Migration:
    """Lets columns of all spans be read in new types. The files of the spans do not change: a type can be set back.

    Args:
      config: the project's settings.
      types: column -> name of its new type.
      accept_loss: do it although values would be lost; else nothing is changed then.

    Raises:
      ConfigError: there is no span, no such column or type, or the column is the label or the time.
      LockedError: a run holds the project.
    """
    with hold(config.home_path):
        store = SpanStore(config.home_path)
        known = Calendar.load(store)
        if known is None:
            raise ConfigError(
                "there are no spans yet, so there is nothing to change",
                where=store.folder,
                next_step="set data.types in the config; the first run uses it",
            )
        new = conversion.resolved(types, config.folder)
        _check(known, types)
        old = known.types(config.folder)
        changes = [_change(store, name, old[name], kind) for name, kind in new.items()]
        if any(change.lost for change in changes) and not accept_loss:
            return Migration(changes, False, [])
        store.retype({name: conversion.stored(kind) for name, kind in new.items()})
        dataclasses.replace(known, columns={**known.columns, **types}).save(store)
        return Migration(changes, True, follow(config, store))


def _check(known: Calendar, types: Mapping[str, str]) -> None:
    for name in types:
        if name in (known.label, known.time):
            raise ConfigError(
                f"{name!r} is the {'label' if name == known.label else 'time'}, which has no type of a column",
                where="noria migrate",
                next_step="new classes go to the end of label.classes; time.format says how times are written",
            )
        if name not in known.columns:
            raise ConfigError(
                f"the spans have no column {name!r}, only: {', '.join(known.columns)}",
                where="noria migrate",
                next_step="name one of these columns",
            )


def _change(store: SpanStore, name: str, old: ColumnType, new: ColumnType) -> ColumnChange:
    change = ColumnChange(name, old.name, new.name)
    target = conversion.stored(new)
    for span in store.ids():
        for batch in store.read(span, [name], as_written=True):
            values = batch.column(0)
            lost = np.flatnonzero(retyping.lost(values, target))
            change.values += len(values) - values.null_count
            change.lost += len(lost)
            if len(lost) and span not in change.spans:
                change.spans.append(span)
            change.examples += [str(values[int(i)].as_py()) for i in lost[: SHOWN - len(change.examples)]]
    return change
