"""A stream into a home in an object store: each event is in one span, whichever machine is killed, and when."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  pyarrow imports it with its first array, and each forked process would again
import pytest

from noria.ingestion.segments import ingester as ingesters
from noria.ingestion.segments import stream_letters
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.forgetting.in_dead_letters import in_dead_letters
from noria.pipeline.forgetting.keys import Keys
from noria.stores.spans import SpanStore
from tests.contract.home.places import ObjectStore, in_child
from tests.helpers.killed import started
from tests.unit.ingestion.streams.scripted import Scripted, Topic, event, ingester, spans

pytestmark = pytest.mark.parametrize("home_kind", ["s3"], indirect=True)
STRIDE = int(os.environ.get("NORIA_KILL_STRIDE", "41"))  # of the steps at which a process can be killed
EVENTS = 30


def _ingest(home: Path) -> None:
    """`noria ingest --flush` of two partitions with 30 events of three hours and a bad one, 10 events a segment."""
    ingesters.READ_ROWS = 5
    topic = Topic(2)
    for number in range(EVENTS):
        topic.add(number % 2, event(number, number / 10))
    topic.add(0, b'{"id": 99, "at": "never", "y": 0}')
    ingester(home, Scripted(topic), segment_rows=10).run(flush=True)


def _facts(home: Path) -> tuple[Any, ...]:
    segments, store = SegmentStore(home), SpanStore(home)
    for span in store.ids():
        store.verify(span)
    rows = sorted(each for found in spans(home).values() for each in found)
    left = (segments.pending(), sorted(path.name for path in (home / "stream" / "segments").glob("*")))
    return (
        rows,
        [stream_letters.name_of(each)[-5:] for each in stream_letters.letters(segments)],
        left,
        segments.state().next,
    )


EXPECTED = (list(range(EVENTS)), ["-0-15"], ([], []), {0: 16, 1: 15})


def test_a_kill_loses_and_doubles_no_event(new_home: Callable[[], ObjectStore]) -> None:
    """A machine is killed before or after any write; another one continues, and a third one has the same facts."""
    kills, n = 0, 1
    while (place := new_home()).killed_at(n, _ingest):
        in_child(lambda place=place: _ingest(place.open("another")))
        assert EXPECTED == in_child(lambda place=place: _facts(place.open("third"))), f"kill {n}"
        kills, n = kills + 1, n + STRIDE
    assert EXPECTED == in_child(lambda: _facts(place.open("third")))
    found = in_child(lambda: in_dead_letters(place.open("fourth"), Keys.read(["id=99"]), only_find=True))
    assert [True] == [each.name.startswith("dead-letters/stream-") for each in found]
    assert kills >= 3
    print(f"{kills} kills")


def test_two_machines_at_once(new_home: Callable[[], ObjectStore]) -> None:
    """Both read all partitions: a compare-and-set of the positions lets one of them commit each event."""
    place = new_home()
    children = [started(lambda copy=copy: _ingest(place.open(copy))) for copy in ("first", "second")]
    assert [0, 0] == [os.waitpid(child, 0)[1] for child in children]
    assert EXPECTED == in_child(lambda: _facts(place.open("third")))
