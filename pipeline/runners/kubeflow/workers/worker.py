"""One worker of a TrainJob: `python -m noria.pipeline.runners.kubeflow.workers.worker`.

    --home       the home, where the request is and the result goes: a folder or a URL
    --project    the project's folder, put on Python's path
    --workers    how many there are
    --job        the TrainJob's name

All workers train on their part of each batch; the first one writes the model.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.components import journal
from noria.core.user_code import add_project
from noria.pipeline.runners.kubeflow.workers import exchange

PORT = 29500  # as the plug-ins of Kubeflow Trainer choose
INDEX = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in each pod of an indexed job, as JobSet's are


def main(argv: Sequence[str] | None = None) -> None:
    """Trains. An error is noted in the home, and raised."""
    from noria.pipeline.runners.kubeflow import container_project

    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    index = int(os.environ.get(INDEX, "0"))
    os.environ.setdefault("TF_CONFIG", tf_config(arguments.job, arguments.workers, index))
    if arguments.project:
        add_project(arguments.project)
    home = container_project.open_home(arguments.home)
    try:
        _train(home, arguments.job)
    except Exception as error:
        with contextlib.suppress(Exception):  # the error itself matters more
            exchange.fail(home, arguments.job, index, f"{type(error).__name__}: {error}")
        raise


def tf_config(job: str, workers: int, index: int) -> str:
    """TensorFlow's description of the cluster: the names that JobSet gives to the pods of the job `node`.

    >>> tf_config("a", 2, 1)
    '{"cluster": {"worker": ["a-node-0-0.a:29500", "a-node-0-1.a:29500"]}, "task": {"type": "worker", "index": 1}}'
    """
    hosts = [f"{job}-node-0-{number}.{job}:{PORT}" for number in range(workers)]
    return json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})


def _train(home: Path, job: str) -> None:
    asked = exchange.request(home, job)
    properties: Mapping[str, Any] = asked["properties"]
    from noria.components import keras3

    keras3.settle_keras3()
    # Before TFX and tensorflow_transform: TensorFlow must not have done any work.
    from noria.components.trainer import strategy
    from noria.components.trainer.settings import read

    settings = read(json.loads(properties.get("settings") or "{}"))
    strategy.create(settings)
    from noria.components.trainer.executor import Executor

    notes = _Notes()
    with journal.written_by(notes), tempfile.TemporaryDirectory(prefix="noria-worker-") as scratch:
        inputs, outputs = exchange.artifacts(home, job, asked, Path(scratch))
        Executor().Do(dict(inputs), dict(outputs), dict(properties))
        if strategy.is_chief(settings):
            exchange.answer(home, job, outputs, notes.fields)


class _Notes(logging.Handler):
    """Prints the journal, and keeps what the stage has noted."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"noria {record.getMessage()}\n")
        sys.stdout.flush()
        entry = getattr(record, "journal", {})
        self.fields |= {
            key: value for key, value in entry.items() if key not in ("stage", "event", "seconds")
        }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m noria.pipeline.runners.kubeflow.workers.worker")
    parser.add_argument("--home", required=True)
    parser.add_argument("--project", default="")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--job", required=True)
    return parser


if __name__ == "__main__":
    main()
