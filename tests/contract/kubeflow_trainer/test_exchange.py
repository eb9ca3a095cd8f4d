"""What a task and its workers give each other, over a folder and over an object store that each opens for itself."""

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.pipeline.runners.kubeflow.workers import exchange
from tests.contract.home import places

JOB = "noria-1"


class Artifact(types.SimpleNamespace):
    """The part of TFX's that counts here; to import TFX in each forked process takes 20 seconds."""


def _without_tfx() -> None:
    json_utils = types.SimpleNamespace(
        dumps=lambda artifacts: json.dumps([vars(each) for each in artifacts]),
        loads=lambda text: [Artifact(**each) for each in json.loads(text)],
    )
    sys.modules["tfx"] = types.ModuleType("tfx")
    sys.modules["tfx.utils"] = types.SimpleNamespace(json_utils=json_utils)  # type: ignore[assignment]


@pytest.fixture(params=["folder", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[places.Place]:
    """An empty home."""
    if request.param == "folder":
        yield places.Folder(tmp_path)
        return
    with places.s3_server(tmp_path) as server:
        for name, value in places.environment(server).items():
            monkeypatch.setenv(name, value)
        yield places.ObjectStore(tmp_path, server, "home")


def _in_pod(place: places.Place, name: str, work: Callable[[Path], Any]) -> Any:
    def child() -> Any:
        _without_tfx()
        return work(place.open(name))

    return places.in_child(child)


def test_there_and_back(place: places.Place, tmp_path: Path) -> None:
    """Inputs arrive at the worker, outputs and notes at the task; an earlier task's request goes, and so does this."""
    rows, model = tmp_path / "rows", tmp_path / "model"
    (rows / "Split-train").mkdir(parents=True)
    (rows / "Split-train" / "data").write_text("1,2")
    inputs = {"examples": [Artifact(uri=str(rows))], "champion": [Artifact(uri=str(tmp_path / "absent"))]}
    outputs = {"model": [Artifact(uri=str(model))], "model_run": [Artifact(uri=str(tmp_path / "logs"))]}
    _in_pod(place, "killed", lambda home: exchange.ask(home, "noria-0", inputs, outputs, {}))
    _in_pod(place, "task", lambda home: exchange.ask(home, JOB, inputs, outputs, {"settings": "{}"}))

    def worker(home: Path) -> tuple[str, list[str]]:
        asked = exchange.request(home, JOB)
        given, wanted = exchange.artifacts(home, JOB, asked, tmp_path / f"worker-{os.getpid()}")
        serving = Path(wanted["model"][0].uri, "Format-Serving")
        serving.mkdir(parents=True)
        (serving / "saved_model.pb").write_text("model")
        exchange.fail(home, JOB, 1, "it has no disk")
        exchange.answer(home, JOB, wanted, {"mode": "cold"})
        there = [path.name for path in (home / exchange.FOLDER).iterdir()]
        return Path(given["examples"][0].uri, "Split-train", "data").read_text(), there

    assert ("1,2", [JOB]) == _in_pod(place, "worker", worker)

    def task(home: Path) -> Any:
        notes, reasons = exchange.collect(home, JOB, outputs), exchange.failures(home, JOB)
        exchange.forget(home, JOB)
        return notes, reasons, list((home / exchange.FOLDER).glob("*"))

    assert ({"mode": "cold"}, ["worker 1: it has no disk"], []) == _in_pod(place, "task", task)
    assert "model" == (model / "Format-Serving" / "saved_model.pb").read_text()
