"""Exact value counts for TFDV's statistics in one process.

In memory TFDV counts values with a sketch of 1,024 entries, in Beam exactly: a week of flights has 2,900 aircraft,
whose counts would differ between the two. This generator is TFDV's own with exact counters in the sketches' place.
The counts are Arrow columns: a distinct value costs its own bytes and 12 more, and up to three times that while they
are added up (`tests/unit/schemas/test_summarize.py`).
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_data_validation.statistics import stats_options
from tensorflow_data_validation.statistics.generators import (
    top_k_uniques_sketch_stats_generator as tfdv_sketch,
)
from tensorflow_data_validation.utils.top_k_uniques_stats_util import FeatureValueCount
from tfx_bsl.arrow import array_util

# Values that wait to be added up: fewer would be added up too often.
_WAITING = 100_000


class _Counts:
    """One feature's counter, with the methods of TFDV's `_CombinedSketch`."""

    def __init__(self, keep: int):
        self._keep = keep
        self._parts: list[pa.Table] = []
        self._settled = 0  # rows of the first part, whose values are distinct
        self._waiting = 0

    def add(self, values: pa.Array) -> None:
        counted = values.value_counts()
        # Of dictionaries and slices nothing else stays behind; text and bytes are one kind.
        self._append(pa.table({"value": counted.field(0), "count": counted.field(1)}))

    def merge(self, other: "_Counts") -> None:
        for part in other._parts:
            self._append(part)

    def estimate(self) -> Any:
        self._settle()
        if not self._parts:
            return tfdv_sketch._CombinedEstimate(0, [], [])
        (table,) = self._parts
        counts = table["count"].to_numpy()
        if len(counts) > self._keep:
            least = np.partition(counts, len(counts) - self._keep)[len(counts) - self._keep]
            table = table.filter(pa.array(counts >= least))
        # Of equal counts the larger value goes first, as in Beam's `Top` over (count, value).
        order = pc.sort_indices(table, [("count", "descending"), ("value", "descending")])
        top = table.take(order[: self._keep])
        pairs = zip(top["value"].to_pylist(), top["count"].to_pylist(), strict=True)
        return tfdv_sketch._CombinedEstimate(self.distinct, [FeatureValueCount(*pair) for pair in pairs], [])

    @property
    def distinct(self) -> int:
        self._settle()
        return self._settled

    def _append(self, part: pa.Table) -> None:
        self._parts.append(part)
        self._waiting += len(part)
        # As many as are settled: each value is then moved a constant number of times on average.
        if self._waiting > max(_WAITING, self._settled):
            self._settle()

    def _settle(self) -> None:
        if not self._waiting:
            return
        added = pa.concat_tables(self._parts).group_by("value").aggregate([("count", "sum")])
        self._parts = [added.rename_columns([name.removesuffix("_sum") for name in added.column_names])]
        self._parts = [self._parts[0].select(["value", "count"]).combine_chunks()]
        self._settled, self._waiting = len(added), 0


class ExactTopKUniques(tfdv_sketch.TopKUniquesSketchStatsGenerator):
    """TFDV's top values, rank histogram and number of distinct values, counted exactly.

    Args:
      options: the options that TFDV would make its own generator from; weights are not covered.
    """

    def __init__(self, options: stats_options.StatsOptions):
        super().__init__(
            name="ExactTopKUniques",
            schema=options.schema,
            num_top_values=options.num_top_values,
            num_rank_histogram_buckets=options.num_rank_histogram_buckets,
            frequency_threshold=options.frequency_threshold,
            length_counter_sampling_rate=0.0,
        )
        self._keep = max(options.num_top_values, options.num_rank_histogram_buckets)

    def _update_combined_sketch_for_feature(
        self, feature_name: Any, values: pa.Array, weights: Any, accumulator: dict
    ) -> None:
        if feature_name not in accumulator:
            accumulator[feature_name] = _Counts(self._keep)
        accumulator[feature_name].add(array_util.flatten_nested(values)[0])
