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
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.stream_contract import check_stream
from noria.ingestion.streams.kafka import Kafka
from tests.helpers.mock_cluster import mock_cluster
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
real = pytest.mark.skipif(not REAL, reason="the mock cluster cannot do it; NORIA_TEST_KAFKA names a broker")


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

    def stream(self, start: str = "earliest", **settings: Any) -> Kafka:
        given = {"bootstrap.servers": self.broker, "log_level": 0, "group.id": self.name, **settings}
        if not REAL and not settings:
            given.update(PROTOCOLS["kip-848"])  # joins at once there
        return Mock({"topic": self.name, "start": start, "settings": given}, Path("."))


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


def test_a_broker_that_starts_again_is_waited_for(tmp_path: Path) -> None:
    """Before the stream is open, and while events are read; all events are in spans."""
    with mock_cluster(brokers=2) as cluster:
        topic = Topic(cluster.address)
        for first in (0, 400):
            topic.send(event(i, i / 100) for i in range(first, first + 400))
            cluster.down(1)
            again = threading.Timer(2, cluster.up, [1])
            again.start()
            work = ingester(tmp_path, topic.stream())
            work.run()
            again.join()
        ingester(tmp_path, topic.stream()).run(flush=True)
    assert list(range(800)) == ids(tmp_path)


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


def test_from_the_latest_event_on(tmp_path: Path, topic: Topic) -> None:
    """The position of a partition is stored although no event has come; what comes while nobody reads is not lost."""
    topic.send(event(i, 0.1) for i in range(8))
    latest = topic.stream(start="latest")
    work = ingester(tmp_path, latest)
    work.run()
    assert {0: 2, 1: 2, 2: 2, 3: 2} == work.state.next
    topic.send(event(i, 0.1) for i in range(8, 12))
    ingester(tmp_path, topic.stream(start="latest")).run(flush=True)
    assert [8, 9, 10, 11] == ids(tmp_path)


@real
@pytest.mark.parametrize("end", ["committed", "aborted", "open"])
def test_transactions(tmp_path: Path, topic: Topic, end: str) -> None:
    """Aborted events are in no span, wherever they are; an open transaction holds the end back; the lag becomes 0."""
    producer = kafka.Producer({"bootstrap.servers": topic.broker, "transactional.id": topic.name})
    producer.init_transactions(30)

    def send(first: int, commit: bool | None) -> None:
        producer.begin_transaction()
        for i in range(first, first + 40):
            producer.produce(topic.name, event(i, 0.1), partition=i % 4)
        producer.flush(30)
        if commit is not None:
            (producer.commit_transaction if commit else producer.abort_transaction)(30)

    for first, commit in ((1000, False), (0, True), (2000, False), (40, True)):
        send(first, commit)
        ingester(tmp_path, topic.stream()).run()
    send(80, {"committed": True, "aborted": False, "open": None}[end])
    work = ingester(tmp_path, topic.stream())
    work.run(flush=True)
    assert list(range(120 if end == "committed" else 80)) == ids(tmp_path)
    assert 0 == sum(work.lag().values())
    if end == "open":
        producer.commit_transaction(30)
        ingester(tmp_path, topic.stream()).run(flush=True)
        assert list(range(120)) == ids(tmp_path)


@real
def test_retention_has_passed(tmp_path: Path, topic: Topic) -> None:
    """Deleted events that were not read are a refusal; with --accept-loss the rest is read."""
    topic.send(event(i, 0.1) for i in range(40))
    ingester(tmp_path, topic.stream()).run()
    topic.send(event(i, 0.1) for i in range(40, 80))
    admin = kafka.admin.AdminClient({"bootstrap.servers": topic.broker})
    [deleted] = admin.delete_records([kafka.TopicPartition(topic.name, 0, 15)]).values()
    deleted.result(30)
    with pytest.raises(DataError, match="retention has passed"):
        ingester(tmp_path, topic.stream()).run()
    ingester(tmp_path, topic.stream()).run(accept_loss=True, flush=True)
    assert sorted({*range(80)} - {40, 44, 48, 52, 56}) == ids(tmp_path)


@real
def test_a_topic_that_was_made_again_is_refused(tmp_path: Path, topic: Topic) -> None:
    """Its id is another one, even if it has as many events."""
    topic.send(event(i, 0.1) for i in range(8))
    ingester(tmp_path, topic.stream()).run()
    admin = kafka.admin.AdminClient({"bootstrap.servers": topic.broker})
    admin.delete_topics([topic.name])[topic.name].result(30)
    time.sleep(2)
    admin.create_topics([kafka.admin.NewTopic(topic.name, 4, 1)])[topic.name].result(30)
    topic.producer = kafka.Producer({"bootstrap.servers": topic.broker})  # the old one knows the old topic
    topic.send(event(i, 0.1) for i in range(8))
    with pytest.raises(DataError, match="deleted and made again"):
        ingester(tmp_path, topic.stream()).run()


@real
def test_a_topic_gets_partitions(tmp_path: Path, topic: Topic) -> None:
    """They are read from their first event on, even where the stream began at its latest one."""
    ingester(tmp_path, topic.stream(start="latest")).run()
    admin = kafka.admin.AdminClient({"bootstrap.servers": topic.broker})
    admin.create_partitions([kafka.admin.NewPartitions(topic.name, 6)])[topic.name].result(30)
    until = time.monotonic() + 30
    while len(topic.producer.list_topics(topic.name, timeout=10).topics[topic.name].partitions) < 6:
        assert time.monotonic() < until, "the broker must tell of the partitions within 30 s"
    for i in range(6):
        topic.producer.produce(topic.name, event(i, 0.1), partition=i)
    assert 0 == topic.producer.flush(30)
    ingester(tmp_path, topic.stream(start="latest")).run(flush=True)
    assert [0, 1, 2, 3, 4, 5] == ids(tmp_path)


def _wait_for(home: Path, stored: int) -> None:
    until = time.monotonic() + 60
    while sum(SegmentStore(home).state().next.values()) < stored:
        assert time.monotonic() < until, f"{stored} events must be stored within 60 s"
        time.sleep(0.05)
