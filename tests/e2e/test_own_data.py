"""Somebody's own data in five minutes: `noria init` on a file, `noria run` in the folder that it wrote."""

import csv
import datetime
import random
from pathlib import Path

import pytest

from tests.helpers.project import Project

ROWS = 3000


def _rides(path: Path, label: str, delimiter: str, time: str | None, seed: int = 3) -> None:
    """Rides whose distance and zone say much of the tip; a value is missing here and there."""
    chance = random.Random(seed)
    start = datetime.datetime(2024, 3, 4, tzinfo=datetime.timezone.utc)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow([*([time] if time else []), "trip miles", "zone", label])
        for row in range(ROWS):
            moment = start + datetime.timedelta(minutes=10 * row)
            when = {"pickup_ts": moment.isoformat(), "epoch": int(moment.timestamp())}.get(time or "")
            miles, zone = chance.uniform(0, 10), chance.choice(["north", "south", "east"])
            score = miles / 2 + 2 * (zone == "north") + chance.gauss(0, 0.5)
            value = {
                "big_tip": "yes" if score > 3.5 else "no",
                "tip_class": ["none", "some", "much"][min(int(score / 2.5), 2)],
                "tip": round(score, 2),
            }[label]
            missing = "" if row % 50 == 7 else round(miles, 2)
            writer.writerow([*([when] if time else []), missing, zone, value])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "delimiter", "time", "task", "metric"),
    [
        ("big_tip", ";", "pickup_ts", "binary", "auc"),
        ("tip_class", "\t", "epoch", "multiclass", "accuracy"),
        ("tip", ",", None, "regression", "rmse"),
    ],
)
def test_init_then_run(tmp_path: Path, label: str, delimiter: str, time: str | None, task: str, metric: str):
    """Whatever the task, delimiter and time: the draft that `init` writes runs the pipeline, cold and then warm."""
    _rides(tmp_path / "rides.csv", label, delimiter, time)
    options = ["--time", time] if time else []
    forked = task != "binary"  # one of the three is started as people start it
    Project(tmp_path, forked).noria("init", "project", "--data", "rides.csv", "--label", label, *options)
    project = Project(tmp_path / "project", forked)
    if time is None:  # rows in random order are one span; as many again are the next
        project.edit(data={"source": "../*.csv"})
        _rides(tmp_path / "rides-2.csv", label, delimiter, time, seed=2)
    # The command that the README names is the whole of it: nothing of the draft must be corrected.
    result = project.json("run", "--runs", "2")
    assert ["cold", "warm"] == [run["mode"] for run in result["runs"]]
    assert ["blessed", "blessed"] == [run["model_verdict"] for run in result["runs"]]
    assert f"task: {task}" in (project.folder / "noria.yaml").read_text()
    learned = result["runs"][-1]["metrics"]["challenger"][metric]
    assert learned > 0.7 if metric != "rmse" else learned < 1.5
    assert Path(result["model_dir"], "saved_model.pb").is_file()


def test_thin_spans_are_runs(tmp_path: Path):
    """Spans of one row can be trained on or judged on, not both: each has its run, and the run is a good one."""
    (tmp_path / "events.csv").write_text("n,late\n1,0\n2,1\n")
    (tmp_path / "schema.pbtxt").write_text("")
    (tmp_path / "preprocessing.py").write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    (tmp_path / "noria.yaml").write_text(
        "name: events\nhome: home\ndata: {source: events.csv}\nlabel: late\nspan: rows:1\nschema: schema.pbtxt\n"
        "window: {first: 1, cold: 1}\n"
    )
    project = Project(tmp_path, forked=True)
    runs = project.json("run")["runs"]
    assert [(1, "thin", "skipped"), (2, "thin", "skipped")] == [
        (run["span"], run["data_verdict"], run["model_verdict"]) for run in runs
    ]
    assert "too few rows" in runs[0]["reasons"][0]
    assert all("is thin" in Path(run["report"]).read_text() for run in runs)
    assert {"SpanExampleGen"} <= set(runs[0]["seconds"])
    said = project.noria("run").stdout
    assert "nothing" in said or "no span" in said
    status = project.json("status")
    assert ([], ["thin", "thin"]) == (status["pending"], [run["data_verdict"] for run in status["runs"]])
