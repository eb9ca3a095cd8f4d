"""The cold twin: trained when no span waits, judged on the spans that follow, and taken by a rollback."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from noria.stores import model_directory

from .small import small_project


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_twin_is_trained_judged_and_taken(tmp_path: Path) -> None:
    """The champion's weights are spoilt by a rate of 3, and stay as they are: the twin is better on later weeks."""
    project = small_project(tmp_path, weeks=5)
    project.forked = True
    flights = pq.read_table(tmp_path / "flights.parquet")

    def deliver(*before: int) -> None:
        """Whole weeks only, those before a Monday."""
        end = datetime.datetime(2013, *before, tzinfo=datetime.timezone.utc).timestamp()
        pq.write_table(flights.filter(pc.less(flights["time_hour"], int(end))), tmp_path / "flights.parquet")

    def settings(steps: int, twin: int, rate: float = 0.001) -> dict[str, Any]:
        trainer = {"steps": steps, "early_stop": None, "rescue_above": None}
        trainer |= {"learning_rate": rate, "warm_learning_rates": [rate]}
        return {"window": {"first": 2, "twin": twin}, "trainer": trainer}

    deliver(1, 21)
    project.edit(**settings(steps=5, twin=1, rate=3.0))
    first = project.json("run", "--runs", "2")
    assert ["cold", "warm"] == [run["mode"] for run in first["runs"]]
    assert project.json("status")["twin"] is None
    refused = project.noria("rollback", "--to", "twin", code=1)
    assert "there is no cold twin" in refused.stderr
    assert (
        "must be the number of a version or twin" in project.noria("rollback", "--to", "two", code=2).stderr
    )

    project.edit(**settings(steps=50, twin=1))
    (made,) = project.json("run")["runs"]
    assert (3, "twin", "twin", 3) == tuple(made[key] for key in ("span", "mode", "model_verdict", "version"))
    status = project.json("status")
    assert 2 == status["champion"]
    assert ("twin", [1, 2, 3]) == tuple(status["versions"][-1][key] for key in ("state", "spans"))
    assert "Version 3 is the cold twin" in Path(project.json("report")["report"]).read_text(encoding="utf-8")
    assert [] == project.json("run")["runs"], "it is trained once"

    project.edit(**settings(steps=0, twin=9))
    deliver(2, 4)
    runs = project.json("run")["runs"]
    assert [(4, "warm"), (5, "warm")] == [(run["span"], run["mode"]) for run in runs]
    for run in runs:
        assert 3 == run["twin"]["version"]
        assert run["twin"]["loss"] < run["twin"]["champion"]
    found = project.json("status")
    assert (3, 2, True) == tuple(found["twin"][key] for key in ("version", "spans", "better"))
    assert "on 2 spans; it is the fallback" in project.noria("status").stdout
    assert "Cold twin, version 3" in Path(runs[-1]["report"]).read_text(encoding="utf-8")
    root = project.home / "models" / "flights"
    assert ([3], found["champion"]) == (model_directory.twins(root), model_directory.served(root)[-1])
    assert 3 not in model_directory.served(root)

    taken = project.json("rollback", "--to", "twin", "--reason", "the champion is bad")
    assert found["champion"] + 1 == taken["champion"] == model_directory.served(root)[-1]
    assert (3, "published") == tuple(taken["version"][key] for key in ("parent", "state"))
    assert [] == model_directory.twins(root)
    states = {version["version"]: version["state"] for version in project.json("status")["versions"]}
    assert ("rolled_back", "retired") == (states[found["champion"]], states[3])
