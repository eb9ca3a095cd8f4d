"""The journal: its records reach a listener, and a task's handler writes each of them once."""

import logging
from pathlib import Path

import pytest

from noria.components import journal
from noria.pipeline.runners.kubeflow import tasklog


def test_a_task_writes_each_line_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A library has given the root logger a handler: the task's log has each record and each plain line once.

    The file on the volume has the records only.
    """
    file = tmp_path / "tasks" / "Trainer.jsonl"
    root = logging.StreamHandler()
    logging.getLogger().addHandler(root)
    try:
        with journal.written_by(tasklog.Handler(file)), journal.stage("Trainer") as stage:
            stage.note(rows=7)
            journal.logger.warning("input %s starts fresh", "carrier")
    finally:
        logging.getLogger().removeHandler(root)
    written = capfd.readouterr()
    assert [
        "noria stage=Trainer event=start",
        "noria stage=Trainer event=note rows=7",
        "noria input carrier starts fresh",
        "noria stage=Trainer event=end",
    ] == [line.partition(" seconds=")[0] for line in (written.out + written.err).splitlines()]
    assert ["start", "note", "end"] == [each["event"] for each in tasklog._records(file.read_text())]
    assert journal.logger.propagate and [] == journal.logger.handlers
