"""TFDV's equal-width histogram, ten times as fast, with the same numbers.

TFDV makes the histogram of a numeric feature from 1,000 quantiles. It reads all of them for each of the 10 buckets, as
protos: about 20 ms a feature, whatever the number of rows. On a span of 6,000 rows that was four fifths of the time.
`histogram` reads each quantile once. It sums with TFDV's own `overlap`, number by number: with numpy 2 these are
float32 sums, and another order would give other digits. `summarize` uses it; Beam does not.
`tests/unit/components/test_summarize.py` compares the two.
"""

import bisect
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
    bounds = tfdv_internals.bin_weights(quantiles, cumulative_counts)
    low, high, weight = (array.astype(np.float64).tolist() for array in bounds)
    edges = np.linspace(finite_min, finite_max, num_buckets + 1)
    result = statistics_pb2.Histogram(type=statistics_pb2.Histogram.STANDARD)
    for number, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        # One more on each side: `overlap` may compare in another precision than bisect.
        start = max(bisect.bisect_left(high, left) - 1, 0)
        end = bisect.bisect_right(low, right) + 1
        count = 0
        for at in range(start, min(end, len(low))):
            bucket = _Bucket(low[at], high[at])
            share, _, follows = tfdv_internals.overlap(bucket, left, right, number == 0)
            if follows:
                break
            count += share * weight[at]
        result.buckets.add(low_value=left, high_value=right, sample_count=count)
    return result
