"""What every event stream must do. Run it on your own in a test:

from noria.ingestion.stream_contract import check_stream

def test_my_stream():
    check_stream(lambda: MyStream({"address": "..."}, Path(".")), append)
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from noria.ingestion.streams.base import Stream

__all__ = ["check_stream", "drain"]

WAIT = 30.0


def drain(
    stream: Stream, positions: dict[int, int] | None = None, limit: int = 500, wait: float = WAIT
) -> dict[tuple[int, int], bytes | None]:
    """Reads an opened stream until it is caught up: (partition, offset) -> event.

    Args:
      stream: the stream.
      positions: gets the position behind the first events of each partition.
      limit: events of one read.
      wait: seconds.
    """
    found: dict[tuple[int, int], bytes | None] = {}
    until = time.monotonic() + wait
    while True:
        for messages in stream.read(limit, 0.2):
            offsets = messages.offsets
            if positions is not None and offsets:
                positions.setdefault(messages.partition, messages.next)
            assert offsets or messages.start < messages.next, (
                "messages must hold an event, or move the position"
            )
            assert len(offsets) == len(messages.values) == len(messages.times), (
                "each event has offset and time"
            )
            assert list(offsets) == sorted(set(offsets)), f"offsets must grow, got {offsets[:5]}"
            assert all(messages.start <= offset < messages.next for offset in offsets), (
                f"offsets must be from start {messages.start} to before next {messages.next}"
            )
            for offset, value in zip(offsets, messages.values, strict=True):
                assert (messages.partition, offset) not in found, f"offset {offset} came twice"
                found[messages.partition, offset] = value
        if stream.caught_up():
            return found
        assert time.monotonic() < until, (
            f"the stream must be caught up within {wait:g} s; read {len(found)} events"
        )


def check_stream(open_stream: Callable[[], Stream], append: Callable[[Sequence[bytes]], None]) -> None:
    """Checks an empty event stream that nobody else uses.

    Args:
      open_stream: makes the stream's object, each time a new one.
      append: appends events to the stream, to any partition.

    Raises:
      AssertionError: it breaks the contract; the message says where.
    """
    first = [b'{"id": %d}' % i for i in range(100)]
    append(first[:40])
    append(first[40:])
    stream = open_stream()
    assert isinstance(stream, Stream), f"{type(stream).__name__} must be a subclass of Stream"
    assert stream.name, "name must be a text"
    identity, bounds = stream.identity(), stream.bounds()
    assert identity, "identity must say what the positions belong to"
    stream.open(lambda: {})
    middle: dict[int, int] = {}
    everything = drain(stream, middle, limit=20)
    assert Counter(first) == Counter(everything.values()), "a new stream must be read from its beginning"
    assert set(middle) <= stream.assigned(), "events must be of the assigned partitions"
    for partition, offset in everything:
        held = bounds[partition]
        assert held.first <= offset < held.end, f"offset {offset} must be within {held}"

    # Again from a position within, by seek and by another object: the same positions give the same events.
    rest = {key: value for key, value in everything.items() if key[1] >= middle[key[0]]}
    for partition, position in middle.items():
        stream.seek(partition, position)
    assert rest == drain(stream), "seek must continue at the position"
    stream.close()
    again = open_stream()
    assert identity == again.identity(), "identity must not change while the stream does not"
    again.open(lambda: middle)
    assert rest == drain(again), "a stored position must give the same events"

    # What is appended later comes after.
    second = [b'{"id": %d}' % i for i in range(100, 150)]
    append(second)
    later: dict[tuple[int, int], bytes | None] = {}
    until = time.monotonic() + WAIT
    while len(later) < len(second):
        assert time.monotonic() < until, f"appended events must come within {WAIT:g} s"
        for messages in again.read(500, 0.2):
            later.update(
                ((messages.partition, offset), value)
                for offset, value in zip(messages.offsets, messages.values, strict=True)
            )
    assert Counter(second) == Counter(later.values()), "appended events must come once"
    for partition, offset in later:
        assert all(offset > known for each, known in everything if each == partition), "positions must grow"
    again.close()
