"""SIGKILL in every stage: the served model stays whole, and the next run finishes the job and publishes once."""

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.helpers import preloaded
from tests.helpers.project import Project

STAGES = [
    "ChampionResolver",
    "SpanExampleGen",
    "StatisticsGen",
    "DataGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
]
# Seconds into a stage, where it works for longer than that in a process's first run.
AFTER = {"StatisticsGen": 0.2, "Transform": 0.5, "Trainer": 0.5, "Evaluator": 0.5}


class Reader(threading.Thread):
    """What a model server does: looks for numbered folders, and expects each to be whole, and version 1 to be there.

    Args:
      models: folder of the model directories.
      first: the files of version 1, and their sizes.
    """

    def __init__(self, models: Path, first: dict[Path, int]):
        super().__init__(daemon=True)
        self.models, self.first, self.stopped = models, first, False
        self.broken: list[str] = []
        self.looks: dict[str, int] = {}

    def run(self) -> None:
        while not self.stopped:
            sizes = {path: path.stat().st_size if path.is_file() else None for path in self.first}
            self.broken += [str(path) for path, size in self.first.items() if sizes[path] != size]
            for folder in self.models.glob("*/[0-9]*"):
                parts = [folder / "saved_model.pb", folder / "variables" / "variables.index"]
                if not all(part.exists() for part in parts):
                    self.broken.append(str(folder))
                self.looks[folder.name] = self.looks.get(folder.name, 0) + 1
            time.sleep(0.002)


def _kill_in(project: Project, stage: str, how: signal.Signals = signal.SIGKILL, after: float = 0.0) -> int:
    """Starts a run and signals it, and all its children, so many seconds after the journal says that the stage began.

    Returns:
      How it ended: its exit code, or the signal's number, negative.
    """
    before = set((project.home / "runs").glob("*/journal.jsonl"))
    process = preloaded.start(
        project.command("run", "--runs", "1"), project.folder, project.env(), os.devnull
    )
    try:
        while process.exitcode is None:
            if stage == "Ingest" and list((project.home / "spans").glob("[0-9]*/v*")):
                break
            fresh = set((project.home / "runs").glob("*/journal.jsonl")) - before
            lines = [line for path in fresh for line in path.read_text().splitlines()]
            records = [json.loads(line) for line in lines if line.endswith("}")]
            if any(r["stage"] == stage and r["event"] == "start" for r in records):
                break
            time.sleep(0.002)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.join(120)
        assert process.exitcode is not None
        return process.exitcode
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_in_every_stage(flights: Project):
    """Killed while it ingests, and interrupted by Ctrl-C in a stage (not a bug), the first run is made again. Then
    a second span's warm run is killed in one stage after the other, in the middle of those that take long: version 1 is
    served whole all the time, and one undisturbed run gives one more version and one more run.
    """
    assert -signal.SIGKILL == _kill_in(flights, "Ingest")
    assert 130 == _kill_in(flights, "StatisticsGen", signal.SIGINT)
    assert [] == flights.json("status")["versions"]
    flights.noria("run", "--runs", "1")
    # The year's rows are all there, once.
    rows = [
        json.loads(path.read_text())["rows"] for path in (flights.home / "spans").glob("*/v*/manifest.json")
    ]
    assert 336_776 == sum(rows)
    first = {
        path: path.stat().st_size for path in (flights.home / "models").glob("*/1/**/*") if path.is_file()
    }
    assert {"saved_model.pb", "variables.index"} <= {path.name for path in first}

    reader = Reader(flights.home / "models", first)
    reader.start()
    killed = {stage: _kill_in(flights, stage, after=AFTER.get(stage, 0.0)) for stage in STAGES}
    assert dict.fromkeys(STAGES, -signal.SIGKILL) == killed
    flights.noria("run", "--runs", "1")
    reader.stopped = True
    reader.join()
    assert [] == reader.broken
    assert {"1", "2"} == reader.looks.keys()
    assert reader.looks["1"] > 1000

    status = flights.json("status")
    assert [(1, "retired"), (2, "published")] == [(v["version"], v["state"]) for v in status["versions"]]
    records = [(record["mode"], record["model_verdict"], record["version"]) for record in status["runs"]]
    assert [("cold", "blessed", 1), ("warm", "blessed", 2)] == records
