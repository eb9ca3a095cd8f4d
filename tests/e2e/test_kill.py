"""SIGKILL in every stage: the next run finishes the job, publishes once, and no reader ever met half a version."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .conftest import Project

STAGES = [
    "Ingest",
    "SpanExampleGen",
    "StatisticsGen",
    "DataGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
]


class Reader(threading.Thread):
    """What a model server does: looks for numbered folders, and expects each to be whole."""

    def __init__(self, models: Path):
        super().__init__(daemon=True)
        self.models, self.broken, self.seen, self.stopped = models, [], set(), False

    def run(self) -> None:
        while not self.stopped:
            for folder in self.models.glob("*/[0-9]*"):
                parts = [folder / "saved_model.pb", folder / "variables" / "variables.index"]
                whole = all(part.exists() for part in parts)
                # A version that was withdrawn between the two looks is not a broken one.
                if not whole and folder.exists():
                    self.broken.append(str(folder))
                self.seen.add(folder.name)
            time.sleep(0.002)


def _kill_in(project: Project, stage: str) -> bool:
    """Starts a run and kills it, with all its children, when the journal says that the stage began."""
    before = set((project.home / "runs").glob("*/journal.jsonl"))
    process = subprocess.Popen(
        project.command("run", "--turns", "1"),
        cwd=project.folder,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            if stage == "Ingest" and list((project.home / "spans").glob("[0-9]*/v*")):
                break
            fresh = set((project.home / "runs").glob("*/journal.jsonl")) - before
            lines = [line for path in fresh for line in path.read_text().splitlines()]
            records = [json.loads(line) for line in lines if line.endswith("}")]
            if any(r["stage"] == stage and r["event"] == "start" for r in records):
                break
            time.sleep(0.002)
        running = process.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return running


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_in_every_stage(flights: Project):
    """After a kill in each stage in turn, one undisturbed run gives one published version and one turn."""
    reader = Reader(flights.home / "models")
    reader.start()
    killed = {stage: _kill_in(flights, stage) for stage in STAGES}
    assert dict.fromkeys(STAGES, True) == killed

    flights.noria("run", "--turns", "1")
    status = flights.json("status")
    published = [v for v in status["versions"] if v["state"] == "published"]
    assert 1 == len(published) == len(status["versions"])
    turns = flights.json("status")["turns"]
    assert 1 == len(turns)

    # The year's rows are all there, once.
    rows = [
        json.loads(path.read_text())["rows"] for path in (flights.home / "spans").glob("*/v*/manifest.json")
    ]
    assert 336_776 == sum(rows)
    reader.stopped = True
    reader.join()
    assert [] == reader.broken
    assert {str(published[0]["version"])} == reader.seen
