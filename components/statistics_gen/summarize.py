"""TFDV's statistics of a stream of batches, in one process and without Beam.

The combiners are those that TFDV's `generate_statistics_in_memory` uses for one batch; here they get batch after batch.
Memory is bounded by the batch and by the combiners' accumulators: sketches, and counters of distinct strings
(`exact_counts` says what a string costs).
"""

import copy
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.internals import tfdv as tfdv_internals
from noria.components.statistics_gen.equi_width import histogram
from noria.components.statistics_gen.exact_counts import ValueCounter
from noria.components.statistics_gen.many_columns import ManyColumns


class Summary:
    """Statistics of the rows so far, as the accumulators of TFDV's combiners.

    Args:
      options: TFDV's options; slices, sampling and allow-lists are not covered.

    Raises:
      ValueError: `options` has a setting that only the Beam path supports.
    """

    def __init__(self, options: tfdv.StatsOptions):
        refused = tfdv_internals.beam_only(options)
        if refused:
            raise ValueError(
                f"statistics in one process do not cover {', '.join(refused)}; use the Beam path"
            )
        self._generators = [_replaced(generator, options) for generator in tfdv_internals.combiners(options)]
        self._partial = [generator.create_accumulator() for generator in self._generators]

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a record batch of list columns, as tfx_bsl decodes tf.Examples."""
        self._partial = [
            generator.add_input(accumulator, batch)
            for generator, accumulator in zip(self._generators, self._partial, strict=True)
        ]

    def copy(self) -> "Summary":
        """Another summary of the same rows."""
        result = copy.copy(self)
        # By pickle, as Beam sends accumulators to workers in this way.
        result._partial = pickle.loads(pickle.dumps(self._partial))
        return result

    def merge(self, parts: Sequence["Summary"]) -> None:
        """Adds the rows of other summaries with the same options. They are used up: merging changes accumulators."""
        self._partial = [
            generator.merge_accumulators([mine, *others])
            for generator, mine, *others in zip(
                self._generators, self._partial, *(part._partial for part in parts), strict=True
            )
        ]

    def statistics(self) -> statistics_pb2.DatasetFeatureStatisticsList:
        """A list with one dataset. Call it last: no rows may be added after it.

        Means and deviations may differ from Beam's in the last digits, because sums are computed in another order.
        """
        with tfdv_internals.replaced_histogram(histogram):
            return tfdv_internals.extract(self._partial, self._generators)


def _replaced(generator: Any, options: tfdv.StatsOptions) -> Any:
    """TFDV's combiner, or Noria's for the same statistics."""
    if tfdv_internals.is_sketch(generator):
        return tfdv_internals.ExactTopKUniques(options, ValueCounter)
    return ManyColumns(generator) if tfdv_internals.is_basic(generator) else generator


def summarize(
    batches: Iterable[pa.RecordBatch], options: tfdv.StatsOptions
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics that TFDV's Beam pipeline computes for the same rows and options; see `Summary`."""
    summary = Summary(options)
    for batch in batches:
        summary.add(batch)
    return summary.statistics()
