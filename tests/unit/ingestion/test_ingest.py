"""Ingestion: every row of every source exactly once, in its span, in all cases."""

import collections
import dataclasses
import datetime
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import flight_events as flights
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import DataError, SpanError
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore

DAYS = EventSettings(label="tip", time="when", every="day")
DAY = 86_400
START = 1357516800  # 2013-01-07, a Monday


def rides(path: Path, days: range, per_day: int = 20, seed: int = 0, shuffled: bool = False) -> Path:
    """A CSV with ISO times, some labels missing; `id` is unique in all files of different days and seeds."""
    rng = np.random.default_rng([seed, days.start + 1000])
    rows = []
    for day in days:
        for i in range(per_day):
            second = START + day * DAY + i * (DAY // per_day)
            when = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
            tip = ["yes", "no", "", "no"][i % 4]
            rows.append(f"{seed}-{day}-{i},{when:%Y-%m-%dT%H:%M:%SZ},{rng.normal():.6f},{tip}")
    if shuffled:
        rng.shuffle(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["id,when,fare,tip", *rows]) + "\n")
    return path


def everything(store: SpanStore) -> dict[int, list[str]]:
    return {span: store.table(span)["id"].to_pylist() for span in store.ids()}


def test_a_file_becomes_spans_in_order_of_time(tmp_path: Path) -> None:
    """Days are cut at midnight UTC, rows sorted by time, labels coded, and everything counted."""
    store = SpanStore(tmp_path / "home")
    report = ingest(rides(tmp_path / "a.csv", range(0, 3), shuffled=True), DAYS, store)
    assert ((1, 2, 3), 60, 15) == (report.spans, report.rows, report.unlabelled)
    for span in (1, 2, 3):
        table = store.table(span, verify=True)
        assert table["id"].to_pylist() == [f"0-{span - 1}-{i}" for i in range(20)]
        assert [1, 0, None, 0] * 5 == table["tip"].to_pylist()
        manifest = store.manifest(span)
        assert {"no": 10, "yes": 5, "unlabelled": 5} == manifest.labels
        assert manifest.event_time == (START + (span - 1) * DAY, START + span * DAY - DAY // 20)
        assert f"2013-01-{6 + span:02d}" == manifest.extra["period"]
        assert {"id": "string", "when": "int64", "fare": "double", "tip": "int64"} == manifest.columns
    assert 20 == store.manifest(1).sources[0]["rows"]


def test_a_source_is_ingested_once(tmp_path: Path) -> None:
    """The same bytes are skipped, also under another name; new files add spans, empty days none."""
    store = SpanStore(tmp_path / "home")
    ingest(rides(tmp_path / "in" / "a.csv", range(0, 2)), DAYS, store)
    shutil.copy(tmp_path / "in" / "a.csv", tmp_path / "in" / "copy.csv")
    report = ingest(tmp_path / "in", DAYS, store)
    assert ((), 2) == (report.spans, len(report.skipped))
    rides(tmp_path / "in" / "b.csv", range(4, 6))
    report = ingest(tmp_path / "in" / "*.csv", DAYS, store)
    assert ((5, 6), ()) == (report.spans, report.late)
    assert [1, 2, 5, 6] == store.ids()
    assert START + 4 * DAY == store.manifest(5).event_time[0]


def test_late_rows_make_a_new_version(tmp_path: Path) -> None:
    """Rows of a committed day from a new file are merged into its next version, in order of time."""
    store = SpanStore(tmp_path / "home")
    ingest(rides(tmp_path / "a.csv", range(0, 2)), DAYS, store)
    report = ingest(rides(tmp_path / "b.csv", range(1, 3), seed=1), DAYS, store)
    assert ((3,), (2,), 40) == (report.spans, report.late, report.rows)
    manifest = store.manifest(2)
    assert (2, 40, 20) == (manifest.version, manifest.rows, manifest.late_rows)
    assert {"no": 20, "yes": 10, "unlabelled": 10} == manifest.labels
    times = store.table(2)["when"].to_pylist()
    assert times == sorted(times)
    assert 1 == store.manifest(1).version


def test_a_file_that_grew_brings_only_its_new_rows(tmp_path: Path) -> None:
    """A file with the old rows and some more commits the latter; old rows are not second copies."""
    store = SpanStore(tmp_path / "home")
    path = rides(tmp_path / "a.csv", range(0, 2))
    ingest(path, DAYS, store)
    with path.open("a") as file:
        file.write("late,2013-01-08T12:00:00Z,1.0,no\nnew,2013-01-09T12:00:00Z,1.0,yes\n")
    report = ingest(path, DAYS, store)
    assert ((3,), (2,), 2, 40) == (report.spans, report.late, report.rows, report.duplicates)
    assert 0 == report.unlabelled
    late = store.manifest(2)
    assert (21, {"no": 11, "yes": 5, "unlabelled": 5}) == (late.rows, late.labels)
    assert [20, 1] == [source["rows"] for source in late.sources]
    ids = collections.Counter(i for span in everything(store).values() for i in span)
    assert (42, {1}) == (len(ids), set(ids.values()))
    assert 1 == store.manifest(1).version


def test_rows_by_number_when_there_is_no_time(tmp_path: Path) -> None:
    """Without a time column rows are in file order; the next file begins a new span."""
    settings = EventSettings(label="tip", every="rows:25")
    store = SpanStore(tmp_path / "home")
    frame = pd.DataFrame({"id": [str(i) for i in range(60)], "tip": [0, 1] * 30})
    assert (1, 2, 3) == ingest(frame, settings, store).spans
    assert [25, 25, 10] == [store.manifest(span).rows for span in store.ids()]
    assert () == ingest(frame.copy(), settings, store).spans
    assert (4,) == ingest(frame.assign(id="x"), settings, SpanStore(tmp_path / "home")).spans[:1]
    assert store.manifest(1).event_time is None
    assert store.table(2)["id"].to_pylist() == [str(i) for i in range(25, 50)]


def test_weeks_and_hours(tmp_path: Path) -> None:
    """Weeks begin on Monday; hours are cut at the hour, parts of an hour at the minute or second."""
    path = rides(tmp_path / "a.csv", range(-1, 8), per_day=4)
    report = ingest(path, EventSettings(label="tip", time="when"), SpanStore(tmp_path / "weeks"))
    assert (1, 2, 3) == report.spans
    store = SpanStore(tmp_path / "hours")
    ingest(path, EventSettings(label="tip", time="when", every="hour"), store)
    assert [1, 7, 13] == store.ids()[:3]
    for every, step, begin in (("15m", 24, "2013-01-06T06:00"), ("10s", 2160, "2013-01-06T06:00:00")):
        store = SpanStore(tmp_path / every)
        ingest(path, EventSettings(label="tip", time="when", every=every), store)
        assert [1, 1 + step, 1 + 2 * step] == store.ids()[:3]
        assert begin == store.manifest(1 + step).extra["period"]


def test_multiclass_and_regression_labels(tmp_path: Path) -> None:
    """The same file under the two other tasks."""
    frame = pd.DataFrame({"y": ["b", "a", None, "c"], "z": ["1.5", "2", "NA", "x"], "t": [START] * 4})
    store = SpanStore(tmp_path / "classes")
    ingest(frame, EventSettings(label="y", task="multiclass", time="t"), store)
    assert [1, 0, None, 2] == store.table(1)["y"].to_pylist()
    store = SpanStore(tmp_path / "numbers")
    settings = EventSettings(label="z", task="regression", time="t", max_bad_share=0.5)
    report = ingest(frame, settings, store)
    assert (3, 1) == (report.rows, report.dead_letters)
    assert [1.5, 2.0, None] == store.table(1)["z"].to_pylist()
    [letter] = Path(report.dead_letter_file).read_text().splitlines()
    assert ("z", "x", 4) == tuple(json.loads(letter)[name] for name in ("column", "value", "row"))


def test_dead_letters_of_time_and_label(tmp_path: Path) -> None:
    """A row without a readable time, or with a label outside the classes, is kept with row and reason."""
    path = rides(tmp_path / "a.csv", range(0, 10), per_day=100)
    with path.open("a") as file:
        file.write("x,soon,1.0,no\ny,,1.0,no\nz,2013-01-07T12:00:00Z,1.0,maybe\n")
    settings = EventSettings(label="tip", time="when", every="day", classes=("no", "yes"))
    report = ingest(path, settings, SpanStore(tmp_path / "home"))
    assert (1000, 3) == (report.rows, report.dead_letters)
    letters = [json.loads(line) for line in Path(report.dead_letter_file).read_text().splitlines()]
    assert [
        (1001, "when", "'soon' is not a time (ISO 8601 or seconds since 1970)"),
        (1002, "when", "the time is missing"),
        (1003, "tip", "'maybe' is not one of 'no', 'yes'"),
    ] == [(letter["row"], letter["column"], letter["reason"]) for letter in letters]
    raw = ["x,soon,1.0,no", "y,,1.0,no", "z,2013-01-07T12:00:00Z,1.0,maybe"]
    assert raw == [letter["raw"] for letter in letters]


def test_dead_letters_hold_the_row_as_it_was_written(tmp_path: Path) -> None:
    """Also the columns that are skipped, and numbers as they were written; before the first span, too."""
    path = tmp_path / "a.csv"
    bad = ['"1,0",soon,x y,no', "007,2013-01-06,z,no", "2.50,2013-01-08,z,maybe"]
    path.write_text("\n".join(["fare,when,note,tip", *["1.0,2013-01-07,n,no"] * 9]) + "\n")
    settings = EventSettings(
        label="tip",
        time="when",
        every="day",
        columns=("fare",),
        classes=("no", "yes"),
        types={"fare": "string"},
        max_bad_share=1,
    )
    store = SpanStore(tmp_path / "home")
    ingest(path, settings, store)
    path.write_text("\n".join(["fare,when,note,tip", *bad, "1.0,2013-01-08,n,no"]) + "\n")
    report = ingest(path, settings, store)
    letters = [json.loads(line) for line in Path(report.dead_letter_file).read_text().splitlines()]
    assert sorted(bad) == sorted(letter["raw"] for letter in letters)


def test_rows_of_the_future_are_dead_letters(tmp_path: Path) -> None:
    """One row of 2031 makes no span 6695; up to a day after now is taken, for clocks and zones differ."""
    path = rides(tmp_path / "a.csv", range(0, 10), per_day=100)
    with path.open("a") as file:
        file.write("x,2031-05-05T00:00:00Z,1.0,no\ny,99999999999999999999,1.0,no\n")
    store = SpanStore(tmp_path / "home")
    report = ingest(path, DAYS, store)
    assert (tuple(range(1, 11)), 1000, 2) == (report.spans, report.rows, report.dead_letters)
    future, beyond = (json.loads(line) for line in Path(report.dead_letter_file).read_text().splitlines())
    if future["row"] != 1001:
        future, beyond = beyond, future
    assert (1001, "when", "2031-05-05T00:00:00Z") == tuple(
        future[name] for name in ("row", "column", "value")
    )
    assert re.match(
        r"'2031-05-05T00:00:00Z' is in the future, by more than a day \(now it is 20..-..-..T..:..Z\)$",
        future["reason"],
    )
    assert (1002, "'99999999999999999999' is not a time (ISO 8601 or seconds since 1970)") == (
        beyond["row"],
        beyond["reason"],
    )
    clock = SpanStore(tmp_path / "clock")
    now = START + 8 * DAY
    report = ingest(rides(path, range(0, 10), per_day=2), settings_of(0.2), clock, now=lambda: now)
    assert (tuple(range(1, 11)), 19, 1) == (report.spans, report.rows, report.dead_letters)


def test_rows_of_the_far_past_are_dead_letters(tmp_path: Path) -> None:
    """What databases write where they know of no time makes no span 1."""
    path = rides(tmp_path / "a.csv", range(0, 10), per_day=100)
    unknown = ["0001-01-01", "1753-01-01", "1899-12-30T00:00:00Z", "1900-01-01"]
    with path.open("a") as file:
        file.writelines(f"x,{when},1.0,no\n" for when in unknown)
    store = SpanStore(tmp_path / "home")
    report = ingest(path, DAYS, store)
    assert (tuple(range(1, 11)), 1000, 4) == (report.spans, report.rows, report.dead_letters)
    letters = [json.loads(line) for line in Path(report.dead_letter_file).read_text().splitlines()]
    assert [f"'{when}' is before 1901" for when in unknown] == [letter["reason"] for letter in letters]


@pytest.mark.parametrize("every", ["day", "rows:100"])
def test_times_that_python_has_none_for(tmp_path: Path, every: str) -> None:
    """A timestamp beyond the year 9999, of a wrong unit say, is a dead letter like another."""
    times = pa.array([START] * 199 + [START * 1000], pa.timestamp("s"))
    pq.write_table(pa.table({"when": times, "tip": [0, 1] * 100}), tmp_path / "a.parquet")
    settings = EventSettings(label="tip", time="when", every=every)
    report = ingest(tmp_path / "a.parquet", settings, SpanStore(tmp_path / "home"))
    assert (199, 1) == (report.rows, report.dead_letters)
    letter = json.loads(Path(report.dead_letter_file).read_text())
    assert (200, "when") == (letter["row"], letter["column"])
    assert "is in the future" in letter["reason"]


def settings_of(max_bad_share: float) -> EventSettings:
    return EventSettings(label="tip", time="when", every="day", max_bad_share=max_bad_share)


def test_too_many_bad_rows_commit_nothing(tmp_path: Path) -> None:
    """More than 1% is an error that names the row; the store stays as it was."""
    path = rides(tmp_path / "a.csv", range(0, 2))
    path.write_text(path.read_text().replace("2013-01-07T19:12:00Z", "tomorrow"))
    store = SpanStore(tmp_path / "home")
    with pytest.raises(DataError, match="row 17, column 'when': 'tomorrow' is not a time"):
        ingest(path, DAYS, store)
    assert [] == store.ids()
    assert ["lock"] == [p.name.strip(".") for p in store.folder.iterdir()]
    report = ingest(rides(path, range(0, 2)), DAYS, store)
    assert (1, 2) == report.spans


def test_later_files_must_be_like_the_first(tmp_path: Path) -> None:
    """A missing or renamed column, other settings, rows before the first span: each is explained."""
    store = SpanStore(tmp_path / "home")
    ingest(rides(tmp_path / "a.csv", range(2, 4)), DAYS, store)
    renamed = rides(tmp_path / "b.csv", range(4, 5))
    renamed.write_text(renamed.read_text().replace("fare", "fares", 1))
    with pytest.raises(DataError, match="column 'fare' is missing; did you mean 'fares'?"):
        ingest(renamed, DAYS, store)
    with pytest.raises(DataError, match="made with every 'day', the config says 'week'"):
        ingest(rides(tmp_path / "c.csv", range(4, 5)), EventSettings(label="tip", time="when"), store)
    with pytest.raises(DataError, match="is before the first span, which begins on 2013-01-09"):
        ingest(rides(tmp_path / "d.csv", range(0, 2)), DAYS, store)
    wrong = rides(tmp_path / "e.csv", range(5, 6))
    wrong.write_text(wrong.read_text().replace(",yes", ",perhaps"))
    with pytest.raises(DataError, match="'perhaps' is not one of 'no', 'yes'"):
        ingest(wrong, DAYS, store)
    assert [1, 2] == store.ids()
    more = rides(tmp_path / "f.csv", range(6, 7))
    more.write_text(
        "\n".join(f"{line},{i or 'extra'}" for i, line in enumerate(more.read_text().split("\n")[:-1]))
    )
    report = ingest(more, DAYS, store)
    assert (
        (5,),
        ("skipped columns that the first spans don't have: extra",),
    ) == (report.spans, report.notes)


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    """Weeks without a time, a label that is not there, an expected column that is not there, no rows."""
    with pytest.raises(DataError, match="need a time column"):
        EventSettings(label="tip")
    path = rides(tmp_path / "a.csv", range(0, 1))
    store = SpanStore(tmp_path / "home")
    with pytest.raises(DataError, match="'tips' is missing; did you mean 'tip'?"):
        ingest(path, EventSettings(label="tips", time="when"), store)
    settings = EventSettings(label="tip", time="when", columns=("fare", "colour"))
    with pytest.raises(DataError, match="'colour' is missing"):
        ingest(path, settings, store)
    path.write_text("id,when,fare,tip\n")
    with pytest.raises(DataError, match="the file has no rows"):
        ingest(path, DAYS, store)


def test_chosen_columns_only(tmp_path: Path) -> None:
    """`columns` keeps these, the time and the label."""
    store = SpanStore(tmp_path / "home")
    settings = EventSettings(label="tip", time="when", every="day", columns=("fare",))
    ingest(rides(tmp_path / "a.csv", range(0, 1)), settings, store)
    assert ["fare", "when", "tip"] == store.table(1).column_names


def test_parquet_tables_and_functions_are_sources(tmp_path: Path) -> None:
    """The same rows from a CSV file, a Parquet file, a table and a function make the same span."""
    path = rides(tmp_path / "a.csv", range(0, 1))
    frame = pd.read_csv(path, parse_dates=["when"])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, tmp_path / "a.parquet")
    expected = None
    for i, source in enumerate([path, tmp_path / "a.parquet", frame, table, lambda: table]):
        store = SpanStore(tmp_path / f"home-{i}")
        ingest(source, DAYS, store)
        expected = expected or store.table(1)
        assert expected.equals(store.table(1)), source


def test_what_a_function_raises_is_its_own(tmp_path: Path) -> None:
    """A warehouse that does not answer is not a fault of the disk; the function is named, and keeps errors of ours."""

    def warehouse() -> pd.DataFrame:
        raise ConnectionError("the warehouse does not answer")

    store = SpanStore(tmp_path / "home")
    with pytest.raises(DataError, match="ConnectionError: the warehouse does not answer") as error:
        ingest(warehouse, DAYS, store)
    assert "data.source" in error.value.where and "warehouse" in error.value.where
    assert "disk" not in str(error.value)
    with pytest.raises(DataError, match="must be a path, .*, got NoneType"):
        ingest(lambda: None, DAYS, store)


def test_a_deleted_span_comes_back_from_its_source(tmp_path: Path) -> None:
    """What the error of a damaged span proposes works."""
    store = SpanStore(tmp_path / "home")
    path = rides(tmp_path / "a.csv", range(0, 3))
    ingest(path, DAYS, store)
    before = everything(store)
    data = store.manifest(2).folder / "data-00000.parquet"
    data.write_bytes(data.read_bytes()[:-50])
    with pytest.raises(SpanError, match="ingest its source again"):
        store.table(2)
    shutil.rmtree(store.folder / "00000002")
    assert (2,) == ingest(path, DAYS, store).spans
    assert before == everything(store)


def test_a_lost_calendar_is_read_out_of_the_spans(tmp_path: Path) -> None:
    """Spans that were copied to another home (a replay) keep their numbering there."""
    store = SpanStore(tmp_path / "home")
    path = rides(tmp_path / "a.csv", range(0, 3))
    ingest(path, DAYS, store)
    for span in (1, 2):
        shutil.copytree(store.folder / f"{span:08d}", tmp_path / "other" / "spans" / f"{span:08d}")
    other = SpanStore(tmp_path / "other")
    assert (3,) == ingest(path, DAYS, other).spans
    assert everything(store) == everything(other)


def test_the_flights_of_a_year_by_week(tmp_path: Path) -> None:
    """All 336,776 flights, each in its week; a second ingestion does nothing."""
    store = SpanStore(tmp_path / "home")
    settings = EventSettings(label="late", task="binary", classes=(0, 1), time="time_hour", every="week")
    report = ingest(flights.table, settings, store, name="flight_events:table")
    assert (53, 336_776, 9_430, 0) == (
        len(report.spans),
        report.rows,
        report.unlabelled,
        report.dead_letters,
    )
    assert store.ids() == list(range(1, 54))
    assert 77_630 == sum(store.manifest(span).labels["1"] for span in store.ids())
    again = ingest(flights.table, settings, store, name="flight_events:table")
    assert ("flight_events:table",) == again.skipped


_DIE = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa, pandas as pd
from noria.stores.spans import SpanStore
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
every, count = sys.argv[1], 0
def hook(event, arguments):
    global count
    if event in ("os.rename", "os.remove", "os.mkdir", "os.link", "open"):
        count += any(str(each).startswith(home) for each in arguments)
        if count == steps:
            os.kill(os.getpid(), signal.SIGKILL)
for argument in sys.argv[2:]:
    home, steps = argument.rsplit("/", 1)[0], int(argument.rsplit("/", 1)[1])
    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        settings = EventSettings(label="tip", time="when", every=every)
        ingest(Path(home).parent / "in", settings, SpanStore(home))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.WIFSIGNALED(status), flush=True)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit(1)
"""


@pytest.mark.parametrize("every", ["day", "rows:30"])
def test_sigkill_at_any_step_neither_loses_nor_doubles_a_row(tmp_path: Path, every: str) -> None:
    """Ingestions with late rows are killed at many steps and started again: every row is there once."""
    settings = EventSettings(label="tip", time="when", every=every)
    rides(tmp_path / "in" / "a.csv", range(0, 3))
    first = tmp_path / "first"
    ingest(tmp_path / "in", settings, SpanStore(first))
    rides(tmp_path / "in" / "b.csv", range(2, 5), seed=1)
    rides(tmp_path / "in" / "c.csv", range(4, 6), seed=2)
    steps = [*range(1, 60, 4), 70, 85, 100, 115]
    for n in steps:
        shutil.copytree(first, tmp_path / f"home-{n}")
    arguments = [f"{tmp_path}/home-{n}/{n}" for n in steps]
    done = subprocess.run(
        [sys.executable, "-c", _DIE, every, *arguments], check=True, capture_output=True, text=True
    )
    assert done.stdout.count("True") >= 10
    expected = {
        f"{seed}-{day}-{i}"
        for seed, days in enumerate([range(0, 3), range(2, 5), range(4, 6)])
        for day in days
        for i in range(20)
    }
    for n in steps:
        store = SpanStore(tmp_path / f"home-{n}")
        ingest(tmp_path / "in", settings, store)
        ids = collections.Counter(i for span in everything(store).values() for i in span)
        assert (expected, {1}) == (set(ids), set(ids.values())), n
        assert [] == [
            path.name for path in store.folder.iterdir() if path.name.startswith((".staging", ".partition"))
        ]
        assert 3 == len(ingest(tmp_path / "in", settings, store).skipped)


def test_later_files_keep_the_kinds_of_the_first(tmp_path: Path) -> None:
    """Truth values, times, codes and empty columns mean the same in the file of the next day."""
    header = "when,flag,seen,code,none,n,tip\n"
    (tmp_path / "a.csv").write_text(header + "2013-01-07,true,2013-01-01T00:00:00Z,007,,1,0\n")
    (tmp_path / "b.csv").write_text(header + "2013-01-08,False,2013-01-02T00:00:00Z,12,,2,1\n")
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2013-01-09"]),
            "flag": [True],
            "seen": pd.to_datetime(["2013-01-03"]),
            "code": [13],
            "none": [None],
            "n": [3.0],
            "tip": [True],
        }
    )
    store = SpanStore(tmp_path / "home")
    for source in (tmp_path / "a.csv", tmp_path / "b.csv", frame):
        ingest(source, DAYS, store)
    rows = [store.table(span).to_pylist()[0] for span in store.ids()]
    seen = [row["seen"] - 1356998400 for row in rows]
    assert [0, DAY, 2 * DAY] == seen
    assert [(1, "007", None, 1, 0), (0, "12", None, 2, 1), (1, "13", None, 3, 1)] == [
        (row["flag"], row["code"], row["none"], row["n"], row["tip"]) for row in rows
    ]
    assert 1 == len({store.manifest(span).schema_fingerprint for span in store.ids()})
    fraction = frame.assign(n=3.5, when=pd.to_datetime(["2013-01-10"]))
    with pytest.raises(DataError, match="'3.5' is not a whole number"):
        ingest(fraction, dataclasses.replace(DAYS, types={"n": "int"}), store)
    assert {"n": "float"} == ingest(fraction, DAYS, store).grown


def test_rows_are_cut_in_the_order_of_time(tmp_path: Path) -> None:
    """A file in any order, cut by rows, gives spans that follow each other in time, also after a broken-off start."""
    hours = np.random.default_rng(5).permutation(1000)
    rows = [f"{1_356_998_400 + 3600 * hour},{hour},{hour % 2}" for hour in hours]
    (tmp_path / "a.csv").write_text("\n".join(["when,n,tip", *rows]) + "\n")
    settings = EventSettings(label="tip", time="when", every="rows:300")
    store = SpanStore(tmp_path / "home")

    def stop_after_two(record: dict) -> None:
        if record["span"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(tmp_path / "a.csv", settings, store, tell=stop_after_two)
    assert [1, 2] == store.ids()
    ingest(tmp_path / "a.csv", settings, store)
    assert [300, 300, 300, 100] == [store.manifest(span).rows for span in store.ids()]
    found = [n for span in store.ids() for n in store.table(span).column("n").to_pylist()]
    assert list(range(1000)) == found


def test_a_corrected_delivery_takes_the_place_of_what_is_in_quarantine(tmp_path: Path) -> None:
    """The same rows again leave a broken span where it is; a file that differs replaces it whole, and frees it."""
    store = SpanStore(tmp_path / "home")
    head, *rows = rides(tmp_path / "a.csv", range(0, 2)).read_text().splitlines()
    ingest(tmp_path / "a.csv", DAYS, store)
    store.quarantine(2, "broken")
    (tmp_path / "again.csv").write_text("\n".join([head, *reversed(rows)]) + "\n")
    assert () == ingest(tmp_path / "again.csv", DAYS, store).late
    assert [2] == list(store.quarantined())
    corrected = [row.replace(",yes", ",no") if row.startswith("0-1-") else row for row in rows]
    (tmp_path / "corrected.csv").write_text("\n".join([head, *corrected]) + "\n")
    assert (2,) == ingest(tmp_path / "corrected.csv", DAYS, store).late
    assert {} == store.quarantined()
    manifest = store.manifest(2)
    assert (20, 2) == (manifest.rows, manifest.version)
    assert {"no": 15, "yes": 0, "unlabelled": 5} == manifest.labels
    assert [f"0-1-{i}" for i in range(20)] == sorted(
        store.table(2)["id"].to_pylist(), key=lambda i: int(i[4:])
    )
