"""What `noria init` infers from a table: the task, the classes, the spans, and the role of each column.

Plain functions over a `pyarrow.Table`; a person corrects the draft that they give.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core import periods
from noria.core.errors import DataError
from noria.ingestion.labels import NEGATIVE, Labels, words_of
from noria.ingestion.labels import POSITIVE as YES

# About a dozen spans show what the pipeline does: a cold run on four and some eight warm ones.
FEWEST, BEST, MOST = 8, 11, 14
LENGTHS = ("week", "day", "hour", "15m", "5m", "1m")  # of those that fit alike the longest regular one
# Rows of a span of `rows:N` at least: a fifth of them judges a model.
FEWEST_ROWS = 50
# Rows of a span of the calendar, on average: with fewer, single rows would judge a model.
FEWEST_IN_PERIOD = 40
# Rows of a span where their order means nothing: a table's, but not so many that a run takes long.
MOST_ROWS = 200_000
# A class has to be seen in every span to be learnt and judged.
MOST_CLASSES = 50
# Integer labels with few values are read as classes; beyond that, as a quantity.
MOST_INTEGER_CLASSES = 10
# Whole numbers that are all different name rows where they are at most so many times as many as the rows.
SERIAL = 2
# The share of distinct values from which a column of texts names rows instead of describing them.
UNIQUE = 0.9
POSITIVE = (
    "1",
    "true",
    "t",
    "yes",
    "y",
    "positive",
    "pos",
    "on",
    "late",
    "fraud",
    "churn",
    "churned",
    "default",
)


@dataclasses.dataclass(frozen=True)
class LabelProfile:
    """What the label column holds.

    Attributes:
      task: `binary`, `multiclass` or `regression`.
      classes: its values in the order of their class numbers; None where it holds the numbers already.
      shares: share of each class among the labelled rows, by name; empty for regression.
      missing: rows without a label.
    """

    task: str
    classes: list[str | int | float] | None
    shares: dict[str, float]
    missing: int


def label(values: pa.ChunkedArray, name: str, task: str | None = None, boolean: bool = False) -> LabelProfile:
    """Infers the task from the label's values.

    Args:
      values: the label column.
      name: its name, for messages.
      task: as the user gave it; None to infer it.
      boolean: the column held true and false (which are 0 and 1 by now).

    Raises:
      DataError: no value, one class only, or values that do not fit the task.
    """
    counts = _counts(values)
    missing = len(values) - sum(counts.values())
    if not counts:
        raise DataError(
            "the label column holds no value", where=name, next_step="name another one with --label"
        )
    if len(counts) == 1:
        raise DataError(
            f"the label has one class only: every labelled row is {next(iter(counts))!r}",
            where=name,
            next_step="give data with both outcomes, or name another column with --label",
        )
    text = pa.types.is_string(values.type)
    task = task or _task(counts, text, boolean, name)
    if task == "regression":
        if text:
            raise DataError(
                f"a regression needs numbers, but the label holds text such as {next(iter(counts))!r}",
                where=name,
                next_step="--task multiclass, or a column of numbers",
            )
        return LabelProfile("regression", None, {}, missing)
    if task == "binary" and len(counts) != 2:
        raise DataError(
            f"a binary label has two values, but this one has {len(counts)}: {_some(counts)}",
            where=name,
            next_step="--task multiclass or --task regression, or derive a column with two values",
        )
    if len(counts) > MOST_CLASSES:
        raise DataError(
            f"a multiclass label has at most {MOST_CLASSES} classes, this one {len(counts)}: {_some(counts)}",
            where=name,
            next_step="--task regression for a quantity, or merge rare classes",
        )
    classes = _ordered(counts) if task == "binary" else sorted(counts)
    rows = sum(counts.values())
    shares = {str(value): counts[value] / rows for value in classes}
    numbered = classes == list(range(len(classes)))
    return LabelProfile(task, None if numbered and task == "binary" else classes, shares, missing)


def _counts(values: pa.ChunkedArray) -> dict[Any, int]:
    """Rows by value, without the missing ones; texts that differ in case or outer blanks only are one, the commonest.

    Texts for no and yes, however they are mixed, are 0 and 1.
    """
    found: dict[Any, int] = {}
    first: dict[str, str] = {}
    texts = pa.types.is_string(values.type)
    column = words_of(values.combine_chunks()) if texts else values.combine_chunks()
    entries = pc.value_counts(column).to_pylist()
    for entry in sorted(entries, key=lambda entry: -entry["counts"]):
        value = entry["values"]
        if value is None or value != value:
            continue
        if isinstance(value, str):
            value = first.setdefault(value.casefold(), value)
        found[value] = found.get(value, 0) + entry["counts"]
    if texts and len(found) > 2 and set(first) <= {*NEGATIVE, *YES}:
        yes = sum(rows for value, rows in found.items() if value.casefold() in YES)
        return {0: sum(found.values()) - yes, 1: yes}
    return found


def _task(counts: Mapping, text: bool, boolean: bool, name: str) -> str:
    if len(counts) == 2 or boolean:
        return "binary"
    if text:
        if len(counts) > MOST_CLASSES:
            raise DataError(
                f"the label holds {len(counts)} different texts ({_some(counts)}): too many for classes",
                where=name,
                next_step="name a column with two values, a few classes, or numbers",
            )
        return "multiclass"
    whole = all(float(value).is_integer() for value in counts)
    return "multiclass" if whole and len(counts) <= MOST_INTEGER_CLASSES else "regression"


def _ordered(counts: Mapping) -> list:
    """Two values, the positive one second: a word such as yes, else the larger number, else the rarer text."""
    first, second = sorted(counts)
    if not isinstance(first, str):
        return [first, second]
    affirmative = [value for value in (first, second) if value.strip().lower() in POSITIVE]
    positive = (
        affirmative[0] if len(affirmative) == 1 else min((first, second), key=lambda value: counts[value])
    )
    return [second, first] if positive == first else [first, second]


def _some(counts: Mapping) -> str:
    return ", ".join(repr(value) for value in list(counts)[:4]) + (", ..." if len(counts) > 4 else "")


def encoded(values: pa.ChunkedArray, profile: LabelProfile) -> pa.Array:
    """The label as the event table holds it: class numbers as int64, or float64."""
    values = values.combine_chunks()
    if profile.task == "regression":
        return values.cast(pa.float64())
    labels = Labels("label", profile.task, (0, 1) if profile.classes is None else profile.classes)
    return labels.code(labels.normalise(values)[0])


def span_length(seconds: np.ndarray | None, rows: int, random: bool = False) -> tuple[str, int]:
    """The span length that gives about a dozen spans, fewer of few rows; of rows in random order, one for the table.

    Args:
      seconds: epoch seconds of the events; None for row order.
      rows: rows of the table.
      random: whether the order of the rows means nothing.

    Returns:
      The value of `span.every`, and how many spans that gives.
    """
    fitting: list[tuple[float, bool, int, str, int]] = []
    if seconds is not None:
        for place, name in enumerate(LENGTHS):
            count = len(np.unique(periods.number(name, seconds)))
            if 4 <= count <= 60 and rows >= FEWEST_IN_PERIOD * count:
                inside = 0.0 if FEWEST <= count <= MOST else abs(math.log(count / BEST))
                fitting.append((inside, _irregular(name, seconds), place, name, count))
    if fitting:
        *_, name, count = min(fitting)
        return name, count
    size = min(rows, MOST_ROWS) if random else math.ceil(rows / max(1, min(BEST, rows // FEWEST_ROWS)))
    return f"rows:{size}", math.ceil(rows / size)


def _irregular(every: str, seconds: np.ndarray) -> bool:
    """Whether spans begin at different places of their period, as months do in weeks: the gate sees a shifted clock."""
    seconds = np.sort(seconds)
    number = periods.number(every, seconds)
    first = np.unique(number, return_index=True)[1]
    length = periods.length(every) or 1
    return bool(np.ptp(seconds[first] - number[first] * length) > length / 4)


@dataclasses.dataclass(frozen=True)
class Columns:
    """The roles of the columns.

    Attributes:
      numeric, categorical: the features.
      times: further times than the event's; their hour and weekday are features.
      gaps: numeric ones that are missing in some rows.
      slices: categorical ones with few values, for the model gate.
      key: columns that identify an event.
      left_out: name -> why it is not a feature.
      constant: columns with one value, or none.
      distinct: name -> number of distinct values of the categorical ones.
    """

    numeric: list[str]
    categorical: list[str]
    times: list[str]
    gaps: list[str]
    slices: list[str]
    key: list[str]
    left_out: dict[str, str]
    constant: list[str]
    distinct: dict[str, int]


def columns(
    table: pa.Table,
    label_name: str,
    time: str | None,
    key: Sequence[str],
    moments: Sequence[str] = (),
    mixed: Mapping[str, str] | None = None,
    transient: Sequence[str] = (),
) -> Columns:
    """Sorts the columns of a table.

    Args:
      table: the rows.
      label_name, time, key: the columns that people named.
      moments: columns that hold times.
      mixed: columns with values that do not have the format of most others, and the reason for people.
      transient: columns of texts whose values do not come back.
    """
    mixed = mixed or {}
    numeric: list[str] = []
    further: list[str] = []
    categorical: list[str] = []
    left_out: dict[str, str] = {}
    distinct: dict[str, int] = {}
    constant: list[str] = []
    names_of_rows: list[str] = []
    rows = len(table)
    for name in table.column_names:
        values = table.column(name)
        if name in (label_name, time):
            continue
        if name in key:
            left_out[name] = "part of the key"
            continue
        different = pc.count_distinct(values.combine_chunks(), mode="only_valid").as_py()
        present = rows - values.null_count
        if different <= 1 and (present in (0, rows) or not pa.types.is_string(values.type)):
            same = (
                "the same value in every row" if present == rows else "the same value wherever there is one"
            )
            left_out[name] = same if present else "no value"
            constant.append(name)
        elif name in moments:
            further.append(name)
        elif name in mixed:
            left_out[name] = mixed[name]
        elif present == rows and different == rows and rows > 20 and _names_rows(values, name):
            left_out[name] = "identifies the row"
            names_of_rows.append(name)
        elif pa.types.is_string(values.type):
            if different > UNIQUE * present and present > 20:
                left_out[name] = f"{different:,} different texts in {present:,} rows"
            elif name in transient:
                left_out[name] = f"{different:,} different texts that do not come back later"
            else:
                categorical.append(name)
                distinct[name] = different
        else:
            numeric.append(name)
    few = sorted((name for name in categorical if 2 <= distinct[name] <= 20), key=lambda name: distinct[name])
    inferred = list(key) or [name for name in names_of_rows if _is_id(name)][:1] or names_of_rows[:1]
    gaps = [name for name in numeric if table.column(name).null_count]
    return Columns(numeric, categorical, further, gaps, few[:3], inferred, left_out, constant, distinct)


def _names_rows(values: pa.ChunkedArray, name: str) -> bool:
    """Whether different values in all rows are serial numbers or ids, and no quantity such as an income."""
    if not pa.types.is_integer(values.type):
        return pa.types.is_string(values.type)
    numbers = np.asarray(values.combine_chunks())
    steps = np.diff(numbers)
    close = int(numbers.max()) - int(numbers.min()) < SERIAL * len(numbers)
    return _is_id(name) or close or bool((steps > 0).all() or (steps < 0).all())


def _is_id(name: str) -> bool:
    """Whether a name is that of an id, or of the index that pandas and R write: the first column, without a name."""
    name = name.lower()
    names = ("id", "uuid", "guid", "key", "index", "rownames", "column_1", "unnamed: 0")
    return name in names or name.endswith(("_id", "id", "_key", "uuid"))
