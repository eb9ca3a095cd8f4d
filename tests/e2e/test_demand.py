"""The shops' sales: an example that is not flights, whose prices change in the last of three runs."""

from pathlib import Path

import pytest

from tests.helpers.project import example_project

pytestmark = pytest.mark.slow  # three runs of the whole pipeline


def test_runs_through_the_change(tmp_path: Path):
    """Ten weeks, one like them, and the week in which prices rise: drifted, and the new model is far better."""
    project = example_project("demand", tmp_path)
    project.forked = True
    runs = project.json("run", "--runs", "3")["runs"]
    assert [("cold", "ok"), ("warm", "ok"), ("warm", "drifted")] == [
        (run["mode"], run["data_verdict"]) for run in runs
    ]
    assert ["blessed"] * 3 == [run["model_verdict"] for run in runs]
    metrics = runs[2]["metrics"]
    assert metrics["challenger"]["rmse"] < 0.9 * metrics["champion"]["rmse"]
