"""The same training under tf.distribute: real replicas, real worker processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from noria.components.trainer.settings import Settings
from noria.core.errors import ConfigError
from tests.helpers import ROOT, training

# No dropout: every replica drops others.
SETTINGS = {
    "family": "wide_deep",
    "hidden_units": [16, 8],
    "dropout": 0,
    "batch_size": 64,
    "steps": 20,
    "early_stop": {"every": 10},
}
DROPOUT = {"dropout": 0.5}
PROGRAM = """
import json, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
logical = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
tf.config.set_logical_device_configuration(cpu, logical)
runs = json.loads(sys.argv[3])
if (settings := next(iter(runs.values())))["strategy"] == "multi_worker":
    from noria.components.trainer import strategy
    from noria.components.trainer.settings import Settings
    held = strategy.create(Settings(**settings))
    strategy.create = lambda _: held  # the import of TFT below would come before it
from tests.helpers import training
for out, settings in runs.items():
    training.train(Path(sys.argv[1]), Path(out), settings)
"""


@pytest.fixture(scope="module")
def alone(week1, tmp_path_factory) -> Path:
    """The same training without a strategy."""
    return training.train(week1, tmp_path_factory.mktemp("alone"), SETTINGS)


def start(data: Path, runs: dict[Path, dict], devices: int = 1, **environment: str) -> subprocess.Popen:
    """A process that trains once for each folder, with the settings given for it."""
    given = json.dumps({str(out): settings for out, settings in runs.items()})
    command = [sys.executable, "-c", PROGRAM, str(data), str(devices), given]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, **pipes)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=300)
    assert 0 == process.returncode, output[-3000:]


@pytest.fixture(scope="module")
def mirrored(week1, tmp_path_factory) -> Path:
    """The training on two CPU devices, in `without`, and with the default dropout, in `with`."""
    folder = tmp_path_factory.mktemp("mirrored")
    settings = {**SETTINGS, "strategy": "mirrored"}
    finish(start(week1, {folder / "without": settings, folder / "with": settings | DROPOUT}, devices=2))
    return folder


@pytest.mark.slow
def test_two_replicas_are_one(alone, mirrored):
    """Mirrored on two CPU devices: the weights of one replica, except for rounding; the scores are the same."""
    found = training.differences(alone, mirrored / "without")
    assert max(found.values()) < 1e-5


@pytest.mark.slow
def test_replicas_with_dropout(week1, mirrored, tmp_path):
    """The default dropout trains under a strategy too, and leaves a checkpoint with the names of one replica."""
    training.train(week1, tmp_path, SETTINGS | DROPOUT)
    training.differences(tmp_path, mirrored / "with")


@pytest.mark.slow
def test_two_workers_are_one(week1, alone, tmp_path):
    """Multi-worker in two processes: the weights of one, except for rounding; only the chief writes."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    try:
        for index in range(2):
            cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            settings = {**SETTINGS, "strategy": "multi_worker"}
            folder = tmp_path / f"worker{index}"
            processes.append(start(week1, {folder: settings}, TF_CONFIG=json.dumps(cluster)))
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    found = training.differences(alone, tmp_path / "worker0")
    assert max(found.values()) < 1e-5
    assert not (tmp_path / "worker1").exists()


def test_multi_worker_needs_a_cluster(week1, tmp_path, monkeypatch):
    """Without TF_CONFIG the error says what is missing."""
    from noria.components.trainer import strategy

    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        strategy.create(Settings(strategy="multi_worker"))


def test_devices_that_are_not_there():
    """A device that does not exist is refused with those that do."""
    from noria.components.trainer import strategy

    with pytest.raises(ConfigError, match="GPU:7") as caught:
        strategy.create(Settings(strategy="mirrored", devices=("GPU:7",)))
    assert "CPU:0" in caught.value.next_step
