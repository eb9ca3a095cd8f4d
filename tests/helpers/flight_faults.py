"""Faults that the gates must hold: plain functions on a span's table of flights.

Each takes the table of the week it spoils and the table of the week before, both with the columns of
`noria.ingestion.flights.table`, and returns the spoilt table. Nothing is random from run to run.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KM_PER_MILE = 1.609344
DAY, WEEK = 86_400, 604_800


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
      name: short, for tables.
      text: what happens to the data.
      inject: (week, week before) → spoilt week.
      asked: one of the eight that the project promises to hold; the others are variants.
    """

    name: str
    text: str
    inject: Callable[[pa.Table, pa.Table], pa.Table]
    asked: bool = True


def stuck_sensor(week: pa.Table, before: pa.Table) -> pa.Table:
    """The thermometers show the same temperature all week."""
    return _replace(week, "temp", pa.array(np.full(len(week), 55.4)))


def stuck_at_one_airport(week: pa.Table, before: pa.Table) -> pa.Table:
    """Newark's barometer alone is stuck; a third of the rows."""
    here = pc.equal(week["origin"], "EWR")
    return _replace(week, "pressure", pc.if_else(here, pa.scalar(1013.2), week["pressure"]))


def miles_as_kilometres(week: pa.Table, before: pa.Table) -> pa.Table:
    """Distances arrive in kilometres, rounded, under the same name."""
    kilometres = np.rint(week["distance"].to_numpy() * KM_PER_MILE).astype(np.int64)
    return _replace(week, "distance", pa.array(kilometres))


def column_emptied(week: pa.Table, before: pa.Table) -> pa.Table:
    """The destination is missing in every row."""
    return _replace(week, "dest", pa.nulls(len(week), week.schema.field("dest").type))


def weather_emptied(week: pa.Table, before: pa.Table) -> pa.Table:
    """The humidity is missing in every row."""
    return _replace(week, "humid", pa.nulls(len(week), week.schema.field("humid").type))


def half_missing(week: pa.Table, before: pa.Table) -> pa.Table:
    """Every second row is lost."""
    return week.take(pa.array(np.flatnonzero(_random(1, len(week)) < 0.5)))


def categories_shuffled(week: pa.Table, before: pa.Table) -> pa.Table:
    """The destinations are moved to other rows: the same values, as often, in the wrong places."""
    order = np.random.default_rng(2).permutation(len(week))
    return _replace(week, "dest", week["dest"].take(pa.array(order)))


def categories_recoded(week: pa.Table, before: pa.Table) -> pa.Table:
    """The airlines' codes are mapped to one another, as by a code table that was sorted again."""
    codes = sorted(value for value in pc.unique(week["carrier"]).to_pylist() if value is not None)
    index = pc.index_in(week["carrier"], value_set=pa.array(codes))
    return _replace(week, "carrier", pa.array(codes[1:] + codes[:1]).take(index))


def label_flipped(carrier: str) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """One airline's labels are the wrong way round."""

    def inject(week: pa.Table, before: pa.Table) -> pa.Table:
        here = pc.equal(week["carrier"], carrier)
        return _replace(week, "late", pc.if_else(here, pc.subtract(1, week["late"]), week["late"]))

    return inject


def week_replayed(week: pa.Table, before: pa.Table) -> pa.Table:
    """The week before is delivered again."""
    return before


def week_replayed_redated(week: pa.Table, before: pa.Table) -> pa.Table:
    """The week before is delivered again, with this week's times."""
    return _replace(before, "time_hour", pc.add(before["time_hour"], WEEK))


def clock_shifted(week: pa.Table, before: pa.Table) -> pa.Table:
    """The source's clock is a day ahead."""
    shifted = _replace(week, "time_hour", pc.add(week["time_hour"], DAY))
    weekday = (week["weekday"].to_numpy() + 1) % 7
    return _replace(shifted, "weekday", pa.array(weekday.astype(np.int64)))


def clock_shifted_in_ingestion(week: pa.Table, before: pa.Table) -> pa.Table:
    """The same, cut into weeks after the shift: this week gets its days except Sunday, a day late."""
    shifted = clock_shifted(week, before)
    end = (
        pc.min(week["time_hour"]).as_py() // WEEK * WEEK + 4 * DAY
    )  # weeks begin on Monday, 1970 on a Thursday
    end = end + WEEK if end <= pc.min(week["time_hour"]).as_py() else end
    return shifted.filter(pc.less(shifted["time_hour"], end))


FAULTS = (
    Fault("sensor stuck", "temp is 55.4 in every row", stuck_sensor),
    Fault(
        "sensor stuck at one airport", "pressure is 1013.2 in EWR's rows", stuck_at_one_airport, asked=False
    ),
    Fault("miles as kilometres", "distance times 1.609", miles_as_kilometres),
    Fault("column emptied", "dest is missing in every row", column_emptied),
    Fault("weather column emptied", "humid is missing in every row", weather_emptied, asked=False),
    Fault("half of the rows missing", "every second row is lost", half_missing),
    Fault("categories shuffled", "dest is moved to other rows", categories_shuffled),
    Fault("categories recoded", "carrier codes are mapped to one another", categories_recoded, asked=False),
    Fault("label flipped for one carrier", "late of UA is 1 - late", label_flipped("UA")),
    Fault("label flipped for B6", "late of B6 is 1 - late", label_flipped("B6"), asked=False),
    Fault("label flipped for DL", "late of DL is 1 - late", label_flipped("DL"), asked=False),
    Fault("week replayed", "the rows of the week before, as they were", week_replayed),
    Fault(
        "week replayed, redated",
        "the rows of the week before, a week later",
        week_replayed_redated,
        asked=False,
    ),
    Fault("clock shifted by a day", "time_hour and weekday a day later", clock_shifted),
    Fault(
        "clock shifted, then cut",
        "the same before the weeks are cut",
        clock_shifted_in_ingestion,
        asked=False,
    ),
)


def _replace(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), column.cast(table.schema.field(index).type))


def _random(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).random(rows)
