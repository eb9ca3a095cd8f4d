"""Faults for any stream of `gate_streams`: what happens to a span's table, and which findings name it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from benchmarks.gate_streams import DAY, WEEK, Stream

LENGTHS = {"hour": 3600, "day": DAY, "week": WEEK}
Inject = Callable[[pa.Table, pa.Table, Stream], "pa.Table | None"]


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
      name: short, for tables.
      inject: (span, span before, stream) → spoilt span; None where the stream cannot have it.
      checks: names of the checks that name it rightly.
      column: role of the column that must be named (`number`, `source`, `pair`); empty for the span as a whole.
    """

    name: str
    inject: Inject
    checks: tuple[str, ...]
    column: str = ""


def _set(table: pa.Table, name: str, values) -> pa.Table:
    index = table.schema.get_field_index(name)
    kind = table.schema.field(index).type
    return table.set_column(index, name, pa.chunked_array([pa.array(values, from_pandas=True).cast(kind)]))


def _here(table: pa.Table, stream: Stream) -> np.ndarray:
    """The rows of one source: that with about a tenth of them."""
    values, counts = np.unique(table[stream.source].to_numpy(), return_counts=True)
    one = values[np.argmin(np.abs(counts - len(table) / 10))]
    return table[stream.source].to_numpy() == one


def _random(table: pa.Table) -> np.random.Generator:
    return np.random.default_rng(len(table))


def units(factor: float) -> Inject:
    """A number arrives in another unit."""
    return lambda table, before, stream: _set(table, stream.number, table[stream.number].to_numpy() * factor)


def time_zone(table: pa.Table, before: pa.Table, stream: Stream):
    """Times are 5 hours late: the last rows fall into the next span, and those of the span before into this one."""
    if not stream.timed or stream.every == "hour":
        return None
    length = LENGTHS[stream.every]
    both = pa.concat_tables([before, table])
    t = both["t"].to_numpy() + 5 * 3600
    start = table["t"].to_numpy().min() // DAY * DAY
    shifted = _set(both, "t", t)
    return shifted.filter(pa.array((t >= start) & (t < start + length)))


def truncated(table: pa.Table, before: pa.Table, stream: Stream):
    """The file ends after 60 % of its rows."""
    return table.slice(0, int(len(table) * 0.6)) if stream.timed else None


def half_missing(table: pa.Table, before: pa.Table, stream: Stream):
    """Every second row is lost."""
    return table.filter(pa.array(_random(table).random(len(table)) < 0.5)) if stream.timed else None


def encoding(table: pa.Table, before: pa.Table, stream: Stream):
    """UTF-8 is read as Latin-1."""
    values = table[stream.source].to_pylist()
    if all(value.isascii() for value in values):
        return None
    return _set(table, stream.source, [value.encode("utf-8").decode("latin-1") for value in values])


def replaced(table: pa.Table, before: pa.Table, stream: Stream):
    """Letters that are not ASCII arrive as U+FFFD."""
    values = table[stream.source].to_pylist()
    if all(value.isascii() for value in values):
        return None
    return _set(
        table,
        stream.source,
        ["".join(one if one.isascii() else "\ufffd" for one in value) for value in values],
    )


def twice(table: pa.Table, before: pa.Table, stream: Stream):
    """The delivery is there twice."""
    order = np.sort(np.tile(np.arange(len(table)), 2))
    return table.take(pa.array(order))


def join(table: pa.Table, before: pa.Table, stream: Stream):
    """A join gives each third row three times, each time with another source."""
    times = np.where(np.arange(len(table)) % 3 == 0, 3, 1)
    order = np.repeat(np.arange(len(table)), times)
    made = table.take(pa.array(order))
    values = made[stream.source].to_numpy().copy()
    copies = np.flatnonzero(np.diff(order, prepend=-1) == 0)
    values[copies] = _random(table).permutation(values)[: len(copies)]
    return _set(made, stream.source, values)


def one_stuck(table: pa.Table, before: pa.Table, stream: Stream):
    """One source's number does not move."""
    values = table[stream.number].to_numpy().copy()
    here = _here(table, stream)
    values[here] = values[here][0]
    return _set(table, stream.number, values)


def all_stuck(table: pa.Table, before: pa.Table, stream: Stream):
    """The number does not move."""
    return _set(table, stream.number, np.full(len(table), table[stream.number][0].as_py()))


def part_empty(table: pa.Table, before: pa.Table, stream: Stream):
    """One source's number is missing."""
    values = table[stream.number].to_numpy().astype(float).copy()
    values[_here(table, stream)] = np.nan
    return _set(table, stream.number, values)


def part_gone(table: pa.Table, before: pa.Table, stream: Stream):
    """One source delivers nothing."""
    return table.filter(pa.array(~_here(table, stream)))


def emptied(table: pa.Table, before: pa.Table, stream: Stream):
    """The number is missing in every row."""
    return _set(table, stream.number, np.full(len(table), np.nan))


def leak(table: pa.Table, before: pa.Table, stream: Stream):
    """The number is filled in after the label was known."""
    x, y = table[stream.number].to_numpy(), table["y"].to_numpy().astype(float)
    y = (y - y.mean()) / y.std()
    return _set(table, stream.number, x.mean() + x.std() * (y + 0.2 * _random(table).normal(size=len(y))))


def default(table: pa.Table, before: pa.Table, stream: Stream):
    """A quarter of the numbers is 0."""
    values = np.where(_random(table).random(len(table)) < 0.25, 0.0, table[stream.number].to_numpy())
    return _set(table, stream.number, values)


def label_default(table: pa.Table, before: pa.Table, stream: Stream):
    """Every label is 0."""
    return None if stream.task == "regression" else _set(table, "y", np.zeros(len(table), np.int64))


def flipped(table: pa.Table, before: pa.Table, stream: Stream):
    """The labels of the largest source are the wrong way round, where it has 100 rows."""
    values, counts = np.unique(table[stream.source].to_numpy(), return_counts=True)
    if stream.task != "binary" or counts.max() < 100:
        return None
    here = table[stream.source].to_numpy() == values[counts.argmax()]
    y = table["y"].to_numpy()
    return _set(table, "y", np.where(here, 1 - y, y))


def shuffled(table: pa.Table, before: pa.Table, stream: Stream):
    """A category that goes with the source is moved to other rows."""
    if not stream.pair:
        return None
    return _set(table, stream.pair, _random(table).permutation(table[stream.pair].to_numpy()))


def replayed(table: pa.Table, before: pa.Table, stream: Stream):
    """The span before again, with this span's times."""
    if not stream.timed:
        return before
    return _set(before, "t", before["t"].to_numpy() + LENGTHS[stream.every])


FAULTS = (
    Fault("unit times 1.609", units(1.609344), ("units", "schema"), "number"),
    Fault("unit times 1,000", units(1000.0), ("units", "schema"), "number"),
    Fault("time zone, 5 h", time_zone, ("time",)),
    Fault("file truncated at 60 %", truncated, ("time", "volume")),
    Fault("half of the rows missing", half_missing, ("volume",)),
    Fault("UTF-8 read as Latin-1", encoding, ("encoding",), "source"),
    Fault("letters lost (U+FFFD)", replaced, ("encoding",), "source"),
    Fault("delivered twice", twice, ("duplicates",)),
    Fault("join multiplies rows", join, ("duplicates",)),
    Fault("sensor stuck", all_stuck, ("stuck",), "number"),
    Fault("one sensor of many stuck", one_stuck, ("stuck",), "number"),
    Fault("number empty for one source", part_empty, ("part",), "number"),
    Fault("one source delivers nothing", part_gone, ("part",), "source"),
    Fault("column emptied", emptied, ("schema",), "number"),
    Fault("label leaks", leak, ("leak",), "number"),
    Fault("default for a quarter", default, ("stuck",), "number"),
    Fault("label is a default", label_default, ("label",)),
    Fault("label flipped for one source", flipped, ("label",), "source"),
    Fault("categories shuffled", shuffled, ("shuffled",), "any"),
    Fault("span replayed", replayed, ("replay",)),
)
