"""What grows with time: wider types, columns that were empty, further classes; and what is refused, with a way on."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noria.core.errors import DataError
from noria.ingestion.calendar import Calendar
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import IngestReport, ingest
from noria.stores import retyping
from noria.stores.spans import SpanStore


def _deliver(
    home: Path, name: str, x: list[Any], y: list[Any] | None = None, **settings: Any
) -> IngestReport:
    """Ingests a CSV file with the columns x and y, a span for each 4 rows."""
    labels = y if y is not None else [i % 2 for i in range(len(x))]
    path = home / name
    home.mkdir(exist_ok=True)
    path.write_text("x,y\n" + "".join(f"{a},{b}\n" for a, b in zip(x, labels, strict=True)))
    return ingest(path, EventSettings(label="y", every="rows:4", **settings), SpanStore(home))


def _stored(home: Path) -> tuple[str, list[Any]]:
    tables = [SpanStore(home).table(span, ["x"]) for span in SpanStore(home).ids()]
    table = pa.concat_tables(tables)
    return str(table.schema.field("x").type), table["x"].to_pylist()


def test_whole_numbers_become_fractions(tmp_path: Path) -> None:
    """The column becomes float in all spans, without a rewrite; the numbers stay, and a note says so."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    report = _deliver(tmp_path, "b.csv", [1.5, 2.25, "", 4])
    assert {"x": "float"} == report.grown and 0 == report.dead_letters
    assert "column 'x' has the type float from now on" in report.notes[0]
    assert ("double", [1.0, 2.0, 3.0, 4.0, 1.5, 2.25, None, 4.0]) == _stored(tmp_path)
    assert "int64" == SpanStore(tmp_path).manifest(1).columns["x"]
    assert {} == _deliver(tmp_path, "c.csv", [7, 8, 9, 10]).grown
    assert not list((tmp_path / "dead-letters").iterdir())


def test_late_rows_of_a_grown_column(tmp_path: Path) -> None:
    """Rows that come late for a span of whole numbers join it, in the new type."""
    settings = EventSettings(label="y", every="day", time="t")
    for name, row in (("a", "2024-01-01,1,0"), ("b", "2024-01-02,2.5,1"), ("c", "2024-01-01T12:00:00,3.5,1")):
        (tmp_path / f"{name}.csv").write_text(f"t,x,y\n{row}\n")
        ingest(tmp_path / f"{name}.csv", settings, SpanStore(tmp_path / "home"))
    assert [1.0, 3.5] == SpanStore(tmp_path / "home").table(1)["x"].to_pylist()


@pytest.mark.parametrize(
    ("values", "stored", "expected"),
    [
        (["red", "blue", "", "red"], "string", ["red", "blue", None, "red"]),
        ([1, 2, "", 3], "int64", [1, 2, None, 3]),
        ([0.5, "", "", ""], "double", [0.5, None, None, None]),
        (["2024-01-01", "", "", ""], "int64", [1_704_067_200, None, None, None]),
    ],
)
def test_an_empty_column_gets_values(
    tmp_path: Path, values: list[Any], stored: str, expected: list[Any]
) -> None:
    """The first values decide the type, however few they are; before them the column is null."""
    _deliver(tmp_path, "a.csv", ["", "NA", "", ""])
    assert 0 == _deliver(tmp_path, "c.csv", values).dead_letters
    assert (stored, [None] * 4 + expected) == _stored(tmp_path)


def test_the_config_asks_for_a_wider_type(tmp_path: Path) -> None:
    """`data.types` counts at any time, where the type holds all values of the spans."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    assert {"x": "float"} == _deliver(tmp_path, "b.csv", [5, 6, 7, 8], types={"x": "float"}).grown
    assert "double" == _stored(tmp_path)[0]


def test_the_config_asks_for_a_type_that_may_lose_values(tmp_path: Path) -> None:
    """The error names both types, and the command that changes the spans; nothing is committed."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    with pytest.raises(DataError, match="type int in the spans, the config asks for string") as error:
        _deliver(tmp_path, "b.csv", [5, 6, 7, 8], types={"x": "string"})
    assert "noria migrate x=string" in str(error.value) and [1] == SpanStore(tmp_path).ids()


def test_numbers_become_text(tmp_path: Path) -> None:
    """The file is refused, and the error names the command that lets the column be text."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    with pytest.raises(DataError, match="'A1' is not a whole number") as error:
        _deliver(tmp_path, "b.csv", ["A1", "B2", "C3", 4])
    assert "if 'x' is text from now on: noria migrate x=string" in str(error.value)


def test_times_in_another_format(tmp_path: Path) -> None:
    """A format that does not fit names the key that says so; the key may change, and ISO 8601 is always read."""
    types = {"x": "time(%d.%m.%Y)"}
    _deliver(tmp_path, "a.csv", ["01.02.2024", "2024-02-01"], types=types)
    with pytest.raises(DataError, match=r"\(format %d.%m.%Y\)") as error:
        _deliver(tmp_path, "b.csv", ["2/28/2024", "2/1/2024"], types=types)
    assert "set data.types in the config to {x: 'time(FORMAT)'}" in str(error.value)
    _deliver(tmp_path, "b.csv", ["2/1/2024"], types={"x": "time(%m/%d/%Y)"})
    assert ("int64", [1_706_745_600] * 3) == _stored(tmp_path)


def test_a_column_that_no_model_reads(tmp_path: Path) -> None:
    """It becomes text and stops nothing; a column that a model reads is refused."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    (tmp_path / "b.csv").write_text("x,y\nA1,0\nB2,1\n,0\n7,1\n")
    settings, store = EventSettings(label="y", every="rows:4"), SpanStore(tmp_path)
    with pytest.raises(DataError, match="noria migrate x=string"):
        ingest(tmp_path / "b.csv", settings, store, reads=lambda: {"x"})
    assert {"x": "string"} == ingest(tmp_path / "b.csv", settings, store, reads=lambda: {"z"}).grown
    assert ("string", ["1", "2", "3", "4", "A1", "B2", None, "7"]) == _stored(tmp_path)


def test_a_few_fractions_are_dead_letters(tmp_path: Path) -> None:
    """As long as a file is within `data.max_bad_share`, its bad values do not change the type."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    report = _deliver(tmp_path, "b.csv", [1, 2, 3.5, 4, 5], max_bad_share=0.2)
    assert (1, {}) == (report.dead_letters, report.grown)


def test_a_class_at_the_end(tmp_path: Path) -> None:
    """The old classes keep their numbers, and the new one gets the next."""
    words = ["a", "b", "a", "b"]
    more: dict[str, Any] = {"task": "multiclass", "classes": ("a", "b", "c")}
    _deliver(tmp_path, "1.csv", [1, 2, 3, 4], words, task="multiclass", classes=("a", "b"))
    with pytest.raises(DataError, match="'c' is not one of 'a', 'b'") as error:
        _deliver(tmp_path, "2.csv", [5, 6, 7, 8], [*words[:3], "c"], task="multiclass", classes=("a", "b"))
    assert "put it at the end of label.classes" in str(error.value)
    report = _deliver(tmp_path, "2.csv", [5, 6, 7, 8], [*words[:3], "c"], **more)
    assert ("the label has a new class: 'c'",) == report.notes
    assert [0, 1, 0, 2] == SpanStore(tmp_path).table(2)["y"].to_pylist()
    known = Calendar.load(SpanStore(tmp_path))
    assert known is not None and ("a", "b", "c") == known.classes


def test_classes_in_another_order(tmp_path: Path) -> None:
    """The error gives the list to write."""
    _deliver(tmp_path, "1.csv", [1, 2, 3, 4], ["a", "b", "a", "b"], task="multiclass", classes=("a", "b"))
    with pytest.raises(DataError) as error:
        _deliver(tmp_path, "2.csv", [5, 6, 7, 8], ["c"] * 4, task="multiclass", classes=("c", "a", "b"))
    assert "put new ones at the end: ['a', 'b', 'c']" in str(error.value)


@pytest.mark.parametrize(
    ("values", "target", "expected", "lost"),
    [
        (pa.array([1, None, 2**53 + 1]), pa.float64(), [1.0, None, float(2**53)], [False, False, True]),
        (pa.array([1, None]), pa.string(), ["1", None], [False, False]),
        (pa.array([1.0, 2.5, None]), pa.int64(), [1, None, None], [False, True, False]),
        (pa.array([1.0, 2.5, None]), pa.string(), ["1", "2.5", None], [False, False, False]),
        (
            pa.array(["1", " +2.50 ", "x", None]),
            pa.float64(),
            [1.0, 2.5, None, None],
            [False, False, True, False],
        ),
        (pa.array(["1", "2.5", "x"]), pa.int64(), [1, None, None], [False, True, True]),
    ],
)
def test_stored_values_in_another_type(
    values: pa.Array, target: pa.DataType, expected: list[Any], lost: list[bool]
) -> None:
    """A value that the new type does not hold is null, and counted as lost."""
    assert expected == retyping.cast(values, target).to_pylist()
    assert lost == retyping.lost(values, target).tolist()
    assert expected[1:] == retyping.cast(values.slice(1), target).to_pylist()


def test_a_later_file_writes_numbers_in_another_way(tmp_path: Path) -> None:
    """1,234.5 after 1234.5: the file is read in its own way, with a note, also its regression label."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    report = _deliver(tmp_path, "b.csv", [f'"{n},234"' for n in range(1, 9)])
    assert 8 == report.rows and "1,234.5" in report.notes[0]
    assert [1234, 2234] == _stored(tmp_path)[1][4:6]
    values = [f'"{n},234.5"' for n in range(1, 9)]
    home = tmp_path / "label"
    _deliver(home, "a.csv", [1, 2, 3, 4], [0.5, 1.5, 2.5, 3.5], task="regression")
    _deliver(home, "b.csv", list(range(8)), values, task="regression")
    assert 1234.5 == SpanStore(home).table(2)["y"][0].as_py()


def test_true_and_false_in_other_words(tmp_path: Path) -> None:
    """True and false after 0 and 1, and yes and no after true and false."""
    _deliver(tmp_path, "a.csv", [0, 1, 0, 1])
    _deliver(tmp_path, "b.csv", ["True", "false", "", "TRUE"])
    assert ("int64", [0, 1, 0, 1, 1, 0, None, 1]) == _stored(tmp_path)
    _deliver(tmp_path / "b", "a.csv", ["True", "false", "", "TRUE"])
    _deliver(tmp_path / "b", "b.csv", ["yes", "No", "1.0", "f"])
    assert [1, 0, None, 1, 1, 0, 1, 0] == _stored(tmp_path / "b")[1]


def test_new_marks_for_missing_values(tmp_path: Path) -> None:
    """The error of a file with `?` among its numbers names `data.missing`, which helps."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    values = ["?", "?", *range(30)]
    with pytest.raises(DataError, match="'\\?' means \"missing\", add it to data.missing"):
        _deliver(tmp_path, "b.csv", values)
    assert 32 == _deliver(tmp_path, "b.csv", values, missing=("?",)).rows


def test_words_that_are_no_class(tmp_path: Path) -> None:
    """Two classes stay two; rows with a third word may count as rows without a label."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4], ["no", "yes", "no", "yes"])
    with pytest.raises(DataError, match="data.missing"):
        _deliver(tmp_path, "b.csv", [1, 2, 3, 4], ["no", "yes", "maybe", "yes"])
    assert (
        1
        == _deliver(
            tmp_path, "b.csv", [1, 2, 3, 4], ["no", "yes", "maybe", "yes"], missing=("maybe",)
        ).unlabelled
    )


def test_a_later_file_with_a_header_only(tmp_path: Path) -> None:
    """A day without rows is not an error; the next file is read."""
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    assert 0 == _deliver(tmp_path, "b.csv", []).rows
    assert 4 == _deliver(tmp_path, "c.csv", [5, 6, 7, 8]).rows


def test_a_later_file_lacks_a_column(tmp_path: Path) -> None:
    """One that the model does not read is missing, with a note; another one is refused, with the way on."""
    settings = EventSettings(label="y", every="rows:4")
    _deliver(tmp_path, "a.csv", [1, 2, 3, 4])
    (tmp_path / "b.csv").write_text("y\n0\n1\n0\n1\n")
    with pytest.raises(DataError, match="remove it from the preprocessing"):
        ingest(tmp_path / "b.csv", settings, SpanStore(tmp_path), reads=lambda: ["x"])
    report = ingest(tmp_path / "b.csv", settings, SpanStore(tmp_path), reads=lambda: [])
    assert 4 == report.rows and "does not read: x" in report.notes[0]
    assert [None] * 4 == _stored(tmp_path)[1][4:]


def test_times_of_a_later_file(tmp_path: Path) -> None:
    """ISO 8601 is read beside the format of the config; another format is refused, and the error names the key."""
    settings = EventSettings(label="y", every="day", time="t", time_format="%d/%m/%Y")
    for name, time in (("a", "05/01/2024"), ("b", "2024-01-06T10:00Z")):
        (tmp_path / f"{name}.csv").write_text(f"t,x,y\n{time},1,0\n{time},2,1\n")
        assert 2 == ingest(tmp_path / f"{name}.csv", settings, SpanStore(tmp_path / "home")).rows
    (tmp_path / "c.csv").write_text("t,x,y\n01-07-24,1,0\n")
    with pytest.raises(DataError, match="time.format"):
        ingest(tmp_path / "c.csv", settings, SpanStore(tmp_path / "home"))
