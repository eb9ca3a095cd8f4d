"""`noria run --every`: one process that runs again and again."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow


def _until(found: Callable[[], Any], process: subprocess.Popen, seconds: float = 300) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    return value


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects, a line each; the last line may be incomplete."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_one_process_runs_again_and_says_what_it_refuses(flights: Project, tmp_path: Path):
    """Each look runs on what waits; an error in the config is reported, and corrected without a restart."""
    settings = (flights.folder / "noria.yaml").read_text()
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            flights.command("run", "--every", "1s", "--runs", "1", "--json"),
            cwd=flights.folder,
            env=flights.env(),
            stdout=stdout,
            stderr=stderr,
        )
        try:
            _until(lambda: len(_objects(out.read_text())) == 2, process)
            (flights.folder / "noria.yaml").write_text(settings + "\nwindows: {}\n")
            _until(lambda: "windows" in err.read_text(), process)
            seen = len(_objects(out.read_text()))
            (flights.folder / "noria.yaml").write_text(settings)
            _until(lambda: len(_objects(out.read_text())) > seen, process)
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(120)
        finally:
            process.kill()
    runs = [run for each in _objects(out.read_text()) for run in each["runs"]]
    assert ["cold", *["warm"] * (len(runs) - 1)] == [run["mode"] for run in runs]
    spans = [run["span"] for run in runs]
    assert list(range(spans[0], spans[0] + len(spans))) == spans
    assert "Traceback" not in err.read_text()


def test_an_interval_that_is_none_is_refused(flights: Project):
    """Refused before anything is ingested."""
    done = flights.noria("run", "--every", "often", code=1)
    assert "an interval must be such as 90s" in done.stderr
    assert not flights.home.exists()
