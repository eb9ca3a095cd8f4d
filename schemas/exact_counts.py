"""Exact value counts for TFDV's statistics in one process.

In memory TFDV counts values with a sketch of 1,024 entries, in Beam exactly: a week of flights has 2,900 aircraft,
whose counts would differ between the two. This generator is TFDV's own with exact counters in the sketches' place.
It costs about 120 bytes for each distinct value.
"""

import collections
import heapq
from typing import Any

import pyarrow as pa
from tensorflow_data_validation.statistics import stats_options
from tensorflow_data_validation.statistics.generators import (
    top_k_uniques_sketch_stats_generator as tfdv_sketch,
)
from tensorflow_data_validation.utils.top_k_uniques_stats_util import FeatureValueCount
from tfx_bsl.arrow import array_util


class _Counts:
    """One feature's counter, with the methods of TFDV's `_CombinedSketch`."""

    def __init__(self, keep: int):
        self._keep = keep
        self._counts: collections.Counter = collections.Counter()

    def add(self, values: pa.Array) -> None:
        counted = values.value_counts()
        pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
        for value, count in pairs:
            self._counts[value] += count

    def merge(self, other: "_Counts") -> None:
        self._counts.update(other._counts)

    def estimate(self) -> Any:
        # Of equal counts the larger value goes first, as in Beam's `Top` over (count, value).
        top = heapq.nlargest(self._keep, self._counts.items(), key=lambda pair: (pair[1], pair[0]))
        counts = [FeatureValueCount(value, count) for value, count in top]
        return tfdv_sketch._CombinedEstimate(len(self._counts), counts, [])


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
