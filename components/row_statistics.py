"""Statistics of whole rows for the DataGate, as one more TFDV generator beside `gate_statistics`.

| on feature | name | value |
| --- | --- | --- |
| the event time | `noria/hours` | JSON: `rows` in each hour of the day (UTC), 24 numbers |
| categorical | `noria/numbers_by_value` | JSON: value → rows, and of each number rows, mean, deviation, most |
| first column | `noria/duplicates` | JSON: rows and distinct rows in a sample, by all and half the columns |

`most` is the largest share that one of 16 buckets, into which numbers fall by their hash, has of a value's numbers: no
number has a larger one.
"""

import collections
import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components import gate_statistics
from noria.components.gate_statistics import MAX_VALUES
from noria.components.single_values import single_values
from noria.core import splitmix64
from noria.core.periods import DAY

HOURS = "noria/hours"
NUMBERS_BY_VALUE = "noria/numbers_by_value"
DUPLICATES = "noria/duplicates"
# Distinct rows in a sketch: a share of duplicates is known to 2 points.
SKETCH = 2048
# Of the numbers of one value, by the first 4 bits of their hash.
BUCKETS = 16
# Columns whose numbers are hashed at once.
TOGETHER = 64


class Sketch:
    """A sample of rows by their hash: either all copies of a row are in it or none.

    Attributes:
      bits: rows whose hash begins with so many zeros are in the sample; grows until 2,048 distinct rows are left.
      counts: hash → rows.
    """

    def __init__(self) -> None:
        self.bits = 0
        self.counts: collections.Counter = collections.Counter()

    def add(self, hashes: np.ndarray) -> None:
        """Adds rows by their hashes, `[rows]` uint64."""
        kept = hashes[hashes >> np.uint64(64 - self.bits) == 0] if self.bits else hashes
        values, counts = np.unique(kept, return_counts=True)
        self.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._shrink()

    def merge(self, other: "Sketch") -> None:
        """Adds another sketch's rows."""
        self.bits = max(self.bits, other.bits)
        self.counts.update(other.counts)
        self._shrink(always=True)

    def _shrink(self, always: bool = False) -> None:
        while always or len(self.counts) > SKETCH:
            self.bits += not always
            limit = 1 << (64 - self.bits)
            self.counts = collections.Counter(
                {mark: count for mark, count in self.counts.items() if mark < limit}
            )
            always = False


@dataclasses.dataclass
class Rows:
    """The accumulator: sums and sketches, which merge.

    Attributes:
      hours: rows by hour of the day, `[24]`.
      sketches: of all columns, of every second one, of the others.
      numbers: (feature, value) → `[numbers, 3 + 16]`: rows, Σx, Σx², rows in each bucket.
      rows: (feature, value) → rows.
      columns: those that the rows have; TFDV does not survive statistics of one that is missing.
      ignored: features with more than 200 values.
    """

    hours: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(24))
    sketches: tuple[Sketch, Sketch, Sketch] = dataclasses.field(
        default_factory=lambda: (Sketch(), Sketch(), Sketch())
    )
    numbers: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(float))
    rows: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    columns: set = dataclasses.field(default_factory=set)
    ignored: set = dataclasses.field(default_factory=set)


class RowStatisticsGenerator(tfdv.CombinerStatsGenerator):
    """Counts duplicates, hours of the day, and numbers by category.

    Args:
      schema: says which columns there are, and which strings have a closed domain.
      label: the label column.
      time: the event time in epoch seconds; empty for none.
    """

    def __init__(self, schema: schema_pb2.Schema, label: str = "", time: str = ""):
        super().__init__("noria/row_statistics", schema)
        self._time = time
        self._columns = sorted(feature.name for feature in schema.feature)
        self._categories = gate_statistics.categories(schema, {label, time})
        self._numbers = gate_statistics.numbers(schema, {label, time})

    def create_accumulator(self) -> Rows:
        """Returns an empty accumulator."""
        return Rows()

    def add_input(self, accumulator: Rows, record_batch: pa.RecordBatch) -> Rows:
        """Adds a batch of list columns, `[n]` rows with at most one value each."""
        columns = dict(zip(record_batch.schema.names, record_batch.columns, strict=True))
        rows = record_batch.num_rows
        times = gate_statistics.dense(columns.get(self._time), rows) if self._time else None
        if times is not None:
            hours = (times[np.isfinite(times)] % DAY // 3600).astype(np.int64)
            accumulator.hours = accumulator.hours + np.bincount(hours, minlength=24)
        marks = [np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)]
        halves = {name: index % 2 for index, name in enumerate(n for n in self._columns if n in columns)}
        numbers = single_values(record_batch, [pa.int64(), pa.float32()])
        for half, mark in enumerate(marks):
            mine = {name: values for name, values in numbers.items() if halves.get(name) == half}
            accumulator.columns.update(mine)
            mark += _sum_of_hashes(mine, rows)
        for name, half in halves.items():
            scalars = None if name in numbers else gate_statistics.scalars(columns[name], rows)
            if scalars is not None:
                accumulator.columns.add(name)
                marks[half] += _hashes(scalars, name)
        for sketch, mark in zip(accumulator.sketches, (marks[0] + marks[1], *marks), strict=True):
            sketch.add(splitmix64.mix(mark))
        self._add_numbers(accumulator, columns, rows)
        return accumulator

    def merge_accumulators(self, accumulators: list[Rows]) -> Rows:
        """Adds accumulators."""
        total = Rows(ignored=set().union(*(part.ignored for part in accumulators)))
        for part in accumulators:
            total.columns |= part.columns
            total.hours = total.hours + part.hours
            for mine, theirs in zip(total.sketches, part.sketches, strict=True):
                mine.merge(theirs)
            for key, sums in part.numbers.items():
                total.numbers[key] = total.numbers[key] + sums
            total.rows.update(part.rows)
        _forget(total)
        return total

    def extract_output(self, accumulator: Rows) -> statistics_pb2.DatasetFeatureStatistics:
        """Returns a dataset with one entry for each feature that has such statistics."""
        result = statistics_pb2.DatasetFeatureStatistics()
        entries = gate_statistics.Entries(result)
        if accumulator.hours.any():
            text = json.dumps({"rows": [int(count) for count in accumulator.hours]})
            entries[self._time].custom_stats.add(name=HOURS, str=text)
        if accumulator.columns:
            pairs = [[sum(one.counts.values()), len(one.counts)] for one in accumulator.sketches]
            entries[min(accumulator.columns)].custom_stats.add(
                name=DUPLICATES, str=json.dumps({"sketches": pairs})
            )
        for name in self._categories:
            found = {
                value: {"rows": rows, "numbers": self._summary(accumulator.numbers[name, value])}
                for (feature, value), rows in sorted(accumulator.rows.items())
                if feature == name
            }
            if found:
                text = json.dumps(found)
                entries[name].custom_stats.add(name=NUMBERS_BY_VALUE, str=text)
        return result

    def _add_numbers(self, accumulator: Rows, columns: Mapping[str, pa.Array], rows: int) -> None:
        x = np.full((rows, len(self._numbers)), np.nan)
        for index, name in enumerate(self._numbers):
            values = gate_statistics.dense(columns.get(name), rows)
            if values is not None:
                x[:, index] = values
        known = np.isfinite(x)
        x = np.where(known, x, 0.0)
        sums = np.stack([known, x, x * x], axis=2).reshape(rows, -1)
        buckets = (splitmix64.mix((x + 0.0).view(np.uint64)) >> np.uint64(60)).astype(np.int64)
        for name in self._categories:
            column = None if name in accumulator.ignored else gate_statistics.scalars(columns.get(name), rows)
            if column is None:
                continue
            encoded = column.dictionary_encode()
            if len(encoded.dictionary) > MAX_VALUES:
                accumulator.ignored.add(name)
                _forget(accumulator)
                continue
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            members = (codes == np.arange(len(encoded.dictionary))[:, None]).astype(np.float64)
            totals, counts = (members @ sums).reshape(len(members), -1, 3), members.sum(axis=1)
            spread = np.zeros((len(members), len(self._numbers), BUCKETS))
            for number in range(len(self._numbers)):
                cells = (codes * BUCKETS + buckets[:, number])[known[:, number] & (codes >= 0)]
                spread[:, number] = np.bincount(cells, minlength=len(members) * BUCKETS).reshape(-1, BUCKETS)
            totals = np.concatenate([totals, spread], axis=2)
            for index, value in enumerate(encoded.dictionary.to_pylist()):
                key = (name, gate_statistics.as_text(value))
                accumulator.rows[key] += int(counts[index])
                accumulator.numbers[key] = accumulator.numbers[key] + totals[index]
            _forget(accumulator)

    def _summary(self, sums: np.ndarray) -> dict[str, list[float]]:
        found = {}
        for name, (rows, total, squares, *spread) in zip(self._numbers, sums.tolist(), strict=True):
            mean = total / max(rows, 1)
            # Below a relative 1e-6 the difference of the sums is a rounding error.
            variance = max(squares / max(rows, 1) - mean**2, 0.0)
            deviation = math.sqrt(variance) if variance > 1e-12 * max(squares / max(rows, 1), 1e-300) else 0.0
            most = max(spread) / max(rows, 1)
            found[name] = [int(rows), float(f"{mean:.6g}"), float(f"{deviation:.4g}"), float(f"{most:.4g}")]
        return found


def _forget(rows: Rows) -> None:
    """Removes features with too many values."""
    values = collections.Counter(feature for feature, _ in rows.rows)
    rows.ignored.update(name for name, count in values.items() if count > MAX_VALUES)
    if rows.ignored:
        for key in [key for key in rows.rows if key[0] in rows.ignored]:
            del rows.rows[key]
            rows.numbers.pop(key, None)


def _sum_of_hashes(columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """The sum of `_hashes` of columns with a number in each row, many columns at a time: `[rows]`."""
    total, names = np.zeros(rows, np.uint64), sorted(columns, key=lambda name: columns[name].dtype.str)
    for _, alike in itertools.groupby(names, key=lambda name: columns[name].dtype):
        waiting = list(alike)
        while waiting:
            some, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            values = np.concatenate([columns[name] for name in some])
            hashes = pd.util.hash_array(values, categorize=False).reshape(len(some), rows)
            salts = np.array([_salt(name) for name in some], np.uint64)
            total += splitmix64.mix(hashes * salts[:, None]).sum(axis=0, dtype=np.uint64)
    return total


def _salt(name: str) -> int:
    return zlib.crc32(name.encode()) * 2 + 1


def _hashes(column: pa.Array, name: str) -> np.ndarray:
    """A hash of each value with the column's name, `[rows]`; 0 if there is none."""
    salt = np.uint64(_salt(name))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        # A number is hashed faster than it is found in a dictionary.
        numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
        found = splitmix64.mix(pd.util.hash_array(numbers, categorize=False) * salt)
        found[np.asarray(column.is_null())] = 0
        return found
    encoded = column.dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False)
    marks = pd.util.hash_array(values, categorize=False) if len(values) else np.zeros(0, np.uint64)
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.append(splitmix64.mix(marks * salt), np.uint64(0))[codes]
