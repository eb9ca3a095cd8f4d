"""From messages to typed rows; one bad event is found and named.

The format reads some hundred events together, which is fast: all calls are in C, and the values of so few events stay
in the processor's cache until they are in Arrow's columns. If one of them is bad it refuses all; then they are read one
by one.
"""

import base64
import dataclasses
import json
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from noria.core.errors import DataError
from noria.ingestion import conversion, tables
from noria.ingestion.calendar import Calendar
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.event_formats.base import EventFormat
from noria.ingestion.event_formats.json import Json
from noria.ingestion.events import EventSettings, events
from noria.ingestion.formats import MemoryTable
from noria.ingestion.labels import Labels
from noria.ingestion.streams.base import Messages

__all__ = ["Decoded", "Decoder", "columns_of", "infer_columns", "kind_of", "kinds_of"]

FIRST = 1_000  # events from which the columns are inferred
TOGETHER = 500  # events that a format reads at once: with 250 to 1,000 it takes the least time
PARTITION, OFFSET = "noria.partition", "noria.offset"
# What a CloudEvent's envelope has beside its data, as columns.
ENVELOPE = {
    "ce_id": "id",
    "ce_source": "source",
    "ce_type": "type",
    "ce_subject": "subject",
    "ce_time": "time",
}
# Types of columns that a format checks; those of other types are read from text.
_CHECKED = ("int", "float", "bool", "time")
_ARROW = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What messages became.

    Attributes:
      rows: the columns of the events, and `noria.partition` and `noria.offset`. The time is int64 epoch seconds, the
        label a word (a number for regression).
      letters: dead letters: `partition`, `offset`, `time`, `reason`, and `value` or `base64`.
    """

    rows: pa.RecordBatch
    letters: list[dict[str, Any]]


class Decoder:
    """Decodes events of one shape.

    Attributes:
      columns: column -> name of its type.

    Args:
      columns: column -> name of its type; label and time are read with any type.
      settings: how rows become events.
      classes: the classes of the label, where they are known.
      cloudevents: whether events are in CloudEvents envelopes.
      most_bytes: a larger event is a dead letter.
      form: the format of the events; None: JSON.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        settings: EventSettings,
        classes: Sequence[Any] | None = None,
        cloudevents: bool = False,
        most_bytes: int = 1 << 20,
        form: EventFormat | None = None,
    ):
        self._settings = settings
        self.columns = dict(columns)
        self._types = conversion.resolved(columns, settings.folder)
        self._labels = Labels(settings.label, settings.task, classes)
        self._most = most_bytes
        self._cloudevents = cloudevents
        self._format = form or Json()
        self._inside = {
            name: self._wanted(name) for name in self.columns if not (cloudevents and name in ENVELOPE)
        }
        self._format.begin(self._inside)
        if cloudevents:
            outside = [
                (f"e_{name}", str, msgspec.field(name=name))
                for name in ("specversion", "id", "source", "type")
            ]
            optional = [
                (f"e_{name}", str | None, msgspec.field(name=name, default=None))
                for name in ("subject", "time", "data_base64")
            ]
            envelope = msgspec.defstruct(
                "CloudEvent",
                [*outside, *optional, ("data", msgspec.Raw, msgspec.Raw(b""))],
            )
            self._envelope = msgspec.json.Decoder(envelope).decode

    @property
    def stored(self) -> dict[str, pa.DataType]:
        """How rows hold the columns, without time and label."""
        special = self._settings.as_it_is
        return {name: conversion.stored(kind) for name, kind in self._types.items() if name not in special}

    def decode(self, messages: Messages, now: float) -> Decoded:
        """Decodes messages.

        Args:
          messages: of one partition.
          now: epoch seconds; events of more than a day later have a wrong time.
        """
        letters: list[dict[str, Any]] = []
        columns, at = self._read(messages, letters)
        rows, bad = self._typed(columns, now)
        for row, reason in bad:
            letters.append(letter(messages, int(at[row]), reason))
        kept = at[np.asarray(rows.column(rows.num_columns - 1))]
        offsets = np.array(messages.offsets, np.int64)[kept] if len(kept) else np.zeros(0, np.int64)
        arrays = [
            *rows.columns[:-1],
            pa.array(np.full(len(kept), messages.partition, np.int32)),
            pa.array(offsets),
        ]
        batch = pa.RecordBatch.from_arrays(arrays, [*self.columns, PARTITION, OFFSET])
        letters.sort(key=operator.itemgetter("offset"))
        return Decoded(batch, letters)

    def _read(self, messages: Messages, letters: list[dict[str, Any]]) -> tuple[list[pa.Array], np.ndarray]:
        """The events by column, and the position of each among the messages. Tombstones have none."""
        parts: list[list[pa.Array]] = []
        positions: list[int] = []
        for begin in range(0, len(messages.values), TOGETHER):
            some = range(begin, min(begin + TOGETHER, len(messages.values)))
            columns, at = self._read_some(messages, some, letters)
            if at:
                parts.append([self._array(*each) for each in zip(self.columns, columns, strict=True)])
                positions += at
        arrays = [_joined(column) for column in zip(*parts, strict=True)]
        return arrays or [self._array(name, ()) for name in self.columns], np.array(positions, np.int64)

    def _read_some(
        self, messages: Messages, some: Sequence[int], letters: list[dict[str, Any]]
    ) -> tuple[Sequence[Sequence[Any]], Sequence[int]]:
        """The values of the events at some positions, by column, and the positions without tombstones."""
        if not self._cloudevents:
            try:
                return self._read_together(messages, some)
            except (ValueError, TypeError, RecursionError):
                pass  # one by one, to find which
        good: list[tuple[Any, ...]] = []
        positions: list[int] = []
        read = self._enveloped if self._cloudevents else self._alone
        for i in some:
            value = messages.values[i]
            if value is None:
                continue
            try:
                if len(value) > self._most:
                    raise ValueError(f"the event has {len(value):,} bytes, more than {self._most:,}")
                headers = messages.headers[i] if messages.headers is not None else {}
                good.append(read(value, headers))
                positions.append(i)
            except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                letters.append(letter(messages, i, str(error)))
        return list(zip(*good, strict=True)), positions

    def _read_together(
        self, messages: Messages, some: Sequence[int]
    ) -> tuple[Sequence[Sequence[Any]], Sequence[int]]:
        """Events that are all good.

        Raises:
          ValueError: one of them is bad or too large.
        """
        values: Any = messages.values[some[0] : some[-1] + 1]
        if None in values:
            some = [i for i in some if messages.values[i] is not None]
            values = [value for value in values if value is not None]
        if not values:
            return [], some
        if max(map(len, values)) > self._most:
            raise ValueError("an event is too large")
        return self._format.together(values), some

    def _alone(self, value: bytes, headers: Mapping[str, bytes]) -> tuple[Any, ...]:
        return tuple(self._format.one(value))

    def _enveloped(self, value: bytes, headers: Mapping[str, bytes]) -> tuple[Any, ...]:
        """A CloudEvent in structured mode (all in the value) or in binary mode (the envelope in the headers)."""
        if "ce_specversion" in headers:
            envelope = {name: headers[name].decode() for name in ENVELOPE if name in headers}
            missing = [name for name in ("ce_id", "ce_source", "ce_type") if name not in envelope]
            if missing:
                raise ValueError(f"a CloudEvent must have the header {missing[0]}")
            values = self._format.one(value)
        else:
            outer: Any = self._envelope(value)
            inner = bytes(outer.data)
            if inner in (b"", b"null") and outer.e_data_base64 is None:
                raise ValueError("a CloudEvent must have data")
            if outer.e_data_base64 is not None:
                inner = base64.b64decode(outer.e_data_base64, validate=True)
            values = self._format.one(inner)
            envelope = {name: getattr(outer, f"e_{part}") for name, part in ENVELOPE.items()}
        found = dict(zip(self._inside, values, strict=True))
        return tuple(envelope.get(name) if name in ENVELOPE else found[name] for name in self.columns)

    def _typed(self, columns: Sequence[pa.Array], now: float) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        """The rows as events, with a last column that says which of the values each is; and what is wrong with
        others."""
        table = MemoryTable(pa.Table.from_arrays(columns, list(self.columns)), "stream")
        letters = _Letters()
        settings, types = self._settings, dict(self._types)
        parts = tables.read([table], types, letters, as_it_is=settings.as_it_is, missing=settings.missing)
        found, numbers = [], []
        for part in events(parts, settings, self._labels, letters, now):
            found.append(part.batch)
            numbers.append(part.numbers - 1)
        if not found:
            empty = self._typed_schema()
            return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in empty], empty.names), letters.bad
        row = pa.array(np.concatenate(numbers))
        batch = pa.Table.from_batches(found).combine_chunks().to_batches()
        only = batch[0] if batch else found[0].slice(0, 0)
        return pa.RecordBatch.from_arrays([*only.columns, row], [*self.columns, "row"]), letters.bad

    def _typed_schema(self) -> pa.Schema:
        fields = {name: conversion.stored(column_type) for name, column_type in self._types.items()}
        settings = self._settings
        fields[settings.label] = pa.float64() if settings.task == "regression" else pa.string()
        if settings.time is not None:
            fields[settings.time] = pa.int64()
        return pa.schema([*fields.items(), ("row", pa.int64())])

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        kind = self.columns[name]
        if kind in _ARROW and name not in self._settings.as_it_is:
            return pa.array(values, _ARROW[kind])
        try:
            return pa.array(values, pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            types = set(map(type, values)) - {type(None)}
            if types == {int}:
                return pa.array(values, pa.int64())
            # Texts and numbers may be mixed; Noria reads both from text.
            return pa.array([_text(value) for value in values], pa.string())

    def _wanted(self, name: str) -> str:
        """What the format is told about a column."""
        if name == self._settings.label:
            return "any"
        kind = "time" if name == self._settings.time else self.columns[name]
        return kind if kind in _CHECKED else "any"


class _Letters(DeadLetters):
    """Remembers the bad rows and writes nothing."""

    def __init__(self) -> None:
        super().__init__(None, "stream", "")
        self.bad: list[tuple[int, str]] = []

    def add(
        self, file: str, row: int, raw: str, reason: str, column: str | None = None, value: str | None = None
    ) -> None:
        said = reason if column is None else f"column {column!r}: {reason}"
        if not any(row - 1 == known for known, _ in self.bad[-8:]):
            self.bad.append((row - 1, said))


def letter(messages: Messages, i: int, reason: str) -> dict[str, Any]:
    """The dead letter of one message."""
    value = messages.values[i] or b""
    found: dict[str, Any] = {
        "partition": messages.partition,
        "offset": messages.offsets[i],
        "time": messages.times[i],
        "reason": reason,
    }
    try:
        found["value"] = value.decode()
    except UnicodeDecodeError:
        found["base64"] = base64.b64encode(value).decode()
    if messages.headers is not None and messages.headers[i]:
        found["headers"] = {
            name: text.decode("utf-8", "replace") for name, text in messages.headers[i].items()
        }
    return found


def kinds_of(
    messages: Sequence[Messages], cloudevents: bool = False, form: EventFormat | None = None
) -> dict[str, set[str]]:
    """The kinds of values that each field of events has; `null` for none, and empty for an object or a list.

    Args:
      messages, cloudevents, form: as of `infer_columns`; of messages of one partition, the first 1,000 are read.
    """
    found: dict[str, set[str]] = {}
    form = form or Json()
    for batch in messages:
        for i, value in enumerate(batch.values[:FIRST]):
            try:
                if cloudevents and not (batch.headers and "ce_specversion" in batch.headers[i]):
                    outer = json.loads(value or b"")
                    coded = outer.get("data_base64")
                    event = outer["data"] if coded is None else form.event(base64.b64decode(coded))
                else:
                    event = form.event(value or b"")
                for name, each in event.items():
                    found.setdefault(name, set()).add(_type_of(each))
            except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
                continue
    return found


def infer_columns(
    messages: Sequence[Messages],
    settings: EventSettings,
    types: Mapping[str, str],
    cloudevents: bool = False,
    form: EventFormat | None = None,
) -> dict[str, str]:
    """The columns of a stream and the names of their types, from its first events.

    Args:
      messages: the first events.
      settings: says which columns are wanted; all of the events' by default. Objects and lists are skipped.
      types: of the columns that are known; they are not inferred.
      cloudevents: whether the columns are in the data of CloudEvents.
      form: the format of the events; None: JSON.

    Raises:
      DataError: no event can be read, or a wanted column is in none of them and has no type.
    """
    found = kinds_of(messages, cloudevents, form)
    flat = [name for name, kinds in found.items() if "" not in kinds]
    special = settings.as_it_is
    wanted = list(settings.wanted) if settings.wanted is not None else [*flat, *types, *special]
    columns = {}
    for name in dict.fromkeys(wanted):
        if name in special:
            columns[name] = "time" if name == settings.time else "string"
        elif name in types:
            columns[name] = types[name]
        elif cloudevents and name in ENVELOPE:
            columns[name] = "string"
        elif kind := kind_of(found.get(name, set())):
            columns[name] = kind
        elif settings.wanted is not None:
            raise DataError(
                f"column {name!r} is in none of the first events",
                where="data.columns in the config",
                next_step=f"correct the name, or name its type, such as `data.types: {{{name}: float}}`",
            )
    if not found:
        raise DataError(
            "none of the first events can be read",
            where="stream.source in the config",
            next_step="send JSON objects, or set `stream.format`; `data.types` names the columns where the first "
            "events do not have them",
        )
    return columns


def columns_of(calendar: Calendar) -> dict[str, str]:
    """The columns of the spans that are there, and their types."""
    special = {calendar.label: "string", calendar.time: "time"}
    return {
        name: special.get(name) or ("string" if column_type == "empty" else column_type)
        for name, column_type in calendar.columns.items()
    }


def _type_of(value: Any) -> str:
    """Empty for what has no place in a flat table."""
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "string"}
    return names.get(type(value), "")


def kind_of(kinds: Collection[str]) -> str | None:
    """The type of a column with values of these kinds; None where there is no value."""
    values = set(kinds) - {"null"}
    if len(values) == 1:
        return next(iter(values))
    if not values:
        return None
    return "float" if values == {"int", "float"} else "string"


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    """The parts of a column; as text where some are numbers and some are texts."""
    kinds = {part.type for part in parts if part.null_count < len(part)}
    if len(kinds) > 1:
        return pa.array([_text(value) for part in parts for value in part.to_pylist()], pa.string())
    kind = kinds.pop() if kinds else parts[0].type
    return pa.concat_arrays([part if part.type == kind else pa.nulls(len(part), kind) for part in parts])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
