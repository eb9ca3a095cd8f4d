"""TFDV's equal-width histogram, much faster, with the same numbers.

TFDV makes the histogram of a numeric feature from 1,000 quantiles. It reads all of them for each of the 10 buckets, as
protos: about 20 ms a feature, for any number of rows. On a span of 6,000 rows that was four fifths of the time.
`histogram` reads each quantile once. It sums with TFDV's own `overlap`, number by number: with numpy 2 these are
float32 sums, and another order would give other digits. `summarize` uses it; Beam does not.
`tests/unit/components/test_summarize.py` compares the two.
"""

import bisect
import functools
import itertools
import operator
from collections import namedtuple

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.internals import tfdv as tfdv_internals

_Bucket = namedtuple("_Bucket", ("low_value", "high_value"))


def histogram(
    quantiles: np.ndarray,
    cumulative_counts: np.ndarray,
    finite_min: float,
    finite_max: float,
    num_buckets: int,
    num_pos_inf: float,
) -> statistics_pb2.Histogram:
    """As `tensorflow_data_validation.utils.quantiles_util.generate_equi_width_histogram`.

    Args:
      quantiles: boundaries, ascending, `[n]`.
      cumulative_counts: rows up to each boundary, `[n]`.
      finite_min, finite_max: the ends of the histogram.
      num_buckets: its buckets.
      num_pos_inf: infinite values.
    """
    plain = (
        np.isfinite(finite_min)
        and np.isfinite(finite_max)
        and finite_min < finite_max
        and not num_pos_inf
        and np.isfinite(quantiles).all()
        and np.isfinite(np.linspace(finite_min, finite_max, num_buckets + 1)).all()
    )
    if not plain:  # infinities and constants are rare; TFDV treats them
        return tfdv_internals.equi_width_histogram(
            quantiles, cumulative_counts, finite_min, finite_max, num_buckets, num_pos_inf
        )
    low, high, weight = _bins(quantiles, cumulative_counts)
    edges = np.linspace(finite_min, finite_max, num_buckets + 1)
    result = statistics_pb2.Histogram(type=statistics_pb2.Histogram.STANDARD)
    for number, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        # One more on each side: `overlap` may compare in another precision than bisect.
        start = max(bisect.bisect_left(high, left) - 1, 0)
        end = min(bisect.bisect_right(low, right) + 1, len(low))
        # Nearly all quantiles are within the bucket, and count fully.
        first = min(bisect.bisect_right(low, left) + 1, end)
        last = max(bisect.bisect_right(high, right) - 1, first)
        count = 0.0
        for at in itertools.chain(range(start, first), [None], range(last, end)):
            if at is None:
                count = functools.reduce(operator.add, weight[first:last], count)
                continue
            bucket = _Bucket(low[at], high[at])
            share, _, follows = tfdv_internals.overlap(bucket, left, right, number == 0)
            if follows:
                break
            count += share * weight[at]
        result.buckets.add(low_value=left, high_value=right, sample_count=count)
    return result


def _bins(quantiles: np.ndarray, cumulative_counts: np.ndarray) -> tuple[list[float], ...]:
    """Lower bounds, upper bounds and rows of the bins between quantiles, as TFDV's `_get_bin_weights`.

    Bins with the same upper bound share their rows, and the first one, or all that equal it, gets those of the minimum.
    Counts of rows are whole numbers, whose sum has no order; TFDV treats others.
    """
    cumulative = cumulative_counts.astype(np.float64)
    if not (cumulative == np.floor(cumulative)).all():
        found = tfdv_internals.bin_weights(quantiles, cumulative)
        low, high, weight = (array.astype(np.float64).tolist() for array in found)
        return low, high, weight
    counts = np.diff(cumulative)
    starts = np.concatenate([[0], np.flatnonzero(quantiles[2:] != quantiles[1:-1]) + 1])
    sizes = np.diff(starts, append=len(counts))
    weights = np.repeat(np.add.reduceat(counts, starts) / sizes, sizes)
    first = int((np.logical_and(quantiles[:-1] == quantiles[0], quantiles[1:] == quantiles[1])).argmin())
    first = first or len(weights)
    weights[:first] += cumulative[0] / first
    bounds = quantiles.astype(np.float64).tolist()
    return bounds[:-1], bounds[1:], weights.tolist()
