"""TFDV: the combiners behind its statistics, and its equal-width histogram."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
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


def beam_only(options: tfdv.StatsOptions) -> list[str]:
    """The names of the options in use that only the Beam path supports."""
    return [name for name in _BEAM_ONLY if getattr(options, name, None)]


def combiners(options: tfdv.StatsOptions) -> list[Any]:
    """The combiners that `tfdv.generate_statistics_in_memory` uses; each has Beam's CombineFn methods."""
    return stats_impl.get_generators(options, in_memory=True)


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
