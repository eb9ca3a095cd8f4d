"""A stream whose events a test writes down: partitions with gaps, retention, another topic, several readers."""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from noria.ingestion.events import EventSettings
from noria.ingestion.segments.ingester import Ingester
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.streams.base import Bounds, Messages, Stream
from noria.pipeline.config.stream import StreamSection
from noria.stores.spans import SpanStore

HOUR = 3600
START = 1_700_000_000 // HOUR * HOUR
SETTINGS = EventSettings(
    label="y", task="binary", classes=(0, 1), time="at", every="hour", types={"id": "int"}
)


class Topic:
    """Events by partition: (offset, value)."""

    def __init__(self, partitions: int = 1):
        self.events: dict[int, list[tuple[int, bytes | None]]] = {each: [] for each in range(partitions)}
        self.first = dict.fromkeys(self.events, 0)
        self.end = dict.fromkeys(self.events, 0)
        self.id = "one"

    def add(self, partition: int, *values: bytes | None, gap: int = 0) -> None:
        """Appends events; `gap` offsets before them have none (aborted, compacted or control records)."""
        self.end[partition] += gap
        for value in values:
            self.events[partition].append((self.end[partition], value))
            self.end[partition] += 1


class Scripted(Stream):
    """Reads a topic."""

    def __init__(self, topic: Topic, mine: Collection[int] | None = None):
        super().__init__(None, Path("."))
        self.topic = topic
        self.mine = set(topic.events if mine is None else mine)
        self.at: dict[int, int] = {}

    @property
    def name(self) -> str:
        return "scripted"

    def identity(self) -> dict[str, Any]:
        return {"source": "scripted", "topic_id": self.topic.id}

    def bounds(self) -> dict[int, Bounds]:
        return {each: Bounds(self.topic.first[each], self.topic.end[each]) for each in self.topic.events}

    def open(
        self,
        positions: Callable[[], Mapping[int, int]],
        lost: Callable[[Collection[int]], None] = lambda _: None,
    ) -> None:
        self.at = {each: positions().get(each, self.topic.first[each]) for each in self.mine}

    def read(self, limit: int, timeout: float) -> list[Messages]:
        found = []
        for partition, at in self.at.items():
            events = [(offset, value) for offset, value in self.topic.events[partition] if offset >= at][
                :limit
            ]
            if events:
                offsets, values = zip(*events, strict=True)
                following = offsets[-1] + 1
                times = [-1] * len(values)
                found.append(Messages(partition, at, list(offsets), times, list(values), following))
                self.at[partition] = following
            elif self.topic.end[partition] > at:  # control records at the end, as Kafka's stream tells them
                self.at[partition] = self.topic.end[partition]
                found.append(Messages(partition, at, [], [], [], self.at[partition]))
        return found

    def seek(self, partition: int, position: int) -> None:
        self.at[partition] = position

    def assigned(self) -> set[int]:
        return set(self.at)

    def caught_up(self) -> bool:
        return all(at >= self.topic.end[partition] for partition, at in self.at.items())


def event(number: int, at: float, **more: Any) -> bytes:
    """An event at so many hours after START."""
    return json.dumps({"id": number, "at": START + int(at * HOUR), "y": number % 2, **more}).encode()


def ingester(home: Path, stream: Stream, settings: EventSettings = SETTINGS, **how: Any) -> Ingester:
    """An ingester whose records are in `records`."""
    records: list[dict[str, Any]] = []
    settled = dataclasses.replace(StreamSection().for_ingester("hour"), **how)
    made = Ingester(stream, settings, settled, SegmentStore(home), SpanStore(home), tell=records.append)
    made.records = records  # type: ignore[attr-defined]
    return made


def spans(home: Path) -> dict[int, list[int]]:
    """Ids of the events in each span, sorted."""
    store = SpanStore(home)
    return {
        span: sorted(pa.Table.from_batches(list(store.read(span))).column("id").to_pylist())
        for span in store.ids()
    }


def ids(home: Path) -> list[int]:
    """Ids of the events in all spans, sorted."""
    return sorted(each for found in spans(home).values() for each in found)
