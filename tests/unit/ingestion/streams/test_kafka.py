"""The Kafka stream. librdkafka's mock cluster proves positions, groups and rebalances; it has no transactions, no topic
ids and no retention. `NORIA_TEST_KAFKA=host:port` runs the same tests against a real broker."""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.core.errors import ConfigError, DataError
from noria.ingestion.segments.store import SegmentStore
from noria.ingestion.stream_contract import check_stream
from noria.ingestion.streams.kafka import Kafka
from tests.unit.ingestion.streams.scripted import event, ids, ingester

kafka: Any = pytest.importorskip("confluent_kafka")
pytest.importorskip("confluent_kafka.admin")
PROTOCOLS = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "kip-848": {"group.protocol": "consumer"},
}


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """Its address."""
    given = os.environ.get("NORIA_TEST_KAFKA")
    if given:
        yield given
        return
    quiet = {"log_level": 0}
    cluster = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", **quiet})
    [node] = cluster.list_topics(timeout=10).brokers.values()
    yield f"{node.host}:{node.port}"


# The mock cluster waits 3 s for each generation of a classic group.
ALL = [
    pytest.param("eager", marks=pytest.mark.servers),
    pytest.param("cooperative", marks=pytest.mark.servers),
    "kip-848",
]
REAL = bool(os.environ.get("NORIA_TEST_KAFKA"))


class Mock(Kafka):
    """On the mock cluster, which never answers when it is asked for a topic's id, and whose classic groups let nobody
    in again once all members have left. So each object there joins another group, and calls it by the same name."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.group = self.settings["group.id"]
        if not REAL and "group.protocol" not in self.settings:
            self.settings["group.id"] += uuid.uuid4().hex

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "group": self.group}

    def _topic_id(self) -> str | None:
        return super()._topic_id() if REAL else None


class Topic:
    """A topic of four partitions."""

    def __init__(self, broker: str):
        self.broker = broker
        self.name = f"events-{uuid.uuid4().hex[:8]}"
        self.producer = kafka.Producer(
            {"bootstrap.servers": broker, "enable.idempotence": True, "log_level": 0}
        )
        if REAL:
            admin = kafka.admin.AdminClient({"bootstrap.servers": broker})
            admin.create_topics([kafka.admin.NewTopic(self.name, 4, 1)])[self.name].result(30)
        else:
            self.producer.list_topics(self.name, timeout=10)  # the mock makes it, with four partitions

    def send(self, values: Any) -> None:
        for i, value in enumerate(values):
            self.producer.produce(self.name, value, partition=i % 4)
        assert 0 == self.producer.flush(30)

    def stream(self, **settings: Any) -> Kafka:
        given = {"bootstrap.servers": self.broker, "log_level": 0, "group.id": self.name, **settings}
        if not REAL and not settings:
            given.update(PROTOCOLS["kip-848"])  # joins at once there
        return Mock({"topic": self.name, "settings": given}, Path("."))


@pytest.fixture
def topic(broker: str) -> Topic:
    return Topic(broker)


@pytest.mark.parametrize("protocol", ALL)
def test_keeps_the_contract(broker: str, protocol: str) -> None:
    """A topic is an event stream under each protocol of consumer groups."""
    topic = Topic(broker)
    check_stream(lambda: topic.stream(**PROTOCOLS[protocol]), topic.send)


def test_events_become_spans(tmp_path: Path, topic: Topic) -> None:
    """Each event of each partition is in one span; the next ingestion continues at the stored positions."""
    topic.send(event(i, i / 100) for i in range(400))
    ingester(tmp_path, topic.stream()).run()
    topic.send([*(event(i, i / 100) for i in range(400, 600)), None, b"{"])
    work = ingester(tmp_path, topic.stream())
    work.run(flush=True)
    assert list(range(600)) == ids(tmp_path)
    assert 602 == sum(SegmentStore(tmp_path).state().next.values()) and 0 == sum(work.lag().values())
    assert (1, 1) == (work.state.counts["dead"], work.state.counts["tombstones"])


@pytest.mark.parametrize("protocol", ["eager", ALL[1], pytest.param("kip-848", marks=pytest.mark.servers)])
def test_ingesters_join_and_leave(tmp_path: Path, broker: str, protocol: str) -> None:
    """Partitions move between two ingesters while events come; each event is in one span."""
    topic = Topic(broker)
    settings = PROTOCOLS[protocol]
    home, sent = tmp_path, 0
    stops, threads = [], []
    for _ in range(2):
        stop = threading.Event()
        stream = topic.stream(**settings)
        stream.settings["group.id"] = topic.name  # one group for both
        work = ingester(home, stream, segment_rows=50)
        thread = threading.Thread(target=work.run, kwargs={"follow": True, "stop": stop})
        thread.start()
        stops.append(stop)
        threads.append(thread)
        topic.send(event(i, i / 100) for i in range(sent, sent + 400))
        sent += 400
        _wait_for(home, sent - 300)
    stops[0].set()
    threads[0].join(60)
    topic.send(event(i, i / 100) for i in range(sent, sent + 400))
    stops[1].set()
    threads[1].join(60)
    ingester(home, topic.stream(**settings)).run(flush=True)
    assert list(range(sent + 400)) == ids(home)


def test_another_group_or_topic_is_refused(tmp_path: Path, topic: Topic) -> None:
    """Stored positions belong to one topic of one cluster, read by one group."""
    topic.send([event(1, 0.1)])
    ingester(tmp_path, topic.stream()).run()
    with pytest.raises(DataError, match="group was"):
        ingester(tmp_path, topic.stream(**PROTOCOLS["kip-848"], **{"group.id": "another"})).run()
    other = Topic(topic.broker)
    other.send([event(2, 0.1)])
    with pytest.raises(DataError, match="topic was"):
        ingester(tmp_path, other.stream(**PROTOCOLS["kip-848"], **{"group.id": topic.name})).run()


def test_a_position_beyond_the_end_is_refused(tmp_path: Path, topic: Topic) -> None:
    """As after a topic was made again on a broker without topic ids."""
    topic.send([event(1, 0.1)] * 8)
    work = ingester(tmp_path, topic.stream())
    work.run()
    store = SegmentStore(tmp_path)
    state = store.state()
    with store.hold():
        store.advance(
            type(state).from_json({**state.to_json(), "commit": state.commit + 1, "next": {"0": 9000}}), now=0
        )
    with pytest.raises(DataError, match="stored position 9,000 is behind the end"):
        ingester(tmp_path, topic.stream()).run()


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret comes from a file or the environment and is in no message; what librdkafka refuses is a config error."""
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv("KAFKA_USER", "me")

    def made(**settings: Any) -> Kafka:
        given = {"topic": "t", "settings": {"bootstrap.servers": "127.0.0.1:1", **settings}}
        return Kafka(given, tmp_path)

    stream = made(**{"sasl.password": {"file": "secret"}, "sasl.username": {"env": "KAFKA_USER"}})
    assert ("hunter2", "me") == (stream.settings["sasl.password"], stream.settings["sasl.username"])
    with pytest.raises(ConfigError, match="is a secret") as refused:
        made(**{"sasl.password": "hunter2"})
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError, match="has no NOT_THERE"):
        made(**{"sasl.password": {"env": "NOT_THERE"}})
    with pytest.raises(ConfigError, match="stores the positions itself"):
        made(**{"enable.auto.commit": True})
    with pytest.raises(ConfigError, match="librdkafka refuses .*no.such.setting"):
        made(**{"no.such.setting": 1}).open(lambda: {})


def _wait_for(home: Path, stored: int) -> None:
    until = time.monotonic() + 60
    while sum(SegmentStore(home).state().next.values()) < stored:
        assert time.monotonic() < until, f"{stored} events must be stored within 60 s"
        time.sleep(0.05)
