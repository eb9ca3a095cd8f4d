"""Times and labels, as people write them."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.core.errors import DataError
from noria.ingestion import calendar, times
from noria.ingestion.labels import Labels

NOON = 1357041600  # 2013-01-01T12:00:00Z


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-01T12:00:00Z",
        "2013-01-01 12:00:00",
        "2013-01-01T12:00",
        "2013-01-01T12:00:00.999999",
        "2013-01-01T07:00:00-05:00",
        "2013-01-01T13:00:00+01",
        "2013-01-01 17:30:00+0530",
        "2013/1/1 12:00",
        " 2013-01-01 12:00:00 UTC ",
        "1357041600",
        "1357041600.5",
        "1357041600000",
        "1357041600000000",
        "1357041600000000000",
        "1.3570416e9",
        "+1357041600",
        " +1357041600.5 ",
    ],
)
def test_texts_that_mean_noon(text: str) -> None:
    """ISO 8601 with and without zone, and epochs in all four units."""
    parsed, bad = times.parse(pa.array([text, None]))
    assert ([NOON, None], [False, False]) == (parsed.to_pylist(), bad.tolist())


@pytest.mark.parametrize(
    "values",
    [
        pa.array([NOON, None]),
        pa.array([NOON * 1000, None]),
        pa.array([float(NOON), None]),
        pa.array([datetime.datetime(2013, 1, 1, 12), None], pa.timestamp("us")),
        pa.array([NOON * 10**9, None], pa.timestamp("ns", "America/New_York")),
    ],
)
def test_typed_values_that_mean_noon(values: pa.Array) -> None:
    """Numbers and Arrow's timestamps."""
    assert [NOON, None] == times.parse(values)[0].to_pylist()


def test_days() -> None:
    """A day is its midnight, also written as a number; an epoch of 1970 is no such number."""
    midnight = 1356998400
    for values in (["2013-01-01"], [20130101], ["20130101"], [datetime.date(2013, 1, 1)]):
        assert [midnight] == times.parse(pa.array(values))[0].to_pylist()
    assert [midnight] == times.parse(pa.array([datetime.date(2013, 1, 1)], pa.date64()))[0].to_pylist()
    assert [5] == times.parse(pa.array([5]))[0].to_pylist()
    assert [-1] == times.parse(pa.array(["1969-12-31 23:59:59.5"]))[0].to_pylist()


def test_what_is_no_time() -> None:
    """Impossible dates and other texts are marked, and the good ones beside them read."""
    texts = ["2013-02-29", "2012-02-29", "2013-13-01", "31.01.2013", "soon", "2013-01-01 25:00", None]
    parsed, bad = times.parse(pa.array(texts))
    assert [True, False, True, True, True, True, False] == bad.tolist()
    assert 1330473600 == parsed[1].as_py()
    assert 6 == parsed.null_count


def test_numbers_beyond_all_times() -> None:
    """What no int64 holds is marked, as text and as a number, and the days beside it are still days."""
    texts = ["99999999999999999999", "20130101", "1e400", "soon", None]
    parsed, bad = times.parse(pa.array(texts))
    assert [True, False, True, True, False] == bad.tolist()
    assert [None, 1356998400, None, None, None] == parsed.to_pylist()
    parsed, bad = times.parse(pa.array([1e20, float(NOON)]))
    assert ([None, NOON], [True, False]) == (parsed.to_pylist(), bad.tolist())


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_a_day_that_there_is_not(kind: pa.DataType) -> None:
    """Among written days a wrong one is wrong, and the others stay days; so is a number that is no day at all."""
    written = [20130101, 20130231, 20130102, 20130101, 99991231, 0, NOON, None]
    parsed, bad = times.parse(pa.array(written, pa.int64()).cast(kind))
    assert [False, True, False, False, True, True, False, False] == bad.tolist()
    day = 1356998400
    assert [day, None, day + 86_400, day, None, None, NOON, None] == parsed.to_pylist()


def test_seconds_since_a_start_are_no_days() -> None:
    """A recording of a year passes through the numbers that may be days; some few of them are."""
    seconds = np.arange(19_000_000, 21_100_000, 997)
    parsed, bad = times.parse(pa.array(seconds))
    assert (seconds.tolist(), False) == (parsed.to_pylist(), bad.any())


def test_a_format_of_ones_own() -> None:
    """`strptime` where nothing else fits."""
    parsed, bad = times.parse(pa.array(["01.02.2013 12h", "x"]), "%d.%m.%Y %Hh")
    assert ([1359720000, None], [False, True]) == (parsed.to_pylist(), bad.tolist())


@pytest.mark.parametrize(
    "values",
    [
        pa.array([45_292, 45_292.5, None, float("nan")]),
        pa.array(["45292", " 45292,5", None, None]),
        pa.array(["2024-01-01", "45292.5", None, None]),
    ],
)
def test_days_of_excel(values: pa.Array) -> None:
    """Whole numbers are midnight; ISO 8601 is read beside them."""
    read, bad = times.parse(values, "excel")
    assert [1_704_067_200, 1_704_110_400, None, None] == read.to_pylist()
    assert not bad.any()


def test_what_is_no_day_of_excel() -> None:
    read, bad = times.parse(pa.array(["-1", "1e9", "2958466", "yesterday"]), "excel")
    assert [None] * 4 == read.to_pylist() and bad.all()


@given(st.dates(datetime.date(1960, 1, 1), datetime.date(2090, 12, 31)))
def test_weeks_and_quarters(day: datetime.date) -> None:
    """A week of ISO 8601 is its Monday, or the day that is named; a quarter is its first day."""
    year, week, weekday = day.isocalendar()
    quarter = (day.month + 2) // 3
    monday = day - datetime.timedelta(days=weekday - 1)
    expected = [day, monday, monday, *[day.replace(month=3 * quarter - 2, day=1)] * 3]
    texts = [
        *(f"{year}-W{week:02d}-{weekday}", f"{year}-W{week:02d}", f"{year}W{week:02d}"),
        *(f"{day.year} Q{quarter}", f"{day.year}q{quarter}", f"Q{quarter} {day.year}"),
    ]
    parsed, bad = times.parse(pa.array(texts))
    assert not bad.any()
    assert [(each - datetime.date(1970, 1, 1)).days for each in expected] == [
        seconds // 86_400 for seconds in parsed.to_pylist()
    ]


def test_weeks_that_there_are_not() -> None:
    """2021 has no week 53, and no year a fifth quarter."""
    texts = ["2021-W53", "2021-W00", "2020-W53", "2021 Q5", "2021 Q0"]
    assert [True, True, False, True, True] == times.parse(pa.array(texts))[1].tolist()


def test_the_end_of_a_day() -> None:
    """24:00 is the next day's midnight in each format with hours."""
    parsed, bad = times.parse(pa.array(["31.12.2012 24:00", "01.01.2013 12:00"]), "%d.%m.%Y %H:%M")
    assert ([NOON - 43_200, NOON], False) == (parsed.to_pylist(), bad.any())
    assert times.parse(pa.array(["31.12.2012 24:30"]), "%d.%m.%Y %H:%M")[1].all()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1. März 2024", "%d. %B %Y"),
        ("01-Mär-2024", "%d-%b-%Y"),
        ("1 mars 2024", "%d %B %Y"),
        ("1 de marzo de 2024", "%d %B %Y"),
        ("1 MARÇO 2024", "%d %B %Y"),
        ("1 mrt. 2024", "%d %b %Y"),
        ("1 marca 2024", "%d %B %Y"),
        ("1 March 2024", "%d %B %Y"),
    ],
)
def test_months_in_other_languages(text: str, form: str) -> None:
    """The name of a month is read in the usual languages of Europe; another word is none."""
    parsed, bad = times.parse(pa.array([text, "1 Maerchen 2024"]), form)
    assert ([1_709_251_200, None], [False, True]) == (parsed.to_pylist(), bad.tolist())


def test_rows_of_a_span() -> None:
    """`rows:N` needs a number above 0; an hour, a day or a week has no number of rows."""
    assert [None, 5000] == [calendar.rows_per_span("week"), calendar.rows_per_span("rows:5000")]
    with pytest.raises(DataError, match="rows:N, got 'rows:0'"):
        calendar.rows_per_span("rows:0")


def coded(values: list, task: str = "binary", classes: list | None = None) -> tuple:
    labels = Labels("y", task, classes)
    words, bad = labels.normalise(pa.array(values))
    assert not bad.any()
    labels.settle()
    return labels.code(words).to_pylist(), labels.classes


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        ([0, 1, None], ("0", "1"), [0, 1, None]),
        ([1.0, 0.0, float("nan")], ("0", "1"), [1, 0, None]),
        (["1", "0", None], ("0", "1"), [1, 0, None]),
        ([True, False, None], ("false", "true"), [1, 0, None]),
        (["True", "False"], ("False", "True"), [1, 0]),
        (["yes", "no", "yes"], ("no", "yes"), [1, 0, 1]),
        (["Y", "n"], ("n", "Y"), [1, 0]),
        (["ham", "spam"], ("ham", "spam"), [0, 1]),
        (["unpaid", "positive"], ("unpaid", "positive"), [0, 1]),
        ([-1, 1], ("-1", "1"), [0, 1]),
        (["1", "2"], ("2", "1"), [1, 0]),
        ([0, 0], ("0", "1"), [0, 0]),
    ],
)
def test_binary_labels(values: list, classes: tuple, codes: list) -> None:
    """The yes-like value is the positive class; without one, the second in order."""
    assert (codes, classes) == coded(values)


def test_explicit_classes_win() -> None:
    """The second class is the positive one, with any name."""
    assert ([1, 0], ("yes", "no")) == coded(["no", "yes"], classes=["yes", "no"])
    assert ([1, 0], ("0", "1")) == coded(["true", "FALSE"], classes=[0, 1])
    labels = Labels("y", "binary", ["good", "bad"])
    _, bad = labels.normalise(pa.array(["good", "ugly", None, "BAD"]))
    assert [False, True, False, False] == bad.tolist()
    assert "one of 'good', 'bad'" == labels.expected


def test_multiclass_and_regression() -> None:
    """Classes are numbered in the order of their values; numbers stay numbers."""
    assert ([2, 0, 1, None], ("2", "9", "10")) == coded([10, 2, 9, None], "multiclass")
    assert ([1, 0], ("a", "b")) == coded(["b", "a"], "multiclass")
    labels = Labels("y", "regression")
    values, bad = labels.normalise(pa.array(["1.5", "x", "NA", "-2"]))
    assert ([1.5, None, None, -2.0], [False, True, False, False]) == (values.to_pylist(), bad.tolist())
    assert {"labelled": 2, "unlabelled": 2} == labels.count(labels.code(values))
    assert [2.5] == labels.normalise(pa.array([Decimal("2.5")]))[0].to_pylist()


def test_labels_that_make_no_sense() -> None:
    """Three values for two classes, no label at all, an unknown task: each error says what to do."""
    with pytest.raises(DataError, match=r"has 3: 'a' \(2 rows\), 'b' \(1 rows\), 'c' \(1 rows\)"):
        coded(["a", "b", "a", "c"])
    with pytest.raises(DataError, match="no row has a label"):
        coded([None, None])
    with pytest.raises(DataError, match="has 1: 'late'"):
        coded(["late", "late"])
    with pytest.raises(DataError, match="task must be"):
        Labels("y", "ranking")
    with pytest.raises(DataError, match="two classes, got 3"):
        Labels("y", "binary", [1, 2, 3])
