"""The watermark: how far event time has come in a stream; no more events are expected before it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from noria.ingestion.streams.base import Bounds

__all__ = ["Clock", "watermark"]

# The newest events of a partition vote on its time. One event of a wrong clock, or up to 3 of 32, do not move it.
VOTES = 32
QUANTILE = 0.9


@dataclasses.dataclass(frozen=True)
class Clock:
    """Event time of one partition.

    Attributes:
      time: epoch seconds; it never goes back.
      recent: times of the newest events, at most VOTES.
      seen: when the last event was read, epoch seconds of this machine.
    """

    time: int
    recent: tuple[int, ...]
    seen: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Clock":
        return cls(int(values["time"]), tuple(values["recent"]), float(values["seen"]))


def advanced(clock: Clock | None, times: Sequence[int], now: float) -> Clock:
    """The clock after more events.

    Args:
      clock: the clock before; None for the first events.
      times: their times, epoch seconds, in the order of their offsets; at least one.
      now: this machine's time. An event of the future counts as of now.

    >>> advanced(None, [10, 11, 900, 12], now=1000).time
    12
    """
    newest = [*(clock.recent if clock else ()), *(min(int(time), int(now)) for time in times[-VOTES:])][
        -VOTES:
    ]
    voted = sorted(newest)[math.floor(QUANTILE * (len(newest) - 1))]
    return Clock(max(voted, clock.time if clock else voted), tuple(newest), now)


def watermark(
    clocks: Mapping[int, Clock],
    positions: Mapping[int, int],
    bounds: Mapping[int, Bounds],
    *,
    idle: float,
    lateness: float,
    now: float,
) -> int | None:
    """The time before which no more events are expected.

    The slowest partition decides. A partition that was read to its end and has had no event for `idle` seconds does not
    count; if that holds for all, the fastest one decides. A partition with events that nobody has read holds it back.

    Args:
      clocks: of the partitions that had events.
      positions: up to where each partition is stored.
      bounds: what each partition holds.
      idle, lateness: seconds.
      now: this machine's time.

    Returns:
      Epoch seconds; None while it is not known.
    """
    waiting = {
        partition
        for partition, held in bounds.items()
        if held.end > max(positions.get(partition, held.first), held.first)
    }
    if not clocks or waiting - set(clocks):
        return None
    active = [
        clock.time for partition, clock in clocks.items() if partition in waiting or now - clock.seen < idle
    ]
    times = [clock.time for clock in clocks.values()]
    return int((min(active) if active else max(times)) - lateness)
