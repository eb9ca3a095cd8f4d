"""The flights of 2013: every flight once, and nothing that is only known later."""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import flight_events as flights
import numpy as np
import pyarrow.compute as pc
import pytest


@pytest.fixture(scope="module")
def table():
    return flights.table()


def test_every_flight_is_there_once(table) -> None:
    """The joins neither multiply nor lose rows, and the label is the arrival delay's."""
    with (
        zipfile.ZipFile(flights._folder() / "flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        rows = list(csv.DictReader(line.decode() for line in file))
    assert flights.ROWS == len(rows) == table.num_rows
    late = [None if row["arr_delay"] == "NA" else int(float(row["arr_delay"]) > 15) for row in rows]
    assert table["late"].to_pylist() == late
    assert 9_430 == table["late"].null_count
    assert table["flight"].to_pylist() == [int(row["flight"]) for row in rows]


def test_nothing_from_the_future(table) -> None:
    """Only what is known at the scheduled departure is a column."""
    later = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
    assert set() == later & set(table.column_names)


def test_the_first_flight_by_hand(table) -> None:
    """UA 1545 from Newark on 1 January, 5:15: its weather at 5 local time, and its plane, are joined."""
    first = {name: table[name][0].as_py() for name in table.column_names}
    assert (
        "UA",
        1545,
        "N14228",
        "EWR",
        "IAH",
        1400,
    ) == tuple(first[name] for name in ("carrier", "flight", "tailnum", "origin", "dest", "distance"))
    # weather.csv: EWR,2013,1,1,5,39.02,28.04,64.43,260,12.65858,NA,0,1011.9,10,2013-01-01T10:00:00Z
    assert (
        39.02,
        28.04,
        260.0,
        None,
        1011.9,
    ) == tuple(first[name] for name in ("temp", "dewp", "wind_dir", "wind_gust", "pressure"))
    # planes.csv: N14228,1999,...,BOEING,737-824,2,149
    assert (
        14,
        149,
        2,
        "BOEING",
    ) == tuple(first[name] for name in ("plane_age", "seats", "engines", "manufacturer"))
    assert (
        1,
        5 * 60 + 15,
        8 * 60 + 19,
    ) == tuple(first[name] for name in ("weekday", "sched_dep_minutes", "sched_arr_minutes"))
    assert 1357034400 == first["time_hour"]  # 2013-01-01T10:00:00Z


def test_most_flights_have_their_weather_and_plane(table) -> None:
    """A join that silently failed would show here."""
    assert table["temp"].null_count < 2_000
    assert table["seats"].null_count < 60_000
    minutes = table["sched_dep_minutes"].to_numpy()
    assert np.array_equal(minutes, table["hour"].to_numpy() * 60 + table["minute"].to_numpy())
    assert {"min": 0, "max": 6} == pc.min_max(table["weekday"]).as_py()


def test_the_package_is_not_imported() -> None:
    """Its __init__ loads all tables into pandas, which takes seconds."""
    code = "import sys; import flight_events as f; f.table(); sys.exit(f.PACKAGE in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=Path(flights.__file__).parent).returncode
