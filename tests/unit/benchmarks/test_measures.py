"""The measurements' own arithmetic: what they state follows from what they read."""

import json

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import bench, contest, history, measure, memory, page, scale, synthetic


def test_quick_runs_never_touch_the_committed_results():
    """`--quick` goes to a temporary folder, and refuses the committed one."""
    assert measure.RESULTS != measure.options(measure.parser(""), ["--quick"]).out
    assert measure.RESULTS == measure.options(measure.parser(""), []).out
    with pytest.raises(SystemExit):
        measure.options(measure.parser(""), ["--quick", "--out", str(measure.RESULTS)])


def test_resume_skips_only_full_results_of_this_code(tmp_path):
    """A quick result, another commit's or none at all is measured again."""
    path = tmp_path / "part.json"
    assert not bench.measured(path)
    for quick, commit, expected in (
        (False, measure.commit(), measure.commit() is not None),
        (True, measure.commit(), False),
        (False, "0000000", False),
    ):
        path.write_text(json.dumps({"quick": quick, "machine": {"commit": commit}}))
        assert expected == bench.measured(path)


def test_a_straight_line_is_found():
    """Seconds per million rows are the slope, the fixed seconds what is left at no rows."""
    line = scale.fit([250_000, 500_000, 2_000_000], [1.5, 2.0, 5.0])
    assert pytest.approx({"per_million": 2.0, "fixed": 1.0, "r2": 1.0}) == line


def test_peaks_belong_to_the_stage_that_ran():
    """A stage's peak is the largest reading between its start and the next mark, above the baseline."""
    marks = [
        {"at": 0.0, "stage": "baseline"},
        {"at": 1.0, "stage": "imported"},
        {"at": 2.0, "stage": "Transform", "mode": "cold"},
        {"at": 3.0, "stage": memory.AROUND, "mode": "cold", "path": {"Transform": "in-process"}},
        {"at": 4.0, "stage": "end"},
    ]
    mib = [100, 300, 900, 500, 400]
    readings = [(at + 0.01, held * 2**20, 0) for at, held in enumerate(mib)]
    found = memory.peaks(marks, readings, ["cold"])
    [run] = found["runs"]
    assert (100.0, 300.0, 800.0) == (found["baseline_mib"], found["imported_mib"], run["above_mib"])
    assert 800.0 == run["stages"]["Transform"]["above_mib"]
    assert "in-process" == run["stages"]["Transform"]["path"]
    assert 400.0 == run["stages"][memory.AROUND]["above_mib"]


def test_kinds_of_work_add_up_to_the_wall_clock():
    """What no stage accounts for is shown as `other`, so that the bars are as long as the run."""
    seconds = {"SpanExampleGen": 1.0, "Trainer": 2.0, "DataGate": 0.5, "stages": 3.5, "wall": 4.0}
    kinds = contest.by_kind(seconds)
    assert 4.0 == sum(kinds.values())
    assert (1.0, 2.0, 1.0) == (kinds["read"], kinds["train"], kinds["other"])


def test_synthetic_rows_come_in_row_groups_and_are_the_same_again():
    """No batch is larger than a row group, the columns are 40, the same seed gives the same rows."""
    batches = list(synthetic.batches(70_000, 3))
    assert [65_536, 4_464] == [batch.num_rows for batch in batches]
    assert synthetic.COLUMNS == batches[0].num_columns
    assert pa.Table.from_batches(batches) == pa.Table.from_batches(list(synthetic.batches(70_000, 3)))
    assert 0.1 < np.mean(batches[0].column(synthetic.COLUMNS - 1).to_numpy()) < 0.9


def test_dealt_spans_are_of_one_size_and_share_no_row():
    """Nothing but the history differs from span to span."""
    spans = history.dealt(pa.table({"row": list(range(103))}), 10, None)
    assert [10] * 10 == [len(span) for span in spans]
    assert 100 == len({row for span in spans for row in span["row"].to_pylist()})


def test_the_page_says_what_is_not_measured(tmp_path, monkeypatch):
    """Without any result the page still stands, and every goal says so."""
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    text = page.page()
    assert len(page.SECTIONS) == text.count("Not measured yet.")
    assert 8 == text.count("| not measured yet |")
