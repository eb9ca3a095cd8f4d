"""TFDV's statistics of a stream of batches, in one process and without Beam.

This module reaches into TFDV for it: `stats_impl.get_generators` gives the combiners that TFDV's own
`generate_statistics_in_memory` uses for one batch; here they are fed batch by batch. Memory is bounded by the batch and
by what the combiners keep: sketches, and counters of distinct strings (`exact_counts`,
which says what each costs).
"""

import pickle
from collections.abc import Iterable, Sequence

import pyarrow as pa
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tensorflow_data_validation.statistics.generators.top_k_uniques_sketch_stats_generator import (
    TopKUniquesSketchStatsGenerator,
)
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.statistics_gen import equi_width
from noria.components.statistics_gen.exact_counts import ExactTopKUniques

# Options that the loop below would pass over in silence; the lanes do not have all of them.
_BEAM_ONLY = (
    "sample_rate",
    "feature_allowlist",
    "experimental_slice_functions",
    "experimental_slice_sqls",
    "slicing_config",
    "weight_feature",
    "use_sketch_based_topk_uniques",
)


class Summary:
    """Statistics in the making: what TFDV's combiners keep of the rows so far.

    Args:
      options: TFDV's options; slices, sampling and allow-lists are not covered here.

    Raises:
      ValueError: `options` asks for what only the Beam path does.
    """

    def __init__(self, options: stats_options.StatsOptions):
        refused = [name for name in _BEAM_ONLY if getattr(options, name, None)]
        if refused:
            raise ValueError(
                f"statistics in one process do not cover {', '.join(refused)}; use the Beam path"
            )
        self._generators = [
            ExactTopKUniques(options) if isinstance(generator, TopKUniquesSketchStatsGenerator) else generator
            for generator in stats_impl.get_generators(options, in_memory=True)
        ]
        self._partial = [generator.create_accumulator() for generator in self._generators]

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a record batch of list columns, as tfx_bsl decodes tf.Examples."""
        self._partial = [
            generator.add_input(accumulator, batch)
            for generator, accumulator in zip(self._generators, self._partial, strict=True)
        ]

    def merge(self, parts: Sequence["Summary"]) -> None:
        """Adds the rows of other summaries with the same options; they may be used again afterwards."""
        # Merging changes accumulators in place; they pickle, because Beam sends them around.
        copies = [pickle.loads(pickle.dumps(part._partial)) for part in parts]
        self._partial = [
            generator.merge_accumulators([mine, *others])
            for generator, mine, *others in zip(self._generators, self._partial, *copies, strict=True)
        ]

    def statistics(self) -> statistics_pb2.DatasetFeatureStatisticsList:
        """A list with one dataset; nothing may be added afterwards.

        Means and deviations may differ from Beam's in the last digits, because sums are taken in another order.
        """
        with equi_width.fast():
            return stats_impl.extract_statistics_output(self._partial, self._generators)


def summarize(
    batches: Iterable[pa.RecordBatch], options: stats_options.StatsOptions
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics that TFDV's Beam pipeline computes for the same rows and options; see `Summary`."""
    summary = Summary(options)
    for batch in batches:
        summary.add(batch)
    return summary.statistics()
