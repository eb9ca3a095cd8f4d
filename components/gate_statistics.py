"""Statistics for the DataGate that TFDV does not compute, as one more TFDV generator.

It runs in TFDV's own pass over the data, in process and on Beam, and writes its results to the same `FeatureStats.pb`,
as `custom_stats` whose names begin with `noria/`:

| on feature | name | value |
| --- | --- | --- |
| numeric with a range in the schema | `noria/out_of_range` | values below the minimum or above the maximum |
| the label | `noria/label` | JSON: rows, sum of the label, its correlation with each numeric feature, pairs of both |
| the label, if it is a class | `noria/classes` | JSON: class → rows |
| categorical | `noria/label_by_value` | JSON: the same for each value, without pairs |
| categorical | `noria/association/<other>` | JSON: chi-squared with another categorical feature, rows and values |
"""

import collections
import dataclasses
import json
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.association import Association, associate

PREFIX = "noria/"
OUT_OF_RANGE = "noria/out_of_range"
LABEL = "noria/label"
CLASSES = "noria/classes"
LABEL_BY_VALUE = "noria/label_by_value"
ASSOCIATION = "noria/association/"

# Tables of pairs grow with the square: 6 features make 15 tables, 200 values each at most 40,000 cells a table. Broken
# data may have more values than the domain; such a feature is ignored from then on.
MAX_FEATURES = 6
MAX_VALUES = 200
MAX_NUMERIC = 16


@dataclasses.dataclass
class Counts:
    """The accumulator: sums only, so that parts merge by addition.

    Attributes:
      outside: feature → values out of range.
      classes: the label's value → rows.
      labels: (feature, value) → labelled rows, sum of the label; ("", "") holds all rows.
      moments: (feature, value) → `[numeric features, 6]`: rows, Σx, Σx², Σy, Σy², Σxy with y the label.
      pairs: (feature, other) → (value, other's value) → rows.
      values: feature → its values; at most 200.
      ignored: features with more than 200 values; they are in no other attribute.
    """

    outside: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    classes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    labels: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(_zeros))
    moments: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(float))
    pairs: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(collections.Counter))
    values: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    ignored: set = dataclasses.field(default_factory=set)

    def add_values(self, name: str, values: Collection[str]) -> bool:
        """Adds values of a feature; if they are too many, ignores the feature and returns False."""
        if name not in self.ignored:
            self.values[name].update(values)
            if len(self.values[name]) <= MAX_VALUES:
                return True
            self.ignore(name)
        return False

    def ignore(self, name: str) -> None:
        """Removes a feature that has too many values."""
        self.ignored.add(name)
        self.values.pop(name, None)
        for table in (self.labels, self.moments, self.pairs):
            for key in [key for key in table if name in (key if table is self.pairs else key[:1])]:
                del table[key]


def _zeros() -> np.ndarray:
    return np.zeros(2)


class GateStatisticsGenerator(tfdv.CombinerStatsGenerator):
    """Counts out-of-range values and pairs of categories, and sums up the label by category.

    Args:
      schema: says which features have a range, and which strings have a closed domain.
      label: the label column, a number; empty for none.
      ignore: columns that are not features: the event time.
      classes: the label column where it holds classes; empty for none.
    """

    def __init__(
        self,
        schema: schema_pb2.Schema,
        label: str = "",
        ignore: Collection[str] = (),
        classes: str = "",
    ):
        super().__init__("noria/gate_statistics", schema)
        self._label = label
        self._classes = classes
        self._ranges = _ranges(schema)
        self._categories = categories(schema, {label, classes})
        self._numbers = numbers(schema, {label, classes, *ignore}) if label else []

    def create_accumulator(self) -> Counts:
        """Returns empty counts."""
        return Counts()

    def add_input(self, accumulator: Counts, record_batch: pa.RecordBatch) -> Counts:
        """Adds a batch of list columns, `[n]` rows with at most one value each."""
        columns = dict(zip(record_batch.schema.names, record_batch.columns, strict=True))
        rows = record_batch.num_rows
        for name, (low, high) in self._ranges.items():
            values = _values(columns.get(name))
            if values is not None:
                accumulator.outside[name] += int(np.count_nonzero((values < low) | (values > high)))
        known = scalars(columns.get(self._classes), rows) if self._classes else None
        if known is not None:
            for found in pc.value_counts(known.drop_null()).to_pylist():
                accumulator.classes[as_text(found["values"])] += found["counts"]
        coded = {}
        for name in self._categories:
            column = None if name in accumulator.ignored else scalars(columns.get(name), rows)
            if column is None:
                continue
            encoded = column.dictionary_encode()
            # One value more than allowed is enough to decide; a batch of garbage may have thousands.
            texts = [as_text(value) for value in encoded.dictionary[: MAX_VALUES + 1].to_pylist()]
            if accumulator.add_values(name, texts):
                codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
                coded[name] = (codes, texts)
        if self._label:
            self._add_label(accumulator, columns, coded, rows)
        names = list(coded)
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                _pair(accumulator.pairs[(name, other)], coded[name], coded[other])
        return accumulator

    def merge_accumulators(self, accumulators: list[Counts]) -> Counts:
        """Adds accumulators."""
        total = Counts()
        for name in set().union(*(part.ignored for part in accumulators)):
            total.ignore(name)
        for part in accumulators:
            for name, values in part.values.items():
                total.add_values(name, values)
        for part in accumulators:
            total.outside.update(part.outside)
            total.classes.update(part.classes)
            for key, sums in part.labels.items():
                if key[0] not in total.ignored:
                    total.labels[key] = total.labels[key] + sums
                    total.moments[key] = total.moments[key] + part.moments[key]
            for key, table in part.pairs.items():
                if total.ignored.isdisjoint(key):
                    total.pairs[key].update(table)
        return total

    def extract_output(self, accumulator: Counts) -> statistics_pb2.DatasetFeatureStatistics:
        """Returns a dataset with one entry for each feature that has such statistics."""
        result = statistics_pb2.DatasetFeatureStatistics()
        entries = Entries(result)
        for name in sorted(accumulator.outside):
            entries[name].custom_stats.add(name=OUT_OF_RANGE, num=accumulator.outside[name])
        if accumulator.classes:
            text = json.dumps(dict(sorted(accumulator.classes.items())))
            entries[self._classes].custom_stats.add(name=CLASSES, str=text)
        if ("", "") in accumulator.labels:
            text = json.dumps(self._label_statistics(accumulator, ("", "")))
            entries[self._label].custom_stats.add(name=LABEL, str=text)
        for name in self._categories:
            keys = sorted(key for key in accumulator.labels if key[0] == name)
            if keys:
                text = json.dumps({key[1]: self._label_statistics(accumulator, key) for key in keys})
                entries[name].custom_stats.add(name=LABEL_BY_VALUE, str=text)
        for (name, other), table in sorted(accumulator.pairs.items()):
            found = associate(table, MAX_VALUES)
            if found is not None:
                text = json.dumps(dataclasses.asdict(found))
                entries[name].custom_stats.add(name=ASSOCIATION + other, str=text)
        return result

    def _add_label(
        self, accumulator: Counts, columns: dict[str, pa.Array], coded: dict[str, tuple], rows: int
    ) -> None:
        label = dense(columns.get(self._label), rows)
        if label is None:
            return
        known = ~np.isnan(label)
        y = np.where(known, label, 0.0)
        x = np.full((rows, len(self._numbers)), np.nan)
        for index, name in enumerate(self._numbers):
            values = dense(columns.get(name), rows)
            if values is not None:
                x[:, index] = values
        usable = known[:, None] & np.isfinite(x)
        x = np.where(usable, x, 0.0)
        y_known = usable * y[:, None]
        sums = np.stack([usable, x, x * x, y_known, y_known * y[:, None], x * y[:, None]], axis=2)
        sums = np.concatenate([known[:, None], y[:, None], sums.reshape(rows, -1)], axis=1)
        for name, (codes, values) in {"": (np.zeros(rows, np.int64), [""]), **coded}.items():
            members = (codes == np.arange(len(values))[:, None]).astype(np.float64)
            totals = members @ sums
            for value, total in zip(values, totals, strict=True):
                if total[0]:
                    key = (name, value)
                    accumulator.labels[key] = accumulator.labels[key] + total[:2]
                    accumulator.moments[key] = accumulator.moments[key] + total[2:].reshape(-1, 6)

    def _label_statistics(self, accumulator: Counts, key: tuple[str, str]) -> dict:
        rows, total = accumulator.labels[key]
        correlation = _correlation(accumulator.moments[key])
        found = {
            name: round(float(value), 6)
            for name, value in zip(self._numbers, correlation, strict=True)
            if np.isfinite(value)
        }
        statistics = {"rows": int(rows), "label": round(float(total), 6), "correlation": found}
        if key == ("", ""):
            # Where a number is missing in most rows, few pairs make a correlation.
            pairs = dict(zip(self._numbers, accumulator.moments[key][:, 0].astype(int).tolist(), strict=True))
            statistics["pairs"] = {name: pairs[name] for name in found if pairs[name] < rows}
        return statistics


def _correlation(moments: np.ndarray) -> np.ndarray:
    """Pearson's correlation of x and y; NaN if one is constant.

    Args:
      moments: `[numeric features, 6]`: rows, Σx, Σx², Σy, Σy², Σxy.
    """
    n, x, xx, y, yy, xy = np.moveaxis(moments, 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (xx - x * x / n) * (yy - y * y / n)
        # Below this the difference of the sums is a rounding error.
        return np.where(spread > 1e-9 * xx * yy, (xy - x * y / n) / np.sqrt(spread), np.nan)


def value_of(feature: statistics_pb2.FeatureNameStatistics, name: str) -> float | None:
    """The number of one custom statistic, or None."""
    return next((stat.num for stat in feature.custom_stats if stat.name == name), None)


def text_of(feature: statistics_pb2.FeatureNameStatistics, name: str) -> dict:
    """The JSON object of one custom statistic; empty if there is none."""
    return next((json.loads(stat.str) for stat in feature.custom_stats if stat.name == name), {})


def association_of(feature: statistics_pb2.FeatureNameStatistics, other: str) -> Association | None:
    """The association with another feature, or None."""
    fields = text_of(feature, ASSOCIATION + other)
    return Association(**fields) if fields else None


def _ranges(schema: schema_pb2.Schema) -> dict[str, tuple[float, float]]:
    ranges = {}
    for feature in schema.feature:
        for field in ("int_domain", "float_domain"):
            if feature.HasField(field):
                domain = getattr(feature, field)
                low = domain.min if domain.HasField("min") else -np.inf
                high = domain.max if domain.HasField("max") else np.inf
                if np.isfinite(low) or np.isfinite(high):
                    ranges[feature.name] = (low, high)
    return ranges


def numbers(schema: schema_pb2.Schema, ignore: Collection[str]) -> list[str]:
    """The first 16 numeric features of the schema, without those to ignore."""
    kinds = (schema_pb2.INT, schema_pb2.FLOAT)
    found = [one.name for one in schema.feature if one.type in kinds and one.name not in ignore]
    return found[:MAX_NUMERIC]


def categories(schema: schema_pb2.Schema, ignore: Collection[str]) -> list[str]:
    """The 6 string features with the smallest domains of at most 200 values, without those to ignore."""
    domains = {domain.name: len(domain.value) for domain in schema.string_domain}
    sizes = {}
    for feature in schema.feature:
        size = len(feature.string_domain.value) if feature.HasField("string_domain") else 0
        size = size or domains.get(feature.domain, 0)
        if 2 <= size <= MAX_VALUES and feature.name not in ignore:
            sizes[feature.name] = size
    return sorted(sizes, key=lambda name: (sizes[name], name))[:MAX_FEATURES]  # short tables first


def _values(column: pa.Array | None) -> np.ndarray | None:
    if column is None or not _is_list(column) or not _is_number(column.type.value_type):
        return None
    return column.flatten().to_numpy(zero_copy_only=False)


def scalars(column: pa.Array | None, rows: int) -> pa.Array | None:
    """One value or null for each row; None if the column is missing, empty or has several values a row."""
    if column is None or not _is_list(column) or len(column) != rows:
        return None
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) != 1:
        return None
    flat = column.flatten()
    index = np.where(lengths == 1, np.cumsum(lengths) - 1, 0)
    return flat.take(pa.array(index, mask=lengths == 0, type=pa.int64()))


def dense(column: pa.Array | None, rows: int) -> np.ndarray | None:
    """`[rows]` float64 with NaN for missing; None if the column is not one number a row."""
    values = scalars(column, rows)
    if values is None or not _is_number(values.type):
        return None
    return values.to_numpy(zero_copy_only=False).astype(np.float64)


def _pair(table: collections.Counter, left: tuple, right: tuple) -> None:
    (codes, values), (others, other_values) = left, right
    known = (codes >= 0) & (others >= 0)
    counts = np.bincount(codes[known] * len(other_values) + others[known])
    for cell in np.flatnonzero(counts):
        first, second = divmod(int(cell), len(other_values))
        table[(values[first], other_values[second])] += int(counts[cell])


class Entries(dict[str, statistics_pb2.FeatureNameStatistics]):
    """A new dataset's statistics by feature; they are made where they are asked for."""

    def __init__(self, dataset: statistics_pb2.DatasetFeatureStatistics):
        super().__init__()
        self._dataset = dataset

    def __missing__(self, name: str) -> statistics_pb2.FeatureNameStatistics:
        feature = self[name] = self._dataset.features.add()
        feature.path.step.append(name)
        return feature


def as_text(value: bytes | str | int) -> str:
    """A category as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_list(column: pa.Array) -> bool:
    return pa.types.is_list(column.type) or pa.types.is_large_list(column.type)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
