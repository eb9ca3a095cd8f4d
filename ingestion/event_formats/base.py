"""What a format of events is: it makes values, column by column, from the bytes of messages.

The config reads this folder at every start of the command line, so it imports neither numpy nor pyarrow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["EventFormat", "RecordFormat"]


class EventFormat:
    """The base of all formats.

    Args:
      given: what the user writes in `stream.format`: the value behind the name of the format.
      folder: the project's folder; relative paths start there.
    """

    def __init__(self, given: Any = None, folder: Path = Path()):
        self.given = given
        self.folder = folder

    def event(self, value: bytes) -> dict[str, Any]:
        """One event with all its fields, from which columns are inferred.

        Raises:
          ValueError: it cannot be read; the text says why.
          DataError: something else that is needed cannot be read, such as a schema registry.
        """
        raise NotImplementedError

    def begin(self, columns: Mapping[str, str]) -> None:
        """Is told what the columns are, before events are read.

        Args:
          columns: column -> `int`, `float`, `bool`, `time` (text or a number), or `any` (a text or a number).
        """
        raise NotImplementedError

    def one(self, value: bytes) -> Sequence[Any]:
        """The values of one event in the order of the columns; None for what it does not have.

        Raises:
          ValueError, DataError: as `event`; a value of another type is an error too.
        """
        raise NotImplementedError

    def together(self, values: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        """The values of several events, column by column.

        Raises:
          ValueError, DataError: as `one`, if any of them cannot be read; then they are read one by one.
        """
        raise NotImplementedError


class RecordFormat(EventFormat):
    """A format whose library gives a record for each event: a kind has only `event`, the rest follows from it."""

    def begin(self, columns: Mapping[str, str]) -> None:
        from noria.ingestion.event_formats._records import struct_of

        self._type = struct_of(columns)

    def one(self, value: bytes) -> Sequence[Any]:
        import msgspec

        return msgspec.structs.astuple(msgspec.convert(self.event(value), self._type))

    def together(self, values: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        import msgspec

        kind: Any = list[self._type]  # type: ignore[name-defined]
        events: Any = msgspec.convert([self.event(value) for value in values], kind)
        return list(zip(*map(msgspec.structs.astuple, events), strict=True))
