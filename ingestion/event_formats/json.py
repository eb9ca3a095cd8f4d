"""JSON objects."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from noria.ingestion.event_formats.base import EventFormat


class Json(EventFormat):
    """A message is one JSON object."""

    def event(self, value: bytes) -> dict[str, Any]:
        found = json.loads(value)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found

    def begin(self, columns: Mapping[str, str]) -> None:
        import msgspec

        from noria.ingestion.event_formats._records import struct_of

        event = struct_of(columns)
        self._values: Callable[[Any], tuple[Any, ...]] = msgspec.structs.astuple
        self._event: Callable[[bytes], Any] = msgspec.json.Decoder(event).decode
        self._events: Callable[[bytes], list[Any]] = msgspec.json.Decoder(event).decode_lines

    def one(self, value: bytes) -> Sequence[Any]:
        return self._values(self._event(value))

    def together(self, values: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        lines = b"\n".join(values)
        if lines.count(b"\n") != len(values) - 1:
            raise ValueError("a message is more than one line")
        events = self._events(lines)
        # A line is one event or blank, so where both numbers agree, each message is one event.
        if len(events) != len(values):
            raise ValueError("a message has no event")
        return list(zip(*map(self._values, events), strict=True))
