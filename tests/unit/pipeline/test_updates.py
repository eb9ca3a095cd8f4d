"""Model updates: what happens in the registry reaches each target, in order, at least once."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat

from noria.core.errors import ConfigError
from noria.pipeline.config import Config
from noria.pipeline.updates.outbox import deliver, problems
from noria.pipeline.updates.target_contract import check_target
from noria.pipeline.updates.targets.base import Target
from noria.pipeline.updates.targets.file import File
from noria.pipeline.updates.targets.kafka import Kafka
from noria.pipeline.updates.targets.webhook import Webhook
from noria.stores.publication import Publication
from noria.stores.registry import Registry, RunRecord
from tests.helpers.killed import killed_at


def config(folder: Path, *updates: dict[str, Any]) -> Config:
    settings = {"name": "m", "label": "y", "span": "rows:100", "updates": list(updates)}
    return Config.read(settings, folder / "noria.yaml")


def publish(config: Config, run_id: str) -> None:
    registry = Registry(config.home_path)
    model = config.folder / "model"
    model.mkdir(exist_ok=True)
    (model / "saved_model.pb").write_text("model")
    champion = registry.champion()
    parent = champion.version if champion else None
    version = registry.register({"serving": model}, run_id=run_id, parent=parent, span=1, spans=(1,))
    Publication(registry, config.model_root).publish(version.version)


def break_span(config: Config, **more: Any) -> None:
    run = RunRecord(span=2, run_id="r2", span_version=1, data_verdict="broken", reasons=("prices are gone",))
    Registry(config.home_path).record_run(RunRecord(**{**vars(run), **more}))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Forgetful(Target):
    """A target that returns before its receiver has the update."""

    name = "forgetful"

    def send(self, event: bytes) -> None:
        pass


def test_a_file_keeps_the_contract(tmp_path: Path) -> None:
    """It has each update when `send` returns; a folder in its place is an error."""
    path = tmp_path / "updates.jsonl"
    check_target(
        lambda: File("updates.jsonl", tmp_path),
        lambda: path.read_bytes().splitlines(),
        lambda: File(".", tmp_path),
    )


def test_a_wrong_target_fails_the_checks(tmp_path: Path) -> None:
    """The message says what the receiver has."""
    with pytest.raises(AssertionError, match=r"after the receiver has the update: it has \[\]"):
        check_target(lambda: Forgetful(None, tmp_path), list)


def test_each_change_is_told_once_and_in_order(tmp_path: Path) -> None:
    """Two publications, a quarantine that is recorded twice, and a rollback are four CloudEvents; another delivery
    sends nothing more."""
    project = config(tmp_path, {"file": "updates.jsonl"})
    publish(project, "r1")
    break_span(project)
    [first] = deliver(project)
    break_span(project, seconds={"DataGate": 1.0})  # the run has ended
    publish(project, "r3")
    Publication(Registry(project.home_path), project.model_root).rollback("it is bad", "me", None)
    [second] = deliver(project)
    [third] = deliver(project)
    told = lines(tmp_path / "updates.jsonl")
    assert ["published", "quarantined", "published", "rolled_back"] == [
        each["data"]["change"] for each in told
    ]
    assert [str(number) for number in (*first.sent, *second.sent)] == [each["id"] for each in told]
    assert () == third.sent
    assert {"dev.noria.model_update"} == {each["type"] for each in told}
    assert ["version/1", "span/2", "version/2", "version/1"] == [each["subject"] for each in told]
    assert ("it is bad", 2, 1) == tuple(told[3]["data"][name] for name in ("reason", "from", "version"))
    event = JSONFormat().read(None, json.dumps(told[0]))
    assert "/noria/m" == event.get_source()
    assert project.model_root / "1" == Path(event.get_data()["model_dir"])  # type: ignore[call-overload,index]


def test_a_kill_anywhere_loses_nothing(tmp_path: Path) -> None:
    """Whatever step the process is killed at, the next delivery continues: all updates are there, in order."""
    for n in range(1, 60):
        folder = tmp_path / str(n)
        folder.mkdir()
        project = config(folder, {"file": "updates.jsonl"})
        publish(project, "r1")
        publish(project, "r2")
        was_killed = killed_at(n, folder, lambda project=project: deliver(project))
        deliver(project)
        ids = [int(each["id"]) for each in lines(folder / "updates.jsonl")]
        assert sorted(ids) == ids and 2 == len(set(ids)), f"step {n}"
        if not was_killed:
            break
    assert 10 < n < 59


def test_half_a_line_of_a_killed_writer_is_no_event(tmp_path: Path) -> None:
    """The next update begins a new line."""
    project = config(tmp_path, {"file": "updates.jsonl"})
    (tmp_path / "updates.jsonl").write_text('{"specversion":')
    publish(project, "r1")
    deliver(project)
    assert 2 == len((tmp_path / "updates.jsonl").read_text().splitlines())


@pytest.fixture
def hook() -> Iterator[Any]:
    """A server: `got` are its requests, `status` what it answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((dict(self.headers), body))  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 204
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_keeps_the_contract(tmp_path: Path, hook: Any) -> None:
    """It has each update when `send` returns; an answer other than 2xx is an error."""

    def refused() -> Webhook:
        hook.status = 403
        return webhook()

    def webhook() -> Webhook:
        return Webhook(f"http://127.0.0.1:{hook.server_port}/hook", tmp_path)

    check_target(webhook, lambda: [body for _, body in hook.got], refused)


def test_a_webhook_that_refuses_gets_its_updates_later(
    tmp_path: Path, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the other target is told; the secrets are in no message."""
    monkeypatch.setenv("HOOK_TOKEN", "hunter2")
    url = f"http://127.0.0.1:{hook.server_port}/hook?key=hunter3"
    monkeypatch.setenv("HOOK_URL", url)
    given = {"url": {"env": "HOOK_URL"}, "token": {"env": "HOOK_TOKEN"}}
    project = config(tmp_path, {"webhook": given}, {"file": "updates.jsonl"})
    publish(project, "r1")
    publish(project, "r2")
    hook.status = 403
    refused, told = deliver(project)
    assert ((), 2, 2) == (refused.sent, refused.waiting, len(told.sent))
    [said] = problems([refused, told])
    assert "403" in said and "hunter" not in said + str(refused.problem)
    hook.status, hook.got[:] = 204, []
    again, _ = deliver(project)
    assert list(again.sent) == [int(json.loads(body)["id"]) for _, body in hook.got] and 2 == len(again.sent)
    headers = hook.got[0][0]
    assert "Bearer hunter2" == headers["Authorization"]
    assert headers["Content-Type"].startswith("application/cloudevents+json")


@pytest.fixture
def broker() -> Iterator[dict[str, Any]]:
    """The settings of the broker that NORIA_TEST_KAFKA names, or of a mock cluster."""
    kafka = pytest.importorskip("confluent_kafka")
    address = os.environ.get("NORIA_TEST_KAFKA")
    cluster = None
    if address is None:  # the mock cluster lives as long as its producer
        cluster = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
        [node] = cluster.list_topics(timeout=10).brokers.values()
        address = f"{node.host}:{node.port}"
    yield {"bootstrap.servers": address, "log_level": 0}
    del cluster


def messages(settings: dict[str, Any], topic: str) -> list[Any]:
    """All messages of a topic."""
    import confluent_kafka as kafka

    consumer = kafka.Consumer({**settings, "group.id": topic, "auto.offset.reset": "earliest"})
    names = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    partitions = [kafka.TopicPartition(topic, each, 0) for each in names]
    consumer.assign(partitions)
    count = sum(consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions)
    found = consumer.consume(count, 20)
    consumer.close()
    return found


def test_a_topic_keeps_the_contract(tmp_path: Path, broker: dict[str, Any]) -> None:
    """It has each update when `send` returns."""
    topic = f"contract-{os.getpid()}-{tmp_path.name[-8:]}"
    check_target(
        lambda: Kafka({"topic": topic, "settings": broker}, tmp_path),
        lambda: [each.value() for each in messages(broker, topic)],
    )


def test_a_topic_has_them_in_one_partition(tmp_path: Path, broker: dict[str, Any]) -> None:
    """All updates of a project are in one partition, in order."""
    topic = f"updates-{os.getpid()}-{tmp_path.name[-8:]}"
    project = config(tmp_path, {"kafka": {"topic": topic, "settings": broker}})
    for number in range(3):
        publish(project, f"r{number}")
    [delivery] = deliver(project)
    assert delivery.problem is None
    found = messages(broker, topic)
    assert list(delivery.sent) == [int(json.loads(each.value())["id"]) for each in found]
    assert 1 == len({each.partition() for each in found})


def test_a_target_must_exist(tmp_path: Path) -> None:
    """A kind that does not exist is a wrong config; what is wrong in a kind's settings waits for nobody's events."""
    with pytest.raises(ValueError, match="did you mean 'kafka'"):
        config(tmp_path, {"kafak": {}})
    project = config(tmp_path, {"kafka": {"topic": "t", "settings": {"sasl.password": "hunter2"}}})
    publish(project, "r1")
    [delivery] = deliver(project)
    assert isinstance(delivery.problem, ConfigError) and "hunter2" not in str(delivery.problem)
