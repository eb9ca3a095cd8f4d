"""A broken span, and the way back: from exit code 3 to a model that was trained on it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from .small import small_project

THIN = 4  # its volume needs three weeks before it to be compared with


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_unquarantined_span_is_trained_on(tmp_path: Path) -> None:
    """Three of four flights of week 4 are missing: it is broken, the weeks around it get a run. Taken out by force,
    its run comes, later than week 5's, and every view says who took it out and why.
    """
    # Five steps make no better model than a guess, which a rescue would take for a change of the world.
    project = small_project(tmp_path, weeks=4, trainer={"steps": 5, "rescue_above": None})
    project.forked = True
    table = pq.read_table(tmp_path / "flights.parquet")
    day = pc.divide(pc.subtract(table["time_hour"], pc.min(table["time_hour"])), 86400)
    week = pc.and_(pc.greater_equal(day, 20), pc.less(day, 27))
    kept = table.filter(week)
    kept = kept.take(pa.array(range(0, len(kept), 4)))
    pq.write_table(pa.concat_tables([table.filter(pc.invert(week)), kept]), tmp_path / "flights.parquet")

    first = project.json("run", code=3)
    assert [2, 3, 4, 5] == [run["span"] for run in first["runs"]]
    assert ["broken"] == [run["data_verdict"] for run in first["runs"] if run["span"] == THIN]
    status = project.json("status")
    assert ([THIN], []) == (status["quarantined"], status["pending"])
    assert [] == project.json("run")["runs"]

    project.noria("unquarantine", str(THIN), code=1)  # without a reason
    reason = "a terminal is closed for good"
    taken = project.json("unquarantine", str(THIN), "--force", "--reason", reason)
    assert ([THIN], True, reason) == (taken["pending"], taken["forced"], taken["reason"])

    said = project.noria("run").stdout
    word = f"taken out of quarantine by {taken['actor']}: {reason}"
    assert f"span {THIN} was {word}" in said
    status = project.json("status")
    run = status["runs"][-1]
    assert (THIN, "drifted", "blessed", "warm", word) == (
        run["span"],
        run["data_verdict"],
        run["model_verdict"],
        run["mode"],
        run["unquarantined"],
    )
    assert ([], []) == (status["quarantined"], status["pending"])
    version = status["versions"][-1]
    assert (version["version"], [1, 2, 3, 5, THIN]) == (status["champion"], version["spans"])
    assert f"span {THIN} was {word}" in project.noria("status").stdout
    page = Path(project.json("report")["report"]).read_text(encoding="utf-8")
    assert word in page
    assert "rows are missing" in page
