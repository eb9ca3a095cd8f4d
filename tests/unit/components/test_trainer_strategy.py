"""The same training under tf.distribute: real replicas. Several workers: tests/contract/kubeflow_trainer."""

import json
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
from tests.helpers import training
for out, settings in runs.items():
    training.train(Path(sys.argv[1]), Path(out), settings)
"""


@pytest.fixture(scope="module")
def alone(week1, tmp_path_factory) -> Path:
    """The same training without a strategy."""
    return training.train(week1, tmp_path_factory.mktemp("alone"), SETTINGS)


def start(data: Path, runs: dict[Path, dict], devices: int = 1) -> subprocess.Popen:
    """A process that trains once for each folder, with the settings given for it."""
    given = json.dumps({str(out): settings for out, settings in runs.items()})
    command = [sys.executable, "-c", PROGRAM, str(data), str(devices), given]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


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
