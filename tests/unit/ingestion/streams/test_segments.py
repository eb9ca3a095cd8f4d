"""Segments and the spans made from them. A scripted stream does what no broker here does on demand."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from noria.core import periods
from noria.core.errors import DataError
from noria.ingestion.calendar import Calendar
from noria.ingestion.segments import ingester as ingesters
from noria.ingestion.segments import stream_letters
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.segments.watermark import Clock, advanced, watermark
from noria.ingestion.stream_contract import check_stream
from noria.ingestion.streams.base import Bounds
from noria.stores.spans import SpanStore
from tests.unit.ingestion.streams.scripted import (
    HOUR,
    SETTINGS,
    START,
    Scripted,
    Topic,
    event,
    ids,
    ingester,
    spans,
)


def test_the_scripted_stream_keeps_the_contract() -> None:
    """It behaves as a real one."""
    topic = Topic(2)

    def append(values: object) -> None:
        for i, value in enumerate(values):  # type: ignore[arg-type]
            topic.add(i % 2, value)

    check_stream(lambda: Scripted(topic), append)


def test_a_span_closes_when_the_watermark_has_passed(tmp_path: Path) -> None:
    """Closed spans are committed, the open one waits; `flush` commits it too. Nothing is in twice."""
    topic = Topic()
    topic.add(0, *(event(i, i / 100) for i in range(350)))
    ingester(tmp_path, Scripted(topic)).run()
    assert {1: list(range(100)), 2: list(range(100, 200)), 3: list(range(200, 300))} == spans(tmp_path)
    assert 1 == len(SegmentStore(tmp_path).pending())
    again = ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert [4] == again.spans
    assert list(range(350)) == ids(tmp_path)
    assert [] == SegmentStore(tmp_path).pending()
    assert 350 == SegmentStore(tmp_path).state().next[0]


def test_spans_of_ten_seconds(tmp_path: Path) -> None:
    """Parts of an hour close when the watermark has passed; a late event gets a new version of its span."""
    short = dataclasses.replace(SETTINGS, every="10s")
    second = 1 / HOUR
    topic = Topic()
    topic.add(0, *(event(i, (i + 0.5) * second) for i in range(35)))
    assert [1, 2, 3] == ingester(tmp_path, Scripted(topic), short).run().spans
    store = SpanStore(tmp_path)
    assert {1: list(range(10)), 2: list(range(10, 20)), 3: list(range(20, 30))} == spans(tmp_path)
    assert (START + 10, START + 19) == store.manifest(2).event_time
    assert periods.start("10s", START // 10 + 1) == store.manifest(2).extra["period"]
    topic.add(0, event(100, 3 * second), *(event(i, (i + 0.5) * second) for i in range(75, 90)))
    report = ingester(tmp_path, Scripted(topic), short).run(flush=True)
    assert ([4, 8, 9], [1]) == (report.spans, report.late)
    assert [*range(35), *range(75, 90), 100] == ids(tmp_path)


def test_equal_events_are_all_kept(tmp_path: Path) -> None:
    """Two events may have the same values: a stream knows them by their positions."""
    topic = Topic()
    topic.add(0, *[event(7, 0.5)] * 5)
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    topic.add(0, *[event(7, 0.5)] * 3)
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert [7] * 8 == ids(tmp_path)


def test_events_that_a_producer_sends_twice(tmp_path: Path) -> None:
    """With `unique` the second event of a span with the same id is skipped, also in a later segment."""
    topic = Topic()
    topic.add(0, *(event(i, 0.5) for i in range(10)), *(event(i, 0.5) for i in range(5)))
    assert 5 == ingester(tmp_path, Scripted(topic), unique=("id",)).run(flush=True).repeated
    topic.add(0, *(event(i, 0.5) for i in range(8, 12)))
    report = ingester(tmp_path, Scripted(topic), unique=("id",)).run(flush=True)
    assert (2, 2) == (report.repeated, report.late_rows)
    assert list(range(12)) == ids(tmp_path)


def test_late_events_are_a_new_version_of_their_span(tmp_path: Path) -> None:
    """They are counted; an event before the first span is a dead letter."""
    topic = Topic()
    topic.add(0, *(event(i, i / 10) for i in range(25)))
    ingester(tmp_path, Scripted(topic)).run()
    topic.add(0, event(100, 0.5), event(101, -3), *(event(i, i / 10) for i in range(25, 60)))
    report = ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert [1] == report.late and 1 == report.late_rows
    assert 2 == SpanStore(tmp_path).manifest(1).version
    assert [*range(60), 100] == ids(tmp_path)
    [letter] = stream_letters.letters(SegmentStore(tmp_path))
    assert "before the first span" in letter["reason"] and (0, 26) == (letter["partition"], letter["offset"])


def test_late_events_in_the_next_span(tmp_path: Path) -> None:
    """They wait until a span closes, and are in it once; no span gets a new version, whatever the policy is later."""
    topic = Topic()
    topic.add(0, *(event(i, i / 10) for i in range(25)))
    ingester(tmp_path, Scripted(topic), into_next=True).run()
    topic.add(0, event(100, 0.5), event(101, 1.5), event(102, -3))
    waits = ingester(tmp_path, Scripted(topic), into_next=True).run()
    assert ([], [], 0) == (waits.spans, waits.late, waits.late_rows)
    topic.add(0, *(event(i, i / 10) for i in range(25, 45)))
    report = ingester(tmp_path, Scripted(topic), into_next=True).run()
    assert ([3, 4], [], 2) == (report.spans, report.late, report.late_rows)
    expected = {1: [*range(10)], 2: [*range(10, 20)], 3: [*range(20, 30), 100, 101], 4: [*range(30, 40)]}
    assert expected == spans(tmp_path)
    store = SpanStore(tmp_path)
    assert [1, 1, 1, 1] == [store.manifest(span).version for span in store.ids()]
    assert (START + 2 * HOUR, START + 3 * HOUR - 360) == store.manifest(3).event_time
    topic.add(0, event(103, 0.6), *(event(i, i / 10) for i in range(45, 60)))
    report = ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert ([1], 1) == (report.late, report.late_rows)
    assert [*range(60), 100, 101, 103] == ids(tmp_path)
    topic.add(0, event(104, 0.6), event(105, 6.5))
    ingester(tmp_path, Scripted(topic), into_next=True).run(flush=True)
    assert [104, 105] == spans(tmp_path)[7]
    assert [*range(60), 100, 101, 103, 104, 105] == ids(tmp_path)
    assert [] == SegmentStore(tmp_path).pending()


def test_a_kill_before_late_events_are_settled(tmp_path: Path) -> None:
    """After the first of two spans is committed, neither its late events nor others are committed again."""
    topic = Topic()
    topic.add(0, *(event(i, i / 10) for i in range(25)))
    ingester(tmp_path, Scripted(topic), into_next=True).run()
    topic.add(0, event(100, 0.5), *(event(i, i / 10) for i in range(25, 45)))
    work = ingester(tmp_path, Scripted(topic), into_next=True)

    def stopped(record: dict[str, object]) -> None:
        if record["event"] == "span":
            raise KeyboardInterrupt

    work.tell = stopped
    with pytest.raises(KeyboardInterrupt):
        work.run()
    assert [1, 2, 3] == SpanStore(tmp_path).ids()
    ingester(tmp_path, Scripted(topic), into_next=True).run(flush=True)
    assert [*range(45), 100] == ids(tmp_path)
    assert 100 in spans(tmp_path)[3]


def test_spans_of_rows(tmp_path: Path) -> None:
    """A span has N events in the order of their positions; the rest waits."""
    settings = dataclasses.replace(SETTINGS, every="rows:40", time=None)
    topic = Topic()
    for first in (0, 55, 70):
        topic.add(0, *(event(i, 0) for i in range(first, min(first + 55, 100) if first else 55)))
        ingester(tmp_path, Scripted(topic), settings).run()
    topic = Topic()
    topic.add(0, *(event(i, 0) for i in range(100)))
    home = tmp_path / "other"
    for rows in (30, 7, 100):
        ingester(home, Scripted(topic), settings, segment_rows=rows).run()
    assert {1: list(range(40)), 2: list(range(40, 80))} == spans(home)
    ingester(home, Scripted(topic), settings).run(flush=True)
    assert {1: list(range(40)), 2: list(range(40, 80)), 3: list(range(80, 100))} == spans(home)


def test_gaps_and_tombstones(tmp_path: Path) -> None:
    """Offsets of aborted, compacted and control records are missing at the start, in the middle and at the end."""
    topic = Topic()
    topic.add(0, event(0, 0.1), gap=5)
    topic.add(0, None, event(1, 0.2), gap=3)
    topic.end[0] += 4
    work = ingester(tmp_path, Scripted(topic))
    work.run(flush=True)
    assert [0, 1] == ids(tmp_path)
    assert {"events": 2, "dead": 0, "tombstones": 1, "fenced": 0} == work.state.counts
    topic.add(0, event(2, 0.3))
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert [0, 1, 2] == ids(tmp_path)


def test_of_two_ingesters_one_is_fenced(tmp_path: Path) -> None:
    """Two processes that read the same partition without a group: each event is in once."""
    topic = Topic()
    topic.add(0, *(event(i, i / 100) for i in range(100)))
    zombie = ingester(tmp_path, Scripted(topic))
    zombie._check(False)
    zombie.stream.open(zombie._positions, zombie._lost)
    zombie._read(0)  # and is stopped here
    ingester(tmp_path, Scripted(topic)).run()
    topic.add(0, *(event(i, i / 100) for i in range(100, 250)))
    assert zombie._commit() is None
    assert {"event": "fenced", "partition": 0, "position": 100} in zombie.records
    zombie._read(0)  # it has continued at the stored position
    assert zombie._commit() is not None
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert list(range(250)) == ids(tmp_path)


def test_only_the_fenced_partition_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment with two partitions, one of which another process has stored, keeps the other one."""
    monkeypatch.setattr(ingesters, "OTHERS_SECONDS", 0.0)  # nobody reads the other partition meanwhile
    topic = Topic(2)
    topic.add(0, *(event(i, 0.1) for i in range(10)))
    topic.add(1, *(event(i, 0.1) for i in range(10, 30)))
    slow = ingester(tmp_path, Scripted(topic))
    slow._check(False)
    slow.stream.open(slow._positions, slow._lost)
    slow._read(0)
    ingester(tmp_path, Scripted(topic, mine=[1])).run()
    segment = slow._commit()
    assert segment is not None and {0} == set(segment.parts) and 10 == segment.rows
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert list(range(30)) == ids(tmp_path)


def test_refusals(tmp_path: Path) -> None:
    """Loss stops the ingester until it is accepted, and is written down then."""
    topic = Topic(2)
    topic.add(0, *(event(i, 0.1) for i in range(10)))
    topic.add(1, event(50, 0.1))
    ingester(tmp_path, Scripted(topic)).run()

    topic.add(0, *(event(i, 0.2) for i in range(10, 20)))
    topic.events[0] = topic.events[0][15:]
    topic.first[0] = 15  # retention has passed offset 10
    with pytest.raises(DataError, match="retention has passed .* from 10 on are needed, .* there is 15"):
        ingester(tmp_path, Scripted(topic)).run()
    ingester(tmp_path, Scripted(topic)).run(accept_loss=True, flush=True)
    assert [*range(10), *range(15, 20), 50] == ids(tmp_path)
    [loss] = SegmentStore(tmp_path).state().losses
    assert (0, 10, 15) == (loss["partition"], loss["from"], loss["to"])

    topic.end[1] = 0
    with pytest.raises(DataError, match="partition 1: the stored position 1 is behind the end, 0"):
        ingester(tmp_path, Scripted(topic)).run()
    fewer = Topic(1)
    fewer.first[0], fewer.end[0] = 15, 20
    with pytest.raises(DataError, match="partition 1 is gone: there were 2 partitions, now 1"):
        ingester(tmp_path, Scripted(fewer)).run()

    fresh = Topic(2)
    fresh.id = "two"
    fresh.add(0, event(99, 0.3))
    with pytest.raises(DataError, match="created again: topic_id was 'one', is 'two'"):
        ingester(tmp_path, Scripted(fresh)).run()
    ingester(tmp_path, Scripted(fresh)).run(accept_loss=True, flush=True)
    assert [*range(10), *range(15, 20), 50, 99] == ids(tmp_path)
    assert 3 == len(SegmentStore(tmp_path).state().losses)


def test_damage_is_refused(tmp_path: Path) -> None:
    """A damaged manifest, changed data, a missing segment and damaged positions all stop the ingester."""
    topic = Topic()
    topic.add(0, *(event(i, 0.1) for i in range(10)))
    for _ in range(3):
        ingester(tmp_path, Scripted(topic)).run()
        topic.add(0, *(event(i, 0.2) for i in range(10)))
    folder = tmp_path / "stream" / "segments"
    first, _, last = sorted(folder.iterdir())
    for path, match in (
        (last / "manifest.json", "manifest of a segment"),
        (first / "data.parquet", "data of a segment"),
    ):
        content = path.read_bytes()
        path.write_bytes(content[:-9] + b"123456789")
        with pytest.raises(DataError, match=match):
            ingester(tmp_path, Scripted(topic)).run(flush=True)
        path.write_bytes(content)
    first.rename(tmp_path / "away")
    with pytest.raises(DataError, match="a segment is missing"):
        ingester(tmp_path, Scripted(topic)).run()
    (tmp_path / "away").rename(first)
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    (tmp_path / "stream" / "positions.json").write_text("{")
    with pytest.raises(DataError, match="stored positions cannot be read"):
        ingester(tmp_path, Scripted(topic)).run()


def test_dead_letters_and_their_replay(tmp_path: Path) -> None:
    """Each bad event is found and named; once the config can read it, a replay puts it in once."""
    topic = Topic()
    bad = [
        b"{",
        b"\xff",
        b'{"id": "x", "at": 1700000000, "y": 0}',
        b'{"id": 1, "at": "soon", "y": 0}',
        b"[1]",
    ]
    topic.add(0, event(1, 0.1), *bad, event(2, 0.2), json.dumps({"id": 3, "at": START, "y": 7}).encode())
    topic.add(0, json.dumps({"id": 4, "at": time.time() + 1e6, "y": 0}).encode(), b'{"id": 5, "y": 0}')
    topic.add(0, b'{"id": 6, "at": 1, "y": 0, "pad": "' + b"x" * 200 + b'"}')
    ingester(tmp_path, Scripted(topic), event_bytes=200).run(flush=True)
    assert [1, 2] == ids(tmp_path)
    found = {each["offset"]: each["reason"] for each in stream_letters.letters(SegmentStore(tmp_path))}
    expected = [
        "truncated",
        "",
        "Expected `int",
        "is not a time",
        "Expected `object`",
        "'7' is not one of",
        "future",
        "missing",
    ]
    assert [1, 2, 3, 4, 5, 7, 8, 9, 10] == list(found)
    for said, reason in zip([*expected, "237 bytes"], found.values(), strict=True):
        assert said in reason
    wider = dataclasses.replace(SETTINGS, task="multiclass", classes=(0, 1, 7))
    home = tmp_path / "wider"
    ingester(home, Scripted(topic), event_bytes=200).run()
    work = ingester(home, Scripted(topic), wider, event_bytes=200)
    good, left = stream_letters.replay(work)
    assert ["1-0-7"] == good and 8 == len(left)
    assert ([], 8) == (stream_letters.replay(work)[0], len(stream_letters.letters(SegmentStore(home))))
    work.run(flush=True)
    assert [1, 2, 3] == ids(home)


def test_columns_of_a_stream_grow(tmp_path: Path) -> None:
    """Whole numbers become fractions, in open segments, in earlier spans and for late rows; a new field is told."""
    topic = Topic()
    topic.add(0, *(event(i, i / 10, x=i) for i in range(25)))
    ingester(tmp_path, Scripted(topic)).run()
    topic.add(0, *(event(i, i / 10, x=i + 0.5, z=1) for i in range(25, 40)), event(40, 0.5, x=7))
    work = ingester(tmp_path, Scripted(topic))
    work.run(flush=True)
    told = [record for record in work.records if record["event"] in ("grown", "skipped")]
    assert [{"event": "grown", "columns": {"x": "float"}}] == told
    store = SpanStore(tmp_path)
    rows = [row for span in store.ids() for row in store.table(span, ["id", "x"]).to_pylist()]
    assert {i: i + 0.5 * (i >= 25) for i in range(40)} | {40: 7.0} == {row["id"]: row["x"] for row in rows}
    assert ("float", {}) == (Calendar.load(store).columns["x"], letters_by_offset(tmp_path))
    topic.add(0, event(41, 4.5, x=1, z=1))
    work = ingester(tmp_path, Scripted(topic))
    work.run(flush=True)
    assert {"event": "skipped", "fields": ["z"]} in work.records


def test_a_few_wrong_values_of_a_stream_are_dead_letters(tmp_path: Path) -> None:
    """Text in a column of numbers never changes its type, nor do fractions within `data.max_bad_share`."""
    topic = Topic()
    topic.add(0, event(0, 0.5, x=0))
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    topic.add(0, *(event(i, 0.5, x=i) for i in range(1, 200)), event(200, 0.5, x=0.5))
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    topic.add(0, *(event(i, 0.5, x="A1") for i in range(201, 209)))
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert list(range(200)) == ids(tmp_path)
    assert [*range(200, 209)] == sorted(letters_by_offset(tmp_path))
    assert "int" == Calendar.load(SpanStore(tmp_path)).columns["x"]


def test_the_config_lets_a_stream_grow(tmp_path: Path) -> None:
    """A wider type in `data.types` and a class at the end count from the next ingestion on."""
    topic = Topic()
    topic.add(0, *(event(i, 0.5, x=i) for i in range(4)), event(4, 0.5, x=0.5))
    settings = dataclasses.replace(
        SETTINGS, task="multiclass", classes=(0, 1), types={"id": "int", "x": "int"}
    )
    ingester(tmp_path, Scripted(topic), settings).run(flush=True)
    assert [0, 1, 2, 3] == ids(tmp_path)
    more = dataclasses.replace(settings, classes=(0, 1, 2), types={"id": "int", "x": "float"})
    topic.add(0, json.dumps({"id": 5, "at": START, "y": 2, "x": 1.5}).encode())
    work = ingester(tmp_path, Scripted(topic), more)
    assert ["1-0-4"] == stream_letters.replay(work)[0]
    work.run(flush=True)
    assert [0, 1, 2, 3, 4, 5] == ids(tmp_path)
    known = Calendar.load(SpanStore(tmp_path))
    assert ("float", ("0", "1", "2")) == (known.columns["x"], known.classes)
    fewer = dataclasses.replace(settings, types={"id": "int", "x": "int"}, classes=(0, 1, 2))
    topic.add(0, event(6, 0.5, x=1))
    with pytest.raises(DataError, match="has the type float in the spans, the config asks for int"):
        ingester(tmp_path, Scripted(topic), fewer).run()


def letters_by_offset(home: Path) -> dict[int, str]:
    """The reasons of the dead letters."""
    return {each["offset"]: each["reason"] for each in stream_letters.letters(SegmentStore(home))}


def test_cloud_events(tmp_path: Path) -> None:
    """The event is the envelope's data; columns of the envelope can be named."""
    settings = dataclasses.replace(SETTINGS, columns=("id", "ce_type"))
    topic = Topic()
    envelope = {"specversion": "1.0", "id": "a", "source": "/shop", "type": "view"}
    topic.add(0, json.dumps({**envelope, "data": json.loads(event(1, 0.1))}).encode())
    topic.add(0, json.dumps(envelope).encode(), event(2, 0.1))
    ingester(tmp_path, Scripted(topic), settings, cloudevents=True).run(flush=True)
    assert [1] == ids(tmp_path)
    assert ["view"] == [
        row for batch in SpanStore(tmp_path).read(1, ["ce_type"]) for row in batch.column(0).to_pylist()
    ]
    assert 2 == len(stream_letters.letters(SegmentStore(tmp_path)))


def test_one_bad_clock_does_not_move_the_watermark() -> None:
    """Nor does an event of the future; time never goes back."""
    clock = advanced(None, [START + i for i in range(30)] + [START + 9 * HOUR], now=START + 10 * HOUR)
    assert START + 30 > clock.time
    assert START + 100 == advanced(clock, [START + 10 * HOUR] * 32, now=START + 100).time
    assert clock.time == advanced(clock, [START - HOUR] * 32, now=START + 100).time


def test_the_slowest_partition_holds_the_watermark() -> None:
    """Unless it is idle. A partition with unread events always holds it."""
    clocks = {0: Clock(1000, (), seen=50), 1: Clock(400, (), seen=10)}
    read, unread = {0: Bounds(0, 9), 1: Bounds(0, 9)}, {0: Bounds(0, 9), 1: Bounds(0, 10)}
    given = {"positions": {0: 9, 1: 9}, "idle": 30, "lateness": 100}
    assert 300 == watermark(clocks, bounds=read, now=20, **given)
    assert 900 == watermark(clocks, bounds=read, now=60, **given)
    assert 300 == watermark(clocks, bounds=unread, now=60, **given)
    assert 900 == watermark(clocks, bounds=read, now=600, **given)
    assert watermark(clocks, bounds={**read, 2: Bounds(0, 5)}, now=60, **given) is None
    assert watermark({}, bounds=read, now=60, **given) is None


def test_a_disk_limit_stops_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that no span takes must not fill the disk."""
    monkeypatch.setattr(ingesters, "READ_ROWS", 1000)
    topic = Topic()
    topic.add(0, *(event(i, 0.1) for i in range(3000)))
    with pytest.raises(DataError, match="stream.disk_mib"):
        ingester(tmp_path, Scripted(topic), segment_rows=1000, disk_bytes=100).run()
    assert {} == spans(tmp_path)
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    assert list(range(3000)) == ids(tmp_path)


def test_many_random_streams(tmp_path: Path) -> None:
    """Whatever the order of times, the sizes of segments and the moments of cuts: each event is in exactly one span."""
    random = np.random.default_rng(14)
    topic = Topic(3)
    number = 0
    for _ in range(6):
        for partition in range(3):
            count = int(random.integers(0, 300))
            hours = (
                np.sort(random.uniform(0, 6, count))
                + random.normal(0, 0.4, count).clip(-1, 1)
                + number / 400
                + 2
            )
            topic.add(
                partition,
                *(event(number + i, hour) for i, hour in enumerate(hours)),
                gap=int(random.integers(3)),
            )
            number += count
        rows = int(random.integers(50, 1000))
        ingester(tmp_path, Scripted(topic), segment_rows=rows, lateness=int(random.integers(0, HOUR))).run()
    ingester(tmp_path, Scripted(topic)).run(flush=True)
    dead = len(stream_letters.letters(SegmentStore(tmp_path)))
    found = ids(tmp_path)
    assert number == len(found) + dead == len(set(found)) + dead
    store = SpanStore(tmp_path)
    first = store.manifest(1).extra["calendar"]["first"]
    for span in store.ids():
        times = np.concatenate([batch.column("at").to_numpy() for batch in store.read(span, ["at"])])
        assert {span} == set(times // HOUR - first + 1)
        assert (np.diff(times) >= 0).all()


def test_a_partition_that_ends_in_control_records_is_read_to_its_end(tmp_path: Path) -> None:
    """The marker of a transaction has an offset and no event: the lag is 0, and the partition holds no span back."""
    topic = Topic(2)
    topic.add(0, *(event(i, i / 10) for i in range(30)))
    topic.add(1, event(100, 0.1))
    topic.add(1, gap=1)
    work = ingester(tmp_path, Scripted(topic), idle=0)
    work.run()
    assert {0: 30, 1: 2} == work.state.next
    assert {0: 0, 1: 0} == work.lag()
    assert {1, 2} == set(spans(tmp_path))


def test_events_of_any_kind_are_decoded_as_one_by_one(tmp_path: Path) -> None:
    """Events are decoded together; a message with a line break, two events, or none is not mistaken for others."""
    topic = Topic()
    good = event(1, 0.1)
    topic.add(
        0, good, good.replace(b", ", b",\n"), good + b"\n" + good, b"  ", b"", None, b"\n" + good + b" "
    )
    work = ingester(tmp_path, Scripted(topic))
    work.run(flush=True)
    assert [1, 1, 1] == ids(tmp_path)
    assert (3, 1) == (work.state.counts["dead"], work.state.counts["tombstones"])
    assert [2, 3, 4] == [each["offset"] for each in stream_letters.letters(work.segments)]
