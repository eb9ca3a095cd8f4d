"""Faults of whole rows: copies, hours, leaks, one source of many, encodings; and the sketch that finds copies."""

import numpy as np
import pyarrow as pa

from noria.components.data_gate import row_checks, significance
from noria.components.data_gate.anomalies import features
from noria.components.row_statistics import SKETCH, Sketch
from noria.components.statistics_gen.in_process import options
from noria.components.statistics_gen.summarize import summarize
from noria.core import splitmix64
from noria.pipeline.init.schema_inference import infer
from noria.schemas.list_columns import list_batches

ROWS = 3000


def _table(seed: int, **columns) -> pa.Table:
    random = np.random.default_rng(seed)
    hours = (14 + 4 * random.standard_normal(ROWS)) % 24
    columns = {
        "t": (1_704_067_200 + hours * 3600).astype(np.int64),
        "city": random.choice(["Köln", "Bern", "Oslo", "Gent", "Porto"], ROWS),
        "x": random.normal(size=ROWS),
        "z": random.normal(size=ROWS),
        "y": (random.random(ROWS) < 0.4).astype(np.int64),
    } | columns
    return pa.table(columns)


SCHEMA = infer(_table(0), "y", "t")


def _features(table: pa.Table) -> dict:
    return features(summarize(list_batches(table), options(SCHEMA, "y", "binary", "t")))


BEFORE = _table(1)
REFERENCES = {"span 1": _features(BEFORE)}


def _told(tests) -> set[tuple[str, str, str]]:
    return {(one.severity, one.check, one.feature) for one in significance.conclude(tests, 0.001)}


def _all(table: pa.Table) -> set[tuple[str, str, str]]:
    now = _features(table)
    return _told(
        [
            *row_checks.check_duplicates(now, REFERENCES),
            *row_checks.check_hours(now, REFERENCES, "t"),
            *row_checks.check_leak(now, REFERENCES, "y"),
            *row_checks.check_parts(now, REFERENCES),
            *row_checks.check_encoding(now, REFERENCES, SCHEMA),
        ]
    )


def test_ordinary_rows_pass():
    """Another sample of the same source has no finding."""
    assert set() == _all(_table(2))


def test_copies():
    """Rows that are there twice, and rows that a join gave another city, are broken."""
    table = _table(3)
    twice = table.take(pa.array(np.tile(np.arange(ROWS), 2)))
    assert {("broken", "duplicates", "")} == _all(twice)
    cities = np.random.default_rng(0).permutation(np.tile(table["city"].to_numpy(), 2))
    joined = twice.set_column(1, "city", pa.array(cities))
    assert ("broken", "duplicates", "") in _all(joined)


def test_hours():
    """Five hours are another time zone, one is summer time and is never broken."""
    for hours, expected in ((5, {("broken", "time", "t")}), (-5, {("broken", "time", "t")}), (1, set())):
        table = _table(4)
        moved = table.set_column(0, "t", pa.array(table["t"].to_numpy() + hours * 3600))
        assert expected == _all(moved)


def test_spans_of_one_day_and_a_half():
    """Spans of so many rows begin at another time of the day each: their hours differ, and no time zone has changed."""

    def span(number: int) -> pa.Table:
        start = 1_704_067_200 + number * ROWS * 45
        return _table(number, t=start + 45 * np.arange(ROWS))

    for number in range(1, 5):
        tests = row_checks.check_hours(_features(span(number)), {"span": _features(span(number - 1))}, "t")
        assert set() == _told(tests)


def test_a_leak():
    """A number that equals the label except for noise is broken."""
    y = _table(5)["y"].to_numpy()
    x = y + 0.1 * np.random.default_rng(0).normal(size=ROWS)
    assert ("broken", "leak", "x") in _all(_table(5, x=x))


def test_a_rule_that_changes_is_no_leak():
    """A number that begins to decide the label, with other things, has drifted: the world may be so."""
    y = _table(5)["y"].to_numpy()
    x = y + 0.5 * np.random.default_rng(0).normal(size=ROWS)
    assert ("drifted", "leak", "x") in _all(_table(5, x=x))


def test_few_pairs_make_no_leak():
    """A number that is missing in nearly all rows follows the label by chance; so does a column that nobody judges."""
    y = _table(5)["y"].to_numpy()
    x = np.full(ROWS, np.nan)
    x[[np.argmin(y), np.argmax(y)]] = 0.0, 1.0
    assert not [found for found in _all(_table(5, x=pa.array(x, from_pandas=True))) if found[1] == "leak"]
    leaks = row_checks.check_leak(_features(_table(5, x=y + 0.0)), REFERENCES, "y", {"x"})
    assert ["z"] == [test.feature for test in leaks]


def test_one_source_of_many():
    """A fifth of the rows with a stuck or a missing number, or without any row, has drifted."""
    table = _table(6)
    here = table["city"].to_numpy() == "Oslo"
    x = table["x"].to_numpy()
    assert {("drifted", "stuck", "x")} == _all(_table(6, x=np.where(here, 0.5, x)))
    assert {("drifted", "part", "x")} == _all(_table(6, x=np.where(here, np.nan, x)))
    assert {("drifted", "part", "city")} == _all(table.filter(pa.array(~here)))


def test_a_few_values_that_are_left_are_not_stuck():
    """Of a gauge that rarely measures in this span, the values of one hour are equal: that says nothing."""
    here = np.flatnonzero(np.array(_table(6)["city"]) == "Oslo")
    x = _table(6)["x"].to_numpy().copy()
    x[here] = np.nan
    x[here[:40]] = 0.5
    assert {("drifted", "part", "x")} == _all(_table(6, x=x))


def test_a_city_that_comes_down_to_one_of_its_few_numbers():
    """A number that a category determines nearly, such as a distance by destination, is not stuck where it is one."""
    gates = {"Köln": (200.0, 210.0), "Bern": (500.0, 520.0), "Oslo": (900.0, 905.0)}

    def spread(seed: int, only: str = "") -> pa.Table:
        random = np.random.default_rng(seed)
        city = random.choice(list(gates), ROWS)
        x = [gates[name][0 if name == only else int(random.random() < 0.5)] for name in city]
        return _table(seed, city=city, x=np.array(x))

    tests = row_checks.check_parts(_features(spread(2, "Köln")), {"span 1": _features(spread(1))})
    assert set() == {told for told in _told(tests) if told[1] == "stuck"}


def test_encodings():
    """UTF-8 that was read as Latin-1 and lost letters are broken, and name the column."""
    for form in ("KÃ¶ln", "K\ufffdln", "K?ln"):
        city = [form if value == "Köln" else value for value in _table(7)["city"].to_pylist()]
        assert ("broken", "encoding", "city") in _all(_table(7, city=city))


def test_a_sketch_is_the_same_in_any_order():
    """Half of 20,000 rows are copies; the sketch says so within 3 points, also when it is merged from parts."""
    marks = splitmix64.mix(np.tile(np.arange(10_000, dtype=np.uint64), 2))
    whole, parts = Sketch(), [Sketch(), Sketch()]
    whole.add(marks)
    for part, rows in zip(parts, (marks[:7000], marks[7000:]), strict=True):
        part.add(rows)
    parts[1].merge(parts[0])
    assert whole.counts == parts[1].counts
    assert len(whole.counts) <= SKETCH
    rows = sum(whole.counts.values())
    assert abs((rows - len(whole.counts)) / rows - 0.5) < 0.03
