"""The measurements' own arithmetic: what they state follows from what they read."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import (
    bench,
    contest,
    drafted,
    history,
    measure,
    memory,
    own_stream,
    page,
    scale,
    synthetic,
)


def test_quick_runs_never_touch_the_committed_results():
    """`--quick` goes to a temporary folder, and refuses the committed one."""
    assert measure.RESULTS != measure.options(measure.parser(""), ["--quick"]).out
    assert measure.RESULTS == measure.options(measure.parser(""), []).out
    with pytest.raises(SystemExit):
        measure.options(measure.parser(""), ["--quick", "--out", str(measure.RESULTS)])


HEAVY = ("continuity", "gates", "year")  # import TFX


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(part, marks=pytest.mark.slow if part in HEAVY else ())
        for part in bench.PARTS + bench.OTHERS + bench.SERVER
    ],
)
def test_no_part_takes_the_committed_results_for_a_trial(part, capsys):
    """Each part goes by the shared options: a quick run into the committed folder is refused before any work."""
    before = {path: path.stat().st_mtime_ns for path in measure.RESULTS.iterdir()}
    with pytest.raises(SystemExit):
        importlib.import_module(f"benchmarks.{part}").main(["--quick", "--out", str(measure.RESULTS)])
    assert "does not write to the committed results" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in measure.RESULTS.iterdir()}


def test_every_section_of_the_page_is_a_part():
    """What the page shows, `make bench` or `make bench-serving` measures."""
    sections = [name.removesuffix(".json") for _, _, name, _, _ in page.SECTIONS]
    assert sorted(bench.PARTS + bench.SERVER) == sorted(sections)


def test_others_at_work_are_seen():
    """A process that keeps a core busy counts; and what was busy before or after is reported."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            assert measure.others(1.0) > measure.BUSY
        finally:
            other.kill()
    for machine, expected in (
        ({"busy": 0.1, "busy_after": 0.0}, False),
        ({"busy": 0.1, "busy_after": 0.9}, True),
        ({"load": 3.0}, True),
        ({"busy": None}, None),
    ):
        assert expected is measure.busy({"machine": machine})
    assert measure.busy({}) is None


def test_resume_skips_only_full_results_of_this_code(tmp_path, monkeypatch):
    """A quick result, a smaller one, another commit's, changed code's or a busy machine's is measured again."""
    path = tmp_path / "part.json"
    assert not bench.measured(path)
    full = {
        "quick": False,
        "command": "python -m benchmarks.part",
        "machine": {"commit": "1234567", "busy": 0.0},
    }
    for change, expected in (
        ({}, True),
        ({"quick": True}, False),
        ({"command": "python -m benchmarks.part --repeats 1"}, False),
        ({"machine": {"commit": "0000000"}}, False),
        ({"machine": {"commit": "1234567", "busy": 1.0}}, False),
    ):
        monkeypatch.setattr(measure, "commit", lambda: "1234567")
        path.write_text(json.dumps(full | change))
        assert expected == bench.measured(path), change
    path.write_text(json.dumps(full | {"machine": {"commit": "1234567+"}}))
    monkeypatch.setattr(measure, "commit", lambda: "1234567+")
    assert not bench.measured(path)


def test_a_result_says_what_repeats_it(tmp_path):
    """The command has the options that change what is measured, and not where it goes."""
    made = measure.parser("")
    made.add_argument("--stock-repeats", type=int)
    given = measure.options(made, ["--out", str(tmp_path), "--stock-repeats", "2"])
    given.save("part", {}, {})
    assert (
        "python -m benchmarks.part --stock-repeats 2"
        == json.loads((tmp_path / "part.json").read_text())["command"]
    )


def test_shared_memory_counts_once():
    """The proportional share of a process is at most what it has mapped, and not nothing."""
    assert 2**20 < measure.proportional("self") <= measure.resident("self")


def test_a_straight_line_is_found():
    """Seconds per million rows are the slope, the fixed seconds what is left at no rows."""
    line = scale.fit([250_000, 500_000, 2_000_000], [1.5, 2.0, 5.0])
    assert pytest.approx({"per_million": 2.0, "fixed": 1.0, "r2": 1.0}) == line


def test_peaks_belong_to_the_stage_that_ran():
    """A stage's peak is the largest reading between its start and the next mark, above the baseline."""
    marks = [
        {"at": 0.0, "stage": "baseline", "processor": 0.0},
        {"at": 1.0, "stage": "imported", "processor": 1.0},
        {"at": 2.0, "stage": "Transform", "mode": "cold", "processor": 2.0},
        {
            "at": 3.0,
            "stage": memory.AROUND,
            "mode": "cold",
            "path": {"Transform": "in-process"},
            "processor": 3.5,
        },
        {"at": 4.0, "stage": "end", "processor": 4.0},
    ]
    mib = [100, 300, 900, 500, 400]
    both = [100, 300, 950, 1_200, 400]
    readings = [
        (at + 0.01, held * 2**20, all_of_it * 2**20)
        for at, (held, all_of_it) in enumerate(zip(mib, both, strict=True))
    ]
    found = memory.peaks(marks, readings, ["cold"])
    [run] = found["runs"]
    assert (100.0, 300.0, 800.0) == (found["baseline_mib"], found["imported_mib"], run["above_mib"])
    assert 800.0 == run["stages"]["Transform"]["above_mib"]
    assert "in-process" == run["stages"]["Transform"]["path"]
    assert 1.5 == run["stages"]["Transform"]["processor"]
    assert (400.0, 1100.0) == tuple(run["stages"][memory.AROUND][name] for name in memory.PEAKS)
    assert (800.0, 1100.0) == tuple(run[name] for name in memory.PEAKS)


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


def test_split_spans_are_of_one_size_and_share_no_row():
    """Nothing but the history differs from span to span."""
    spans = history.split(pa.table({"row": list(range(103))}), 10, None)
    assert [10] * 10 == [len(span) for span in spans]
    assert 100 == len({row for span in spans for row in span["row"].to_pylist()})


def test_the_page_says_what_is_not_measured(tmp_path, monkeypatch):
    """Without any result there is a page, and every goal says so."""
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    text = page.page()
    assert len(page.SECTIONS) == text.count("Not measured yet.")
    assert 9 == text.count("| not measured yet |")


def test_ratios_have_a_range():
    """From the smallest to the largest ratio that any two runs have."""
    assert "2.5 to 6.0" == page.spread([10.0, 12.0], [2.0, 4.0])


def test_the_page_claims_what_the_year_showed():
    """The page names faults that only the model gate stopped, and those that nothing stopped."""

    def fault(data: str, model: str, published: bool = False) -> dict:
        verdicts = {"data_verdict": data, "model_verdict": model}
        return {"fault": f"fault {model}", "span": 10, "published": published, **verdicts}

    stopped = fault("broken", "skipped")
    assert "All 2 were stopped by the data gate; the model gate was not reached." in page.year(
        {"runs": [], "faults": [stopped, stopped]}
    )
    text = "\n".join(
        page.year({"runs": [], "faults": [stopped, fault("ok", "rejected"), fault("ok", "blessed", True)]})
    )
    assert (
        "Of these 1 were stopped by the data gate; the model gate judged the rest: 1 blessed, 1 rejected."
        in text
    )
    assert "Published: fault blessed." in text


@pytest.mark.slow
def test_an_own_stream_has_the_spans_of_its_project(tmp_path):
    """Spans are cut by the time; a label in words is a class number, and rows without a label are left out."""
    rows = [
        f"2024-01-0{1 + i // 8} 0{i % 8}:00:00,{i},{('', 'dry', 'wet')[i % 8 and 1 + i % 2]}"
        for i in range(64)
    ]
    (tmp_path / "rain.csv").write_text("\n".join(["at,pressure,rain", *reversed(rows)]))
    config = drafted.project(
        tmp_path / "drafted", "own_rain", tmp_path / "rain.csv", "rain", time="at", span={"every": "day"}
    )
    stream = own_stream.stream_of(config, own_stream.spans_of(config))
    assert [7] * 8 == [len(span) for span in stream.spans()]
    assert [1, 2, 3, 4, 5, 6, 7] == stream.spans()[0]["pressure"].tolist()
    wet = config.label.classes.index("wet")
    assert [wet, 1 - wet] * 3 + [wet] == stream.spans()[0]["label"].tolist()
    assert {"at", "pressure"} == set(stream.features)
