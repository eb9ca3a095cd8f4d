"""What an event stream is: partitions of events at positions that grow, can be read again, and compared.

The config reads this folder at every start of the command line, so it imports neither numpy nor pyarrow.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Asked", "Bounds", "Messages", "Stream"]


class Asked(Sequence[Any]):
    """What a function says of each item, asked only when it is needed.

    Args:
      about: the function.
      items: the items.
    """

    def __init__(self, about: Callable[[Any], Any], items: Sequence[Any]):
        self._about = about
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: Any) -> Any:
        return self._about(self._items[i])


class _Joined(Sequence[Any]):
    """Sequences that follow each other. They are not copied, so nothing is asked."""

    def __init__(self, parts: Sequence[Sequence[Any]]):
        self._parts = parts
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, i: Any) -> Any:
        part = bisect.bisect_right(self._ends, i)
        return self._parts[part][i - self._ends[part]]  # counted from its end


@dataclasses.dataclass(frozen=True)
class Messages:
    """Events of one partition, in the order of their offsets; none where only the position has moved.

    Attributes:
      partition: the partition's number.
      start: the position that was asked for: the first offset is this one or a later one.
      offsets: position of each event, ascending; there may be gaps.
      times: when each event was written, epoch milliseconds; -1 where the stream does not know. Few are needed, so
        a stream may give `Asked`, for headers too.
      values: the events; None is a tombstone.
      next: the position from which reading continues: after the last event, or further where no event follows.
      headers: headers of each event by name; None where no event has any.
    """

    partition: int
    start: int
    offsets: Sequence[int]
    times: Sequence[int]
    values: list[bytes | None]
    next: int
    headers: Sequence[dict[str, bytes]] | None = None

    @classmethod
    def joined(cls, parts: "Sequence[Messages]") -> "Messages":
        """Messages that follow each other, as one."""
        if len(parts) == 1:
            return parts[0]
        headers = None
        if any(each.headers is not None for each in parts):
            headers = _Joined([each.headers or [{}] * len(each.values) for each in parts])
        return cls(
            partition=parts[0].partition,
            start=parts[0].start,
            offsets=list(itertools.chain.from_iterable(each.offsets for each in parts)),
            times=_Joined([each.times for each in parts]),
            values=list(itertools.chain.from_iterable(each.values for each in parts)),
            next=parts[-1].next,
            headers=headers,
        )

    def only(self, offsets: Collection[int]) -> "Messages":
        """The events at some positions."""
        wanted = set(offsets)
        return self._at([i for i, offset in enumerate(self.offsets) if offset in wanted])

    def last(self) -> "Messages":
        """The last event alone; there must be one."""
        return self._at([len(self.values) - 1])

    def _at(self, kept: Sequence[int]) -> "Messages":
        return dataclasses.replace(
            self,
            offsets=[self.offsets[i] for i in kept],
            times=[self.times[i] for i in kept],
            values=[self.values[i] for i in kept],
            headers=None if self.headers is None else [self.headers[i] for i in kept],
        )


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a partition holds: positions from `first` up to `end` (exclusive)."""

    first: int
    end: int


class Stream:
    """The base of all event streams.

    Positions are whole numbers that grow within a partition. They may have gaps. The same position gives
    the same event each time, as long as the stream keeps it.

    Args:
      given: what the user writes in `stream.source`: the value behind the name of the kind.
      folder: the project's folder; relative paths start there.
      name: the project's name.
    """

    def __init__(self, given: Any, folder: Path, name: str = "noria"):
        self.given = given
        self.folder = folder
        self.project = name

    @property
    def name(self) -> str:
        """What messages and dead letters call the stream; without secrets."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What must be equal the next time: positions have a meaning only together with it.

        A value that the stream cannot find out is None, and is not compared.

        Raises:
          DataError: the stream cannot be reached.
        """
        raise NotImplementedError

    def bounds(self) -> dict[int, Bounds]:
        """What each partition holds now, of all partitions.

        Raises:
          DataError: the stream cannot be reached.
        """
        raise NotImplementedError

    def open(
        self,
        positions: Callable[[], Mapping[int, int]],
        lost: Callable[[Collection[int]], None] = lambda partitions: None,
    ) -> None:
        """Begins to read.

        Args:
          positions: gives the position at which each partition continues; asked whenever this process gets
            partitions. One that it does not have begins at its first event.
          lost: is told which partitions another process reads from now on.
        """
        raise NotImplementedError

    def read(self, limit: int, timeout: float) -> list[Messages]:
        """Reads about `limit` events at most; waits up to `timeout` seconds for the first one.

        Raises:
          DataError: the stream cannot be read, or no longer has the position.
        """
        raise NotImplementedError

    def seek(self, partition: int, position: int) -> None:
        """Continues a partition at another position."""
        raise NotImplementedError

    def assigned(self) -> set[int]:
        """The partitions that this process reads now."""
        raise NotImplementedError

    def caught_up(self) -> bool:
        """Whether everything was read that this process's partitions had when they were read last."""
        raise NotImplementedError

    def pause(self, paused: bool) -> None:
        """Reads nothing for a while, and stays a member of its group."""

    def committed(self, positions: Mapping[int, int]) -> None:
        """Is told what has been stored, for tools that watch the stream. Noria's own positions decide."""

    def close(self) -> None:
        """Ends reading."""
