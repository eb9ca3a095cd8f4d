"""JSON objects.

Arrow reads many events into columns and makes no Python object of a value. It refuses all of them for a single one that
does not fit; then msgspec reads them, together or, if that fails too, one by one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noria.ingestion.event_formats.base import EventFormat

if TYPE_CHECKING:
    import pyarrow as pa

# Calls in which Arrow does not try after it has failed, as their events may have the same form.
_PAUSE = 20


class Json(EventFormat):
    """A message is one JSON object."""

    def event(self, value: bytes) -> dict[str, Any]:
        found = json.loads(value)
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        return found

    def begin(self, columns: Mapping[str, str]) -> None:
        import msgspec

        from noria.ingestion.event_formats._records import struct_of

        event, self._getters = struct_of(columns)
        self._event: Callable[[bytes], Any] = msgspec.json.Decoder(event).decode
        self._events: Callable[[bytes], list[Any]] = msgspec.json.Decoder(event).decode_lines
        self._schema: pa.Schema | None = None  # for Arrow, as the last events were
        self._pause = 0

    def one(self, value: bytes) -> Sequence[Any]:
        event = self._event(value)
        return tuple(get(event) for get in self._getters)

    def together(self, values: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        lines = b"\n".join(values)
        if lines.count(b"\n") != len(values) - 1:
            raise ValueError("a message is more than one line")
        arrays = self._by_arrow(lines, len(values))
        if arrays is not None:
            return arrays
        events = self._events(lines)
        # A line is one event or blank, so where both numbers agree, each message is one event.
        if len(events) != len(values):
            raise ValueError("a message has no event")
        # By column: tuples of the events would cost as much as the parsing.
        return [list(map(get, events)) for get in self._getters]

    def settled(self, schema: "pa.Schema") -> None:
        self._schema = schema

    def _by_arrow(self, lines: bytes, count: int) -> "list[pa.Array] | None":
        """Events as columns; None where they are not all as the events before were."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.json

        from noria.ingestion.events import one_array

        if self._schema is None or self._pause:
            self._pause = max(0, self._pause - 1)
            return None
        # Arrow takes several objects in a line, and one in several lines. An object cannot go over the end of a line
        # where each line begins and ends with a brace, so where both numbers agree, each line is one event.
        if not (lines[:1] == b"{" and lines[-1:] == b"}" and lines.count(b"}\n{") == count - 1):
            return None
        self._pause = _PAUSE
        try:
            lines.decode()
            found = pyarrow.json.read_json(
                pa.BufferReader(lines),
                pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
                pyarrow.json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore"),
            )
        except (ValueError, pa.ArrowException):
            return None
        arrays = [one_array(column) for column in found.columns]
        floats = [np.asarray(each.drop_null()) for each in arrays if pa.types.is_floating(each.type)]
        if found.num_rows != count or not all(np.isfinite(each).all() for each in floats):  # NaN is no JSON
            return None
        self._pause = 0
        return arrays
