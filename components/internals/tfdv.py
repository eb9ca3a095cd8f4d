"""TFDV: the combiners behind its statistics, and its equal-width histogram."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation import types
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import basic_stats_generator as basic
from tensorflow_data_validation.statistics.generators import top_k_uniques_sketch_stats_generator as sketch
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_data_validation.utils.top_k_uniques_stats_util import FeatureValueCount
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.internals.tfx_bsl import flatten_nested

# Options that the combiners ignore, so that only the Beam path supports them. No lane has all of them.
_BEAM_ONLY = (
    "sample_rate",
    "feature_allowlist",
    "experimental_slice_functions",
    "experimental_slice_sqls",
    "slicing_config",
    "weight_feature",
    "use_sketch_based_topk_uniques",
)

bin_weights = quantiles_util._get_bin_weights
overlap = quantiles_util._overlap
equi_width_histogram = quantiles_util.generate_equi_width_histogram
find_median = quantiles_util.find_median
quantiles_of = basic._get_quantiles_counts
# Quantiles that TFDV takes for each bucket of the quantile histogram.
FINER = basic._NUM_QUANTILES_FACTOR_FOR_STD_HISTOGRAM


def beam_only(options: tfdv.StatsOptions) -> list[str]:
    """The names of the options in use that only the Beam path supports."""
    return [name for name in _BEAM_ONLY if getattr(options, name, None)]


def combiners(options: tfdv.StatsOptions) -> list[Any]:
    """The combiners that `tfdv.generate_statistics_in_memory` uses; each has Beam's CombineFn methods."""
    return stats_impl.get_generators(options, in_memory=True)


def is_basic(combiner: Any) -> bool:
    """Whether a combiner makes TFDV's statistics of every column, see `BasicStats`."""
    return type(combiner) is basic.BasicStatsGenerator


class BasicStats(basic.BasicStatsGenerator):
    """TFDV's counts, moments and histograms of every column, as the parts that a subclass puts together.

    Args:
      generator: TFDV's own, whose settings it takes.
    """

    def __init__(self, generator: Any):
        self.__dict__.update(vars(generator))
        self.quantiles_histogram_buckets = self._num_quantiles_histogram_buckets
        self.histogram_buckets = self._num_histogram_buckets

    def is_number(self, path: Any, kind: Any) -> bool:
        """Whether a column of a type gets a number's statistics, without weights."""
        return (
            kind in (statistics_pb2.FeatureNameStatistics.INT, statistics_pb2.FeatureNameStatistics.FLOAT)
            and path not in self._categorical_numeric_types
            and self._column_hasher is None
            and self._example_weight_map.get(path) is None
            and self._feature_config.should_compute_histograms(path)
        )

    def find_or_add(self, accumulator: Any, name: str) -> tuple[Any, Any]:
        """The path and the accumulator of a column."""
        path = types.FeaturePath([name])
        if path not in accumulator:
            accumulator[path] = basic._PartialBasicStats(False, self._make_quantiles_sketch_fn)
        return path, accumulator[path]

    def level(self, stats: Any) -> Any:
        """The counts of a column's rows; None if TFDV has found lists of lists in it."""
        if stats.common_stats.presence_and_valency_stats is None:
            new = basic._PresenceAndValencyStats(self._make_quantiles_sketch_fn, False)
            stats.common_stats.presence_and_valency_stats = [new]
        levels = stats.common_stats.presence_and_valency_stats
        return levels[0] if len(levels) == 1 else None

    def add_moments(self, stats: Any, rows: int, mean: float, variance: float) -> None:
        """Adds rows to a column's mean and variance."""
        stats.numeric_stats.mean_var_accumulator._combine(rows, mean, variance)

    def common(self, accumulator: Any, stats: Any) -> Any:
        """A column's counts as proto."""
        return basic._make_common_stats_proto(
            stats.common_stats,
            None,
            self._make_quantiles_sketch_fn,
            self._num_values_histogram_buckets,
            False,
            accumulator.num_examples,
            accumulator.weighted_num_examples,
        )

    def feature(self, accumulator: Any, path: Any, stats: Any) -> Any:
        """Any column's statistics as proto, as `extract_output` makes them."""
        return basic._make_feature_stats_proto(
            path,
            stats,
            accumulator.get(path.parent()),
            self._make_quantiles_sketch_fn,
            self._num_values_histogram_buckets,
            self._num_histogram_buckets,
            self._num_quantiles_histogram_buckets,
            path in self._bytes_features,
            self._categorical_numeric_types,
            self._example_weight_map.get(path) is not None,
            accumulator.num_examples,
            accumulator.weighted_num_examples,
        )


def is_sketch(combiner: Any) -> bool:
    """Whether a combiner counts values approximately, see `ExactTopKUniques`."""
    return isinstance(combiner, sketch.TopKUniquesSketchStatsGenerator)


def extract(
    accumulators: Sequence[Any], generators: Sequence[Any]
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics from the combiners' accumulators."""
    return stats_impl.extract_statistics_output(accumulators, generators)


@contextlib.contextmanager
def replaced_histogram(histogram: Callable[..., statistics_pb2.Histogram]) -> Iterator[None]:
    """Within this context TFDV makes equal-width histograms by another function; per process."""
    quantiles_util.generate_equi_width_histogram = histogram
    try:
        yield
    finally:
        quantiles_util.generate_equi_width_histogram = equi_width_histogram


def value_counts(distinct: int, pairs: Sequence[tuple[Any, int]]) -> Any:
    """What a counter of `ExactTopKUniques` returns: the number of values, and the most frequent with their counts."""
    return sketch._CombinedEstimate(distinct, [FeatureValueCount(*pair) for pair in pairs], [])


class ExactTopKUniques(sketch.TopKUniquesSketchStatsGenerator):
    """TFDV's top values, rank histogram and number of distinct values, with another counter than TFDV's sketch.

    Args:
      options: the options that TFDV would make its own generator from; weights are not covered.
      counter: makes an empty counter of one feature with the methods `add(values)`, `merge(other)` and `estimate()`. It
        gets the number of values to keep.
    """

    def __init__(self, options: tfdv.StatsOptions, counter: Callable[[int], Any]):
        super().__init__(
            name="ExactTopKUniques",
            schema=options.schema,
            num_top_values=options.num_top_values,
            num_rank_histogram_buckets=options.num_rank_histogram_buckets,
            frequency_threshold=options.frequency_threshold,
            length_counter_sampling_rate=0.0,
        )
        self._counter = counter
        self._keep = max(options.num_top_values, options.num_rank_histogram_buckets)

    def _update_combined_sketch_for_feature(
        self, feature_name: Any, values: pa.Array, weights: Any, accumulator: dict
    ) -> None:
        """TFDV's name; called for each feature of a batch."""
        if feature_name not in accumulator:
            accumulator[feature_name] = self._counter(self._keep)
        accumulator[feature_name].add(flatten_nested(values)[0])
