"""The stream's example, as its README tells it: events, a log, spans, a published model, and the next day."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.project import Project, example_project

pytestmark = pytest.mark.slow  # two runs of the whole pipeline


def emit(project: Project, first: int, days: int) -> int:
    """Emits days of the shop; how many views they have."""
    python, env = sys.executable, project.env()
    events = f"{python} shop_events.py {first} {days} | {python} labelled_views.py > views.jsonl"
    subprocess.run(events, shell=True, cwd=project.folder, env=env, check=True)
    return project.json("emit", "views.jsonl")["events"]


def test_from_events_to_a_published_model(tmp_path: Path) -> None:
    """Three days that are over make the first model. The next day, sent together with one that was there, makes a span
    of its own views only, and the warm model is better than the champion, which has not seen the new items."""
    project = example_project("recommender", tmp_path, updates=[{"file": "updates.jsonl"}])
    project.edit(window={"first": 3})
    project.forked = True
    assert 12_000 == emit(project, 0, 4)
    assert 9_000 == project.json("ingest")["rows"]
    [cold] = project.json("run")["runs"]
    emit(project, 3, 2)
    again = project.json("ingest")
    assert ([4], 3_000, 3_000) == (again["spans"], again["rows"], again["repeated"])
    [warm] = project.json("run")["runs"]
    assert [("cold", "blessed"), ("warm", "blessed")] == [
        (run["mode"], run["model_verdict"]) for run in (cold, warm)
    ]
    assert warm["metrics"]["challenger"]["log_loss"] < warm["metrics"]["champion"]["log_loss"]
    status = project.json("status")
    assert 2 == status["champion"] and 18_000 == status["stream"]["counts"]["events"]
    assert 2 == len((tmp_path / "updates.jsonl").read_text().splitlines())
