"""TFDV's basic statistics, with many columns of numbers together: the same protos, byte for byte.

TFDV's generator calls some fifty functions for each column and batch. Where a table has many columns with one finite
number in each row, moments and ends are those of a matrix, and so are the rows between quantiles. Each column still has
TFDV's own accumulator, with TFDV's sketches, so merging and copying are TFDV's. Other columns go to TFDV.
`tests/unit/components/test_summarize.py` compares the two.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.internals import tfdv as tfdv_internals
from noria.components.single_values import single_values
from noria.components.statistics_gen import equi_width

MANY = 32  # columns, from which on a matrix pays
NUMBERS = 1 << 19  # of a matrix: it is small beside the batch
KINDS = {
    pa.float32(): statistics_pb2.FeatureNameStatistics.FLOAT,
    pa.int64(): statistics_pb2.FeatureNameStatistics.INT,
}


class ManyColumns(tfdv_internals.BasicStats):
    """TFDV's generator of basic statistics for tables of any width."""

    def add_input(self, accumulator: Any, examples: pa.RecordBatch) -> Any:
        """TFDV's name: adds a batch."""
        columns = dict(zip(examples.schema.names, examples.columns, strict=True))
        if len(columns) < MANY or not all(map(_is_flat, examples.schema.types)):
            return super().add_input(accumulator, examples)
        rows = accumulator.num_examples + examples.num_rows
        # All columns first: their order is that of the batch.
        found = {name: self.find_or_add(accumulator, name) for name in columns}
        added: set[str] = set()
        for kind, feature in KINDS.items():
            alike = {
                name: numbers
                for name, numbers in single_values(examples, [kind]).items()
                if self.is_number(found[name][0], feature)
                and found[name][1].common_stats.type in (None, feature)
                and self.level(found[name][1]) is not None
            }
            for names, matrix in _matrices(alike):
                finite = np.isfinite(matrix).all(axis=1)
                kept = [name for name, good in zip(names, finite, strict=True) if good]
                if kept:
                    self._add([found[name][1] for name in kept], matrix[finite], feature)
                    added.update(kept)
        rest = {name: column for name, column in columns.items() if name not in added}
        if rest:
            super().add_input(accumulator, pa.RecordBatch.from_pydict(rest))
        accumulator.num_examples = rows
        return accumulator

    def _add(self, columns: list[Any], matrix: np.ndarray, kind: Any) -> None:
        rows = matrix.shape[1]
        exact = matrix.astype(np.float64)
        means, variances = exact.mean(axis=1), exact.var(axis=1)
        lows, highs = matrix.min(axis=1), matrix.max(axis=1)
        zeros = rows - np.count_nonzero(matrix, axis=1)
        one, count = pa.array([1], pa.int64()), pa.array([rows], pa.int64())
        for at, stats in enumerate(columns):
            stats.common_stats.type = kind
            level, numeric = self.level(stats), stats.numeric_stats
            level.num_non_missing += rows
            level.total_num_values += rows
            level.max_num_values = max(level.max_num_values, 1)
            level.min_num_values = min(level.min_num_values, 1)
            level.num_values_summary.AddValues(one, count)
            self.add_moments(stats, rows, means[at], variances[at])
            numeric.min, numeric.max = min(numeric.min, lows[at]), max(numeric.max, highs[at])
            numeric.finite_min = min(numeric.finite_min, lows[at])
            numeric.finite_max = max(numeric.finite_max, highs[at])
            numeric.num_zeros += zeros[at]
            numeric.quantiles_summary.AddValues(pa.array(matrix[at]))

    def compact(self, accumulator: Any) -> Any:
        """TFDV's name; `extract_output` compacts: all sketches at once would take twice their memory."""
        return accumulator

    def extract_output(self, accumulator: Any) -> statistics_pb2.DatasetFeatureStatistics:
        """TFDV's name: the statistics of all columns, whose sketches are used up."""
        if len(accumulator) < MANY:
            return super().extract_output(super().compact(accumulator))
        result = statistics_pb2.DatasetFeatureStatistics(
            num_examples=accumulator.num_examples, weighted_num_examples=accumulator.weighted_num_examples
        )
        entries = {path: result.features.add() for path in accumulator}  # in TFDV's order
        plain = {path: stats for path, stats in accumulator.items() if self._is_plain(path, stats)}
        commons: dict[int, Any] = {}
        for paths, quantiles, counts in self._quantiles(plain):
            fine = equi_width.weights(quantiles, counts)
            coarse_quantiles, coarse_counts = _coarse(quantiles), _coarse(counts)
            coarse = equi_width.weights(coarse_quantiles, coarse_counts)
            whole = (counts == np.floor(counts)).all(axis=1) & np.isfinite(quantiles).all(axis=1)
            for at, path in enumerate(paths):
                if not whole[at]:
                    continue
                stats, entry = plain[path], entries.pop(path)
                rows = self.level(stats).num_non_missing
                if rows not in commons:  # one value a row: the number of rows is all that columns differ in
                    self.level(stats).num_values_summary.Compact()
                    commons[rows] = self.common(accumulator, stats)
                stats.numeric_stats.quantiles_summary = None
                entry.path.step.extend(path.steps())
                entry.type = stats.common_stats.type
                entry.num_stats.common_stats.CopyFrom(commons[rows])
                _fill(entry.num_stats, stats.numeric_stats, tfdv_internals.find_median(quantiles[at]))
                standard, by_quantiles = (
                    entry.num_stats.histograms.add(type=kind, num_nan=0)
                    for kind in (statistics_pb2.Histogram.STANDARD, statistics_pb2.Histogram.QUANTILES)
                )
                bounds, ends = quantiles[at].tolist(), stats.numeric_stats
                equi_width.add_buckets(
                    *(standard, bounds[:-1], bounds[1:], fine[at].tolist()),
                    *(ends.finite_min, ends.finite_max, self.histogram_buckets),
                )
                bounds = coarse_quantiles[at].tolist()
                for low, high, count in zip(bounds[:-1], bounds[1:], coarse[at].tolist(), strict=True):
                    by_quantiles.buckets.add(low_value=low, high_value=high, sample_count=count)
        super().compact({path: accumulator[path] for path in entries})
        for path, entry in entries.items():
            entry.CopyFrom(self.feature(accumulator, path, accumulator[path]))
        return result

    def _is_plain(self, path: Any, stats: Any) -> bool:
        """Whether a column has one finite number in each row that has any, and two different ones."""
        numeric, levels = stats.numeric_stats, stats.common_stats.presence_and_valency_stats
        return bool(
            self.is_number(path, stats.common_stats.type)
            and len(path.steps()) == 1
            and levels is not None
            and len(levels) == 1
            and levels[0].min_num_values == levels[0].max_num_values == 1
            and not numeric.num_nan
            and np.isfinite(numeric.min)
            and np.isfinite(numeric.max)
            and numeric.min < numeric.max
            and np.isfinite(np.linspace(numeric.min, numeric.max, self.histogram_buckets + 1)).all()
        )

    def _quantiles(self, plain: dict[Any, Any]) -> Iterator[tuple[list[Any], np.ndarray, np.ndarray]]:
        """Paths, and their quantiles and rows up to each of them, both `[paths, quantiles]`."""
        wanted = tfdv_internals.FINER * self.quantiles_histogram_buckets
        for paths in _groups(list(plain), max(1, NUMBERS // wanted)):
            sketches = [plain[path].numeric_stats.quantiles_summary for path in paths]
            for sketch in sketches:
                sketch.Compact()
            pairs = [tfdv_internals.quantiles_of(sketch, wanted) for sketch in sketches]
            del sketch, sketches
            yield paths, np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])


def _fill(proto: statistics_pb2.NumericStatistics, stats: Any, median: float) -> None:
    moments = stats.mean_var_accumulator
    proto.mean, proto.std_dev = float(moments.mean), math.sqrt(max(0, moments.variance))
    proto.num_zeros = stats.num_zeros
    proto.min, proto.max, proto.median = float(stats.min), float(stats.max), float(median)


def _coarse(values: np.ndarray) -> np.ndarray:
    """As TFDV's `rebin_quantiles`."""
    step = tfdv_internals.FINER
    return np.concatenate([values[:, :1], values[:, step::step]], axis=1)


def _is_flat(kind: pa.DataType) -> bool:
    """Whether the values of a column are single values, or lists of them, and not structs."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return not pa.types.is_nested(kind.value_type)
    return pa.types.is_null(kind)


def _matrices(columns: dict[str, np.ndarray]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Columns of one type as matrices `[columns, rows]`."""
    rows = len(next(iter(columns.values()), ()))
    for names in _groups(list(columns), max(1, NUMBERS // max(1, rows))):
        yield names, np.stack([columns[name] for name in names])


def _groups(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
