"""The calendar: which period is which span, and what else the first ingestion settled for all later ones."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from noria.core import files, periods
from noria.core.errors import DataError, SpanError
from noria.ingestion import conversion
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat
from noria.stores.spans import SpanStore


@dataclasses.dataclass(frozen=True)
class Calendar:
    """What a span store was laid out by: span ids, columns and classes must keep their meaning.

    Two things may change (see widening.py): a column gets a wider type, and further classes follow the known ones.

    Attributes:
      every: a period (`noria.core.periods.length`), or `rows:N`.
      first: number of the period that is span 1; None for `rows:N`.
      time: the time column, or None.
      label: the label column.
      task: what the label is.
      classes: its classes by index.
      columns: column -> name of its type, in the order of the event table.
      number_formats: column -> decimal sign and thousands separator, where numbers in text are not written 1234.5.
    """

    every: str
    first: int | None
    time: str | None
    label: str
    task: str
    classes: tuple[str, ...]
    columns: dict[str, str]
    number_formats: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, store: SpanStore) -> "Calendar | None":
        """The store's calendar; None for an empty store. A lost file is read out of the newest manifest.

        Raises:
          SpanError: the file is damaged, or the spans were not laid out by `ingest`.
        """
        ids = store.ids()
        if not ids:
            return None
        path = _path(store)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            values = store.manifest(ids[-1]).extra.get("calendar")
        except (OSError, ValueError) as error:
            raise SpanError(
                f"the calendar of the spans cannot be read: {error}",
                where=path,
                next_step="delete it; it is then read from the newest span",
            ) from error
        if values is None:
            raise SpanError(
                "the spans were not made by time or by rows, so no file can be added to them",
                where=store.folder,
                next_step="commit further spans the way these were committed",
            )
        values["classes"] = tuple(values["classes"])
        return cls(**values)

    def save(self, store: SpanStore) -> None:
        """Writes `spans/calendar.json` in one step."""
        files.write_json(_path(store), self.to_json())

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def types(self, folder: Path | None = None) -> dict[str, ColumnType]:
        """The columns' types; a user's own are imported from the project's folder."""
        return conversion.resolved(self.columns, folder)

    def formats(self) -> dict[str, NumberFormat]:
        """How numbers are written in text, where it is not the plain way."""
        return {name: NumberFormat(*form) for name, form in self.number_formats.items()}

    def check(self, **asked: Any) -> None:
        """Compares the settings of a later ingestion.

        Raises:
          DataError: the config asks for something else than the spans were laid out by.
        """
        for name, value in asked.items():
            if value != getattr(self, name):
                raise DataError(
                    f"the spans were made with {name} {getattr(self, name)!r}, the config says {value!r}",
                    where=f"span.every, time.column, label or task in the config ({name})",
                    next_step=f"set it back to {getattr(self, name)!r}; to use {value!r}, name another folder as "
                    "`home`, which the next run fills from the source; the old one keeps its spans and models",
                )

    def span_of(self, periods: np.ndarray) -> np.ndarray:
        """Period numbers -> span ids."""
        return periods - self.first + 1


def rows_per_span(every: str) -> int | None:
    """N of `rows:N`; None for periods of time.

    Raises:
      ConfigError: a part of an hour that is not possible.
      DataError: neither a period nor `rows:N`.
    """
    if periods.length(every):
        return None
    kind, _, count = every.partition(":")
    if kind == "rows" and count.isdigit() and int(count):
        return int(count)
    raise DataError(
        f"span.every must be {periods.CHOICES}, or rows:N, got {every!r}",
        next_step="write `every: week`, or `rows:5000`",
    )


def _path(store: SpanStore) -> Path:
    return store.folder / "calendar.json"
