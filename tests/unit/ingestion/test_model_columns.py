"""A file's rows for a model: the values that the project's events would have."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import DataError
from noria.ingestion import ingest, model_columns
from noria.ingestion.calendar import Calendar
from noria.ingestion.events import EventSettings
from noria.stores.spans import SpanStore

BORN = int(datetime.datetime(1990, 9, 30, tzinfo=datetime.timezone.utc).timestamp())
WRITTEN = "date;height;rained;kind;empty;hit\n"
ROWS = [
    "9/30/1990 0:00:00;1.500,5;True;NA;;yes",
    "10/1/1990 0:00:00;;False;gull;;no",
    "10/1/1990 7:00:00;1.234,25;True;gull;;no",
]
SETTINGS = EventSettings(label="hit", time="date", every="rows:2", time_format="%m/%d/%Y %H:%M:%S")
INPUTS = {"date": "int64", "height": "float", "rained": "int64", "kind": "string", "empty": "float"}
EXPECTED = {
    "date": [BORN, BORN + 86_400, BORN + 86_400 + 7 * 3600],
    "height": [1500.5, None, 1234.25],
    "rained": [1, 0, 1],
    "kind": [None, "gull", "gull"],
    "empty": [None, None, None],
}


def together(parts: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part in parts:
        for name, values in part.items():
            found.setdefault(name, []).extend(values)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "birds.csv"
    path.write_text(WRITTEN + "\n".join(ROWS) + "\n")
    return path


@pytest.fixture
def calendar(tmp_path: Path, file: Path) -> Calendar:
    store = SpanStore(tmp_path / "home")
    ingest.ingest(file, SETTINGS, store)
    found = Calendar.load(store)
    assert found is not None
    return found


def test_a_project_reads_requests_as_its_data(file: Path, calendar: Calendar) -> None:
    """Times in the project's format, decimal commas, truth and missing cells get the values of the events."""
    parts = list(model_columns.read(file, 2, INPUTS, SETTINGS, calendar))
    assert [2, 1] == [len(part["date"]) for part in parts]
    assert EXPECTED == together(parts)


def test_without_inputs_all_columns_but_the_label(file: Path, calendar: Calendar) -> None:
    """For tf.Examples the file decides which of the project's columns are sent."""
    file.write_text("new;" + WRITTEN + "".join(f"1;{row}\n" for row in ROWS))
    assert EXPECTED == together(model_columns.read(file, 10, None, SETTINGS, calendar))


def test_one_row_is_read_as_the_project_writes_numbers(file: Path, calendar: Calendar) -> None:
    """1.234 alone is a whole number where the project's files have a decimal comma."""
    file.write_text(WRITTEN + "9/30/1990 0:00:00;1.234;True;gull;;yes\n")
    assert [1234.0] == together(model_columns.read(file, 1, INPUTS, SETTINGS, calendar))["height"]


def test_parquet(tmp_path: Path, calendar: Calendar) -> None:
    """Typed columns are read too, and a timestamp needs no format."""
    table = pa.table(
        {
            "date": pa.array([BORN], pa.timestamp("s")),
            "height": [1.5],
            "rained": [True],
            "kind": pa.array(["gull"]).dictionary_encode(),
            "empty": pa.nulls(1),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    found = together(model_columns.read(tmp_path / "rows.parquet", 10, INPUTS, SETTINGS, calendar))
    expected = {"date": [BORN], "height": [1.5], "rained": [1], "kind": ["gull"], "empty": [None]}
    assert expected == found


def test_without_a_project_the_types_are_the_models(file: Path) -> None:
    """Numbers are found as in any file; times are no whole numbers, and the error says what helps."""
    inputs = {"height": "double", "rained": "bool", "kind": "string"}
    expected = {name: EXPECTED[name] for name in inputs}
    assert expected == together(model_columns.read(file, 10, inputs))
    with pytest.raises(DataError) as caught:
        list(model_columns.read(file, 10, INPUTS))
    assert "row 1, column 'date': '9/30/1990 0:00:00' is not a whole number" == caught.value.what
    assert "--config" in (caught.value.next_step or "")


@pytest.mark.parametrize(
    ("row", "what", "step"),
    [
        (
            "1990/13/45;1;True;gull;;",
            "row 4, column 'date': '1990/13/45' is not a time (format",
            "time.format",
        ),
        ("9/30/1990 0:00:00;tall;True;gull;;", "row 4, column 'height': 'tall' is not a number", "correct"),
        ("9/30/1990 0:00:00;1", "row 4: too few fields", "correct"),
    ],
)
def test_a_row_that_cannot_be_read(file: Path, calendar: Calendar, row: str, what: str, step: str) -> None:
    """Each row has its answer, so the first bad one ends the reading with row, column and value."""
    file.write_text(WRITTEN + "\n".join([*ROWS, row]) + "\n")
    with pytest.raises(DataError) as caught:
        list(model_columns.read(file, 10, INPUTS, SETTINGS, calendar))
    assert caught.value.what.startswith(what), caught.value.what
    assert step in (caught.value.next_step or "")


def test_a_column_that_is_not_there(file: Path) -> None:
    """The model's column is named, and those of the file."""
    with pytest.raises(DataError, match="needs the column weight; the file has date, height"):
        list(model_columns.read(file, 10, {"weight": "float"}))
