"""The container's entrypoint: what the launcher hands over, and what it gets back."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from noria.components import journal
from noria.core.errors import ClusterError, ConfigError, DataError, ThinError
from noria.stores import twin
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

pytestmark = pytest.mark.slow  # each test, or its process, imports TFX

PLACE = "minio://mlpipeline/root/flights/run-1/{task}/attempt-1"


def given(name: str, metadata: dict[str, Any] | None = None, task: str = "Before") -> dict[str, Any]:
    """An input artifact as the driver makes it: without a type."""
    uri = f"{PLACE.format(task=task)}/{name}"
    artifact = {"name": "7", "uri": uri, "type": {"instanceSchema": ""}, "metadata": metadata or {}}
    return {"artifacts": [artifact]}


def asked(name: str, schema: dict[str, str], task: str = "Task") -> dict[str, Any]:
    """An output artifact as the driver provisions it."""
    return {
        "artifacts": [
            {"name": name, "uri": f"{PLACE.format(task=task)}/{name}", "type": schema, "metadata": {}}
        ]
    }


def request() -> tuple[dict[str, Any], dict[str, Any]]:
    """A request with all that TFX's own entrypoint dies on, and the component's inputs."""
    spec = {
        "artifacts": {
            "examples": {"artifactType": {"instanceSchema": "title: tfx.Examples\ntype: object\n"}},
            "_Ingest.ingested": {"artifactType": {"instanceSchema": "title: noria.Ingested\ntype: object\n"}},
        },
        "parameters": {
            "keep": {"parameterType": "NUMBER_INTEGER"},
            "share": {"parameterType": "NUMBER_DOUBLE"},
        },
    }
    executor_input = {
        "inputs": {
            "parameterValues": {"keep": 10.0, "share": 0.5},
            "artifacts": {
                "examples": given(
                    "examples",
                    {"span": 3.0, "split_names": '["train"]', "mode": "warm", "loss": 0.25, "gone": None},
                ),
                "_Ingest.ingested": given("ingested", {"state": "waiting"}),
            },
        },
        "outputs": {
            "artifacts": {
                "model": asked("model", {"instanceSchema": "title: tfx.Model\ntype: object\n"}),
                "executor-logs": asked("executor-logs", {"schemaTitle": "system.Artifact"}),
            },
            "outputFile": "/minio/mlpipeline/root/flights/run-1/Task/attempt-1/output_metadata.json",
        },
    }
    return executor_input, spec


def test_the_request_is_understood(tmp_path: Path) -> None:
    """Types from the specification, local places, numbers as they were; nothing foreign, no null."""
    from noria.pipeline.runners.kubeflow import runtime

    found = runtime.parse(*request(), runtime.Mirror(tmp_path))
    assert ["examples"] == list(found.inputs)
    [examples] = found.inputs["examples"]
    assert "Examples" == examples.type_name
    assert f"{tmp_path}/minio/mlpipeline/root/flights/run-1/Before/attempt-1/examples" == examples.uri
    assert (3, '["train"]') == (examples.span, examples.split_names)
    assert ("warm", 0.25) == (
        examples.get_string_custom_property("mode"),
        examples.get_float_custom_property("loss"),
    )
    assert not examples.has_custom_property("gone")
    assert ["model"] == list(found.outputs)
    assert {"keep": 10, "share": 0.5} == found.exec_properties and isinstance(
        found.exec_properties["keep"], int
    )
    assert ("flights", "run-1", "Task") == (found.project, found.run_id, found.task)


def test_the_answer_is_remote_again(tmp_path: Path) -> None:
    """Outputs get their URIs back, also inside of properties, and no null is written."""
    from noria.pipeline.runners.kubeflow import runtime

    mirror = runtime.Mirror(tmp_path)
    [model] = runtime.parse(*request(), mirror).outputs["model"]
    model.set_string_custom_property("current_model", f"{tmp_path}/minio/mlpipeline/x")
    model.set_int_custom_property("version", 4)
    said = runtime.executor_output({"model": [model]}, mirror)
    [answer] = said["artifacts"]["model"]["artifacts"]
    assert f"{PLACE.format(task='Task')}/model" == answer["uri"]
    assert {"current_model": "minio://mlpipeline/x", "version": 4} == answer["metadata"]


@pytest.mark.parametrize("scheme", ["s3://", "minio://", "gs://"])
def test_there_and_back(tmp_path: Path, scheme: str) -> None:
    """A URI of each store survives the way to a local folder and back."""
    from noria.pipeline.runners.kubeflow import runtime

    mirror = runtime.Mirror(tmp_path)
    assert f"{scheme}bucket/a b/c" == mirror.remote(mirror.local(f"{scheme}bucket/a b/c"))


def test_unknown_store_and_type() -> None:
    """A pipeline root of another scheme, and a type of another release, are refused with a way out."""
    from noria.pipeline.runners.kubeflow import runtime

    with pytest.raises(ConfigError, match="kubeflow.pipeline_root") as caught:
        runtime.Mirror().local("hdfs://bucket/x")
    assert "--pipeline-root" not in str(caught.value)  # no command has such an option
    with pytest.raises(ConfigError, match="same version"):
        runtime.artifact_class("noria.Nothing")


def task(home: Path) -> tuple[dict[str, Any], list[str]]:
    """What ChampionResolver is given, and its container's command without the request."""
    uri = f"{PLACE.format(task='ChampionResolver')}/champion"
    schema = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
    executor_input = {
        "inputs": {"parameterValues": {"home": str(home), "model_root": str(home / "models" / "flights")}},
        "outputs": {
            "artifacts": {"champion": {"artifacts": [{"name": "champion", "uri": uri, "type": schema}]}},
            "outputFile": "/minio/mlpipeline/root/flights/run-1/ChampionResolver/attempt-1/output_metadata.json",
        },
    }
    command = ["python", "-m", "noria.pipeline.runners.kubeflow.entrypoint", "--home", str(home)]
    command += ["--executor_class_path", "noria.components.champion.executor.Executor"]
    return executor_input, [*command, "--json_serialized_invocation_args"]


def run(tmp_path: Path, mirror: Path, home: Path) -> subprocess.CompletedProcess:
    """ChampionResolver in a process, as a container would start it."""
    executor_input, [_, *words] = task(home)
    command = [sys.executable, *words, json.dumps(executor_input)]
    env = {**os.environ, "NORIA_KUBEFLOW_MIRROR": str(mirror)}
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)


def test_one_task(tmp_path: Path) -> None:
    """A task writes what the launcher collects, logs what it does, and writes its journal on the volume."""
    done = run(tmp_path, tmp_path / "mirror", tmp_path / "home")
    assert 0 == done.returncode, done.stderr
    assert "noria stage=ChampionResolver event=end" in done.stdout
    assert 1 == (done.stdout + done.stderr).count("stage=ChampionResolver event=end")
    [file] = (tmp_path / "mirror").rglob("output_metadata.json")
    [champion] = json.loads(file.read_text())["artifacts"]["champion"]["artifacts"]
    assert {"state": "absent", "version": 0} == champion["metadata"]
    lines = (
        (tmp_path / "home" / "runs" / "run-1" / "tasks" / "ChampionResolver.jsonl").read_text().splitlines()
    )
    assert ["start", "note", "end"] == [json.loads(line)["event"] for line in lines]


def test_a_store_that_takes_nothing(tmp_path: Path) -> None:
    """Our process ends well, and the launcher fails at the upload: only its error says so, and we understand it."""
    from noria.pipeline.runners.kubeflow import failure
    from tests.e2e.kubeflow_backend import launcher, release, storage

    store = storage.ObjectStore(tmp_path / "buckets")
    store.refusal = "blob (code=PermissionDenied): AccessDenied: status code: 403"
    executor_input, command = task(tmp_path / "home")
    container = {"command": [*command, "{{$}}"]}
    with pytest.raises(launcher.TaskFailed) as caught:
        launcher.launch(executor_input, container, store, storage.Records(), {}, 0, release.V2_16)
    assert "noria stage=ChampionResolver event=end" in caught.value.log
    assert failure.STORE.search(str(caught.value).splitlines()[0])


def test_no_place_for_outputs(tmp_path: Path) -> None:
    """A pod whose local folders cannot be written: one message, with the next step, and exit code 1."""
    mirror = tmp_path / "mirror"
    mirror.write_text("a file where the launcher's folders should be")
    done = run(tmp_path, mirror, tmp_path / "home")
    assert 1 == done.returncode
    message = done.stderr[done.stderr.index("error ") :]
    assert "has no folder to be written to" in message and "next:" in message
    assert "Traceback" not in done.stderr


def settings(tmp_path: Path) -> str:
    """A project's settings as a task's argument."""
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow import container_project

    home = {"home": str(tmp_path / "home")}
    (tmp_path / "noria.yaml").write_text(
        yaml.safe_dump({"name": "rides", "label": "late", "span": "rows:9", "kubeflow": home})
    )
    return container_project.to_json(load(tmp_path))


def ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any = None, spans: Sequence[int] = (4, 5, 6)
) -> dict[str, Any]:
    """What the task Ingest of run `run-1` says at its end, where some spans wait."""
    from noria.components.types import Ingested
    from noria.pipeline.runners.kubeflow.ingest import executor

    monkeypatch.setattr(executor, "ingest", read or (lambda config, on_event: {"rows": 0}))
    monkeypatch.setattr(executor, "waiting", lambda config, again: list(spans))
    monkeypatch.setattr(executor._read.retry, "sleep", lambda seconds: None)
    told: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.journal)  # type: ignore[method-assign]
    journal.logger.addHandler(handler)
    ingested = Ingested()
    ingested.uri = str(tmp_path / "ingested")
    try:
        executor.Executor().Do(
            {}, {"ingested": [ingested]}, {"config": settings(tmp_path), "run_id": "run-1"}
        )
    finally:
        journal.logger.removeHandler(handler)
    return told[-1]


def test_how_many_spans_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest says how many spans wait: a run takes one of them, and a schedule may fall behind."""
    told = ingest(tmp_path, monkeypatch)
    assert ("end", "waiting", 4, 3) == tuple(told[key] for key in ("event", "state", "span", "waiting"))


def test_a_twin_is_due_where_no_span_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run on the newest span, which SpanExampleGen makes one for the twin; else a run has nothing to do."""
    assert "nothing" == ingest(tmp_path, monkeypatch, spans=())["state"]
    monkeypatch.setattr(twin, "due", lambda state, every: True)
    SpanStore(tmp_path / "home").create(7, [pa.table({"late": [1]})], source="a")
    Registry(tmp_path / "home").record_run(RunRecord(7, "run-0", data_verdict="ok", model_verdict="blessed"))
    told = ingest(tmp_path, monkeypatch, spans=())
    assert ("waiting", 7, 1) == tuple(told[key] for key in ("state", "span", "waiting"))


def test_a_repeated_run_takes_no_second_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argo may run a DAG again under the same run id: a recorded run takes no second span, and gets its page."""
    home = tmp_path / "home"
    SpanStore(home).create(7, [pa.table({"late": [1]})], source="a")
    Registry(home).record_run(RunRecord(7, "run-1", data_verdict="thin", model_verdict="skipped"))
    told = ingest(tmp_path, monkeypatch)
    assert ("nothing", "run-1") == (told["state"], told["repeated"])
    assert (home / "runs" / "run-1" / "run.json").is_file()


def test_a_read_that_breaks_off_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that loses its connection is read again within the task; any other error is not."""
    tries: list[Exception] = [ConnectionError("reset"), TimeoutError("slow")]

    def read(config: Any, on_event: Any) -> dict[str, Any]:
        if tries:
            raise tries.pop()
        return {"rows": 0}

    assert "waiting" == ingest(tmp_path, monkeypatch, read)["state"]
    tries[:] = [DataError("a wrong column"), DataError("a wrong column")]
    with pytest.raises(DataError):
        ingest(tmp_path, monkeypatch, read)
    assert 1 == len(tries)


def test_files_by_url_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server that drops the first connections: the source's own error has that as its cause. A file that is
    not there is no such cause, and is asked for once."""
    from noria.ingestion.sources.remote import Remote

    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) < 6:
                self.close_connection = True
                return
            super().do_GET()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.csv").write_text("late\n1\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def read(config: Any, on_event: Any, name: str = "a.csv") -> dict[str, Any]:
        return {"rows": len(Remote(f"{url}/{name}", tmp_path).find())}

    try:
        assert 1 == ingest(tmp_path, monkeypatch, read)["rows"]
        begun = len(asked)
        with pytest.raises(DataError):
            ingest(tmp_path, monkeypatch, partial(read, name="b.csv"))
        assert 1 == len({*asked[begun:]}) and len(asked) - begun <= 2  # fsspec asks by HEAD, then by GET
    finally:
        server.shutdown()
        server.server_close()


class Webhook:
    """A web address that takes events, after it has refused one."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.got.append((dict(self.headers), body))
                self.send_response(503 if len(owner.got) == 1 else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/events"


def test_a_run_whose_container_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit handler writes the page of a killed run, names the unfinished stage, and calls a webhook."""
    from noria.pipeline.runners.kubeflow import tasklog
    from noria.pipeline.runners.kubeflow.run_end import executor

    home = tmp_path / "home"
    SpanStore(home).create(7, [pa.table({"late": [1]})], source="a")
    lines = {
        "Ingest": [{"stage": "Ingest", "event": "end", "seconds": 1.0, "state": "waiting", "span": 7}],
        "Trainer": [{"stage": "Trainer", "event": "start"}],
    }
    for name, records in lines.items():
        file = tasklog.folder(home, "run-1") / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps({"time": 1.0, **record}) + "\n" for record in records))
    webhook = Webhook()
    threading.Thread(target=webhook.server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HOOK_TOKEN", "secret")
    notify = json.dumps({"url": webhook.url, "token_variable": "HOOK_TOKEN"})
    given = {"config": settings(tmp_path), "run_id": "run-1", "notify": notify}
    try:
        executor.Executor().Do({}, {}, given)
    finally:
        webhook.server.shutdown()
        webhook.server.server_close()
    assert "Trainer: its container ended without a message" in (
        home / "reports" / "00000007-failed.html"
    ).read_text(encoding="utf-8")
    headers, event = webhook.got[-1]
    assert 2 == len(webhook.got) and webhook.got[0][1]["id"] == event["id"]
    assert "Bearer secret" == headers["Authorization"]
    assert ("noria.run.failed", "/noria/rides", "run-1", 7) == (
        event["type"],
        event["source"],
        event["subject"],
        event["data"]["span"],
    )


def test_a_webhook_without_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that the task does not have is named; nothing is sent without the token."""
    from noria.pipeline.config.kubeflow import Notify
    from noria.pipeline.runners.kubeflow.run_end import cloud_event

    monkeypatch.delenv("HOOK_TOKEN", raising=False)
    webhook = Webhook()
    with webhook.server, pytest.raises(ClusterError, match="HOOK_TOKEN is not set") as caught:
        cloud_event.send(
            Notify(url=webhook.url, token_variable="HOOK_TOKEN"), "rides", "run-1", {"outcome": "thin"}
        )
    assert "kubeflow.secrets" in str(caught.value.next_step) and [] == webhook.got


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (RunRecord(7, "run-1", data_verdict="broken", model_verdict="skipped"), "broken"),
        (RunRecord(7, "run-1", data_verdict="ok", model_verdict="blessed", alarms=("weak",)), "blessed"),
    ],
)
def test_how_a_run_ended(tmp_path: Path, record: RunRecord, told: str) -> None:
    """A run that the registry has ended as it says; a run that found no span sends nothing."""
    from noria.pipeline.runners.kubeflow import tasklog
    from noria.pipeline.runners.kubeflow.run_end import executor

    file = tasklog.folder(tmp_path, "run-0") / "Ingest.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"time": 1.0, "stage": "Ingest", "event": "end", "state": "nothing"}) + "\n")
    assert "nothing" == executor.outcome(tmp_path, "run-0")["outcome"]
    Registry(tmp_path).record_run(record)
    facts = executor.outcome(tmp_path, "run-1")
    assert (told, 7, list(record.alarms)) == (facts["outcome"], facts["span"], facts["alarms"])


def test_every_output_is_there(tmp_path: Path) -> None:
    """An output that the executor leaves out is made, with a file, as an empty folder does not reach the store."""
    from noria.pipeline.runners.kubeflow import entrypoint

    entrypoint._complete(tmp_path / "model_run")
    assert [file.name for file in (tmp_path / "model_run").iterdir()] == ["empty"]
    (tmp_path / "model").mkdir()
    entrypoint._complete(tmp_path / "model")
    assert [] == list((tmp_path / "model").iterdir())


def test_pictures(tmp_path: Path) -> None:
    """The page and the numbers of both models reach the web interface; what is not finite or missing does not."""
    from google.protobuf import json_format
    from kfp import dsl
    from kfp.pipeline_spec import pipeline_spec_pb2

    from noria.components.evaluator import curves
    from noria.pipeline.runners.kubeflow import ui

    page, home = tmp_path / "page.html", tmp_path / "home"
    page.write_text("<html>")
    file = home / "runs" / "run-1" / "run.json"
    file.parent.mkdir(parents=True)
    metrics = {"challenger": {"auc": 0.75, "bad": float("inf"), "name": "x"}, "champion": None}
    file.write_text(json.dumps({"report": str(page), "metrics": metrics}))
    labels, scores = np.array([0, 0, 1, 1]), np.array([[0.1], [0.6], [0.4], [0.9]])
    file = tmp_path / curves.FILE
    curves.write(file, labels, {"candidate": scores}, "binary", {"candidate": "challenger"})
    pictures = [
        ui.Picture(name, tmp_path / "out" / name, f"s3://b/{name}")
        for name in (ui.PAGE, *ui.METRICS, *ui.CURVES)
    ]
    filled = ui.fill(pictures, home, "run-1", tmp_path)
    json_format.ParseDict({"artifacts": filled}, pipeline_spec_pb2.ExecutorOutput())
    said = {name: each["artifacts"][0] for name, each in filled.items()}
    assert "<html>" == (tmp_path / "out" / "page").read_text()
    assert ({"auc": 0.75}, {}) == (said["challenger"]["metadata"], said["champion_metrics"]["metadata"])
    expected = dsl.ClassificationMetrics()
    roc = curves.roc(labels, scores[:, 0])
    assert roc is not None
    expected.log_roc_curve(roc["false_positive_rate"], roc["recall"], roc["threshold"])
    expected.log_confusion_matrix(["0", "1"], [[1, 1], [1, 1]])
    assert expected.metadata == said["challenger_curves"]["metadata"]
    assert ui.EMPTY == said["champion_curves"]["metadata"]
    assert "s3://b/page" == said["page"]["uri"]
    assert all(each.path.is_file() for each in pictures)


@pytest.mark.parametrize("thin", [False, True])
def test_a_run_that_ends_before_its_report(tmp_path: Path, thin: bool) -> None:
    """A task that failed, or found the span thin, ends the run on the volume: with a page, and a `run.json` if thin."""
    from noria.pipeline.runners.kubeflow import entrypoint, runtime, tasklog

    home = tmp_path / "home"
    SpanStore(home).create(7, [pa.table({"late": [1]})], source="a")
    SpanStore(home).create(8, [pa.table({"late": [1]})], source="a")
    error: Exception = ThinError("few rows") if thin else DataError("a column is missing")
    for name, records in {
        "Ingest": [{"span": 8}, {"state": "waiting", "span": 7}],
        "SpanExampleGen": [{"event": "end" if thin else "failed", "seconds": 1.0, "error": str(error)}],
    }.items():
        file = tasklog.folder(home, "run-1") / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"time": 1.0, "stage": name, "event": "note", **record} for record in records]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if thin:
        record = RunRecord(7, "run-1", data_verdict="thin", model_verdict="skipped", reasons=("few rows",))
        Registry(home).record_run(record)
    invocation = runtime.Invocation({}, {}, {}, [], tmp_path / "output", "rides", "run-1", "SpanExampleGen")
    entrypoint._end_run(home, invocation, error)
    page = home / "reports" / f"00000007-{'run-1' if thin else 'failed'}.html"
    assert ("Span 7 is thin" if thin else "a column is missing") in page.read_text(encoding="utf-8")
    assert thin == (home / "runs" / "run-1" / "run.json").exists()
