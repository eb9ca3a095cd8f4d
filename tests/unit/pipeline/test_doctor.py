"""The checks of `noria doctor` against real folders, locks and sockets."""

import importlib.util
import json
import os
import socket
from pathlib import Path

import pyarrow as pa
import pytest

from noria.pipeline import doctor, environment
from noria.pipeline.config import Config, load
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore

PROJECT = "name: rides\nlabel: big_tip\nspan: rows:100\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "noria.yaml").write_text(PROJECT, encoding="utf-8")
    return load(tmp_path)


def test_lock_of_a_killed_run(config: Config) -> None:
    """A killed run and an active one give different messages."""
    note = {"host": socket.gethostname(), "since": "2024-01-01", "command": "noria run"}
    config.home_path.mkdir()
    for pid, what in ((os.getpid(), "held by"), (2**22 + 1, "was killed")):
        (config.home_path / "lock.holder").write_text(json.dumps({**note, "pid": str(pid)}), encoding="utf-8")
        assert what in doctor.running(config.home_path).found


def test_half_done_publish(config: Config) -> None:
    """Versions and a rollback that began and did not end, and folders that were being written, are found."""
    registry = Registry(config.home_path)
    saved = config.home_path / "saved"
    saved.mkdir(parents=True)
    for run in "abc":
        registry.register({"serving": saved}, run_id=run)
    log = registry.log
    log.append("publishing", version=1, model_root="m")
    log.append("published", version=1, model_dir="m/1")
    log.append("publishing", version=2, model_root="m")
    log.append("promoted", version=1, as_version=3, model_root="m", reason="r", actor="a")
    log.append("rolling_back", version=1, to=1, model_root="m", reason="r", actor="a")
    unfinished = config.model_root / f"{doctor.STAGING}99-aa"
    unfinished.mkdir(parents=True)
    assert [
        "version 2 was being published",
        "version 3 was being published",
        "a rollback to version 1 had begun",
        f"{unfinished} is unfinished",
    ] == doctor.half_done(config, registry.state())


def test_damaged_span(config: Config) -> None:
    """A bit that flipped in a span's file is found, and the span and its file are named."""
    store = SpanStore(config.home_path)
    for span in (1, 2):
        store.create(span, [pa.table({"x": list(range(1000))})], source="a")
    assert [doctor.OK] * 2 == [check.state for check in doctor.stores(config)]
    path = store.manifest(2).folder / "data-00000.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    (check,) = [check for check in doctor.stores(config) if check.state == doctor.PROBLEM]
    assert "span 2 is damaged" in check.found and str(path) in check.found
    assert "ingest its source again" in (check.next_step or "")


def test_metadata_server_that_is_away(tmp_path: Path) -> None:
    """A server that does not answer is a problem with a way out, and its password is not shown."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        port = taken.getsockname()[1]
        (tmp_path / "noria.yaml").write_text(PROJECT + f"metadata: mysql://u:secret@127.0.0.1:{port}/d\n")
        check = doctor.metadata(load(tmp_path))
    assert doctor.PROBLEM == check.state
    assert check.next_step and "secret" not in check.found


def test_home_that_is_a_file(config: Config) -> None:
    """A file where the home should be is a problem."""
    config.home_path.write_text("", encoding="utf-8")
    assert doctor.PROBLEM == doctor.home(config.home_path).state


@pytest.mark.parametrize(
    ("files", "path", "state", "what"),
    [
        ({"f.py": "def fn(x):\n    return x\n"}, "f.fn", doctor.OK, "f.py"),
        ({"f.py": "from g import (\n    fn,\n)\n", "g.py": ""}, "f.fn", doctor.OK, "f.py"),
        ({"f.py": "from typing import Any\nfn: Any = print\n"}, "f.fn", doctor.OK, "f.py"),
        (
            {"f.py": "try:\n    from g import fn\nexcept ImportError:\n    fn = None\n"},
            "f.fn",
            doctor.OK,
            "f.py",
        ),
        ({"f.py": "from g import *\n"}, "f.fn", doctor.OK, "f.py"),
        ({"p/__init__.py": "raise SystemExit\n", "p/f.py": "fn = print\n"}, "p.f.fn", doctor.OK, "f.py"),
        ({"f.py": "def other():\n    fn = 1\n"}, "f.fn", doctor.PROBLEM, "f.py does not define fn"),
        ({"p/__init__.py": "def (\n", "p/f.py": "fn = 1\n"}, "p.f.fn", doctor.PROBLEM, "__init__.py:1"),
        ({}, "f.fn", doctor.PROBLEM, "there is no module 'f'"),
    ],
)
def test_preprocessing(tmp_path: Path, files: dict[str, str], path: str, state: str, what: str) -> None:
    """The function is found however it came into its module, and nothing of the project is run for that."""
    for name, text in {**files, "noria.yaml": f"{PROJECT}preprocessing: {path}\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    check = doctor.preprocessing(load(tmp_path))
    assert state == check.state
    assert what in check.found
    assert (state == doctor.OK) == (check.next_step is None)


def test_kubeflow_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra, its versions are named; without it, the check is a warning that says what to install."""
    assert doctor.OK == doctor.kubeflow().state
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check = doctor.kubeflow()
    assert doctor.WARNING == check.state
    assert environment.how_to_install("kubeflow") in str(check.next_step)


def test_own_measures_and_metrics(tmp_path: Path) -> None:
    """A project's own kinds are imported; one that is missing is a problem, with the key and the next step."""
    (tmp_path / "my_kinds.py").write_text(
        "from noria.components.data_gate.measures.psi import PopulationStability\n"
        "class Doubled(PopulationStability):\n    label = 'Doubled'\n"
    )
    gates = (
        "gates: {data: {measures: {my_kinds.Doubled: 0.5}}, model: {metrics: {my_kinds.Brier: {max: 1}}}}\n"
    )
    (tmp_path / "noria.yaml").write_text(PROJECT + gates)
    good, bad = doctor.gates(load(tmp_path))
    assert (doctor.OK, "my_kinds.Doubled can be imported") == (good.state, good.found)
    assert doctor.PROBLEM == bad.state
    assert "Brier" in bad.found
