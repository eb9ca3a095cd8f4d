"""What an ingester reports over HTTP, and the commands of a stream."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noria.core.errors import ConfigError
from noria.ingestion.segments import monitoring_server
from noria.ingestion.segments.monitoring_server import MonitoringServer
from noria.pipeline.cli.app import app
from noria.pipeline.config import load
from tests.unit.ingestion.streams.scripted import START, Scripted, Topic, event, ids, ingester

CONFIG = """
name: clicks
stream: {source: {log: events}}
label: {column: y, classes: [0, 1]}
time: at
span: hour
"""


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics count what happened; /readyz is true only while the stream is read, /healthz while the loop runs."""
    topic = Topic()
    topic.add(0, *(event(i, i / 100) for i in range(250)), b"{", None)
    work = ingester(tmp_path, Scripted(topic))
    with MonitoringServer("127.0.0.1:0", work) as served:
        work.tell = served.observe
        assert (503, "the stream is not open yet\n") == get(served.port, "/readyz")
        work.run()
        assert (200, "ok\n") == get(served.port, "/healthz")
        code, text = get(served.port, "/metrics")
        assert 200 == code
        for line in (
            "noria_ingest_events_total 250.0",
            "noria_ingest_dead_letters_total 1.0",
            "noria_ingest_tombstones_total 1.0",
            "noria_ingest_span_rows_total 200.0",
            'noria_ingest_lag{partition="0"} 0.0',
            'noria_ingest_position{partition="0"} 252.0',
            "noria_ingest_span_delay_seconds_count 1.0",
        ):
            assert f"\n{line}\n" in text
        monkeypatch.setattr(monitoring_server, "STUCK_SECONDS", -1.0)
        assert 503 == get(served.port, "/healthz")[0] == get(served.port, "/readyz")[0]
        with pytest.raises(ConfigError, match="cannot listen"):
            MonitoringServer(f"127.0.0.1:{served.port}", work)


def test_each_metric_is_documented() -> None:
    """docs/streams.md names every metric."""
    page = (Path(__file__).parents[4] / "docs" / "streams.md").read_text(encoding="utf-8")
    assert [] == [name for name in monitoring_server.METRICS if f"`{name}`" not in page]


def test_from_emit_to_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the quickstart: emit, ingest, status, deadletter."""
    monkeypatch.chdir(tmp_path)
    Path("noria.yaml").write_text(CONFIG)
    Path("events.jsonl").write_bytes(b"\n".join([*(event(i, i / 100) for i in range(250)), b"nonsense"]))

    def run(*words: str) -> dict:
        done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
        assert 0 == done.exit_code, done.output
        return json.loads(done.stdout)

    refused = CliRunner().invoke(app, ["ingest"])
    assert 1 == refused.exit_code and "there is no event log" in refused.output
    assert 251 == run("emit", "events.jsonl")["events"]
    assert 200 == run("ingest")["rows"]
    [partition] = run("status")["stream"]["partitions"]
    assert 0 == partition["lag"] and START < partition["event_time"] < START + 9000
    [letter] = run("deadletter", "list")["letters"]
    assert "malformed" in run("deadletter", "show", letter["name"])["reason"]
    assert [] == run("deadletter", "replay")["replayed"]
    assert 50 == run("ingest", "--flush")["rows"]
    assert list(range(250)) == ids(load().home_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("label: y", "`label.classes` must list the classes of a stream"),
        ("data: a.csv", "`data.source` and `stream.source` cannot both be set"),
        ("stream: {source: {kafak: 1}}", "did you mean 'kafka'"),
        ("stream: {source: {log: events}, idle: soon}", "must be an interval"),
        ("span: rows:5\nstream: {source: {log: events}, unique: id}", "`stream.unique` must be empty"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, change: str, said: str) -> None:
    """Refused when the config is read."""
    keys = [line.partition(":")[0] for line in change.splitlines()]
    kept = [line for line in CONFIG.splitlines() if line.partition(":")[0] not in keys]
    (tmp_path / "noria.yaml").write_text("\n".join([*kept, change, ""]))
    with pytest.raises(ConfigError) as refused:
        load(tmp_path)
    assert said in str(refused.value)
