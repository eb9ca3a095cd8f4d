"""TFDV's equal-width histogram in numpy: the same numbers, 30 times as fast.

TFDV makes the histogram of a numeric feature from 1,000 quantiles, with a Python loop over protos that takes about
20 ms a feature, whatever the number of rows: on a span of 6,000 rows that loop was four fifths of all statistics.
`fast` puts an array version in its place while statistics of one process are extracted. The equality test is in
`tests/unit/schemas/test_summarize.py`; Beam workers never see it.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_metadata.proto.v0 import statistics_pb2

_original = quantiles_util.generate_equi_width_histogram


@contextlib.contextmanager
def fast() -> Iterator[None]:
    """Within this context TFDV's module uses `histogram`; per process."""
    quantiles_util.generate_equi_width_histogram = histogram
    try:
        yield
    finally:
        quantiles_util.generate_equi_width_histogram = _original


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
    if not plain:  # infinities and constants are rare, and TFDV knows how to treat them
        return _original(quantiles, cumulative_counts, finite_min, finite_max, num_buckets, num_pos_inf)
    low, high, weight = quantiles_util._get_bin_weights(quantiles, cumulative_counts)
    low, high = low.astype(np.float64), high.astype(np.float64)
    edges = np.linspace(finite_min, finite_max, num_buckets + 1)
    left, right = edges[:-1, None], edges[1:, None]
    width = np.where(high > low, high - low, 1.0)
    # The cases of TFDV's `_overlap`, the first that holds.
    first = np.arange(num_buckets)[:, None] == 0
    cases = [
        ((low == high) & (low == left), np.where(first, 1.0, 0.0)),
        ((high < left) | (low > right), 0.0),
        ((left <= low) & (right >= high), 1.0),
        (left <= low, (right - low) / width),
        (right >= high, (high - left) / width),
    ]
    shape = (num_buckets, len(low))
    overlap = np.select(
        [np.broadcast_to(condition, shape) for condition, _ in cases],
        [np.broadcast_to(share, shape) for _, share in cases],
        default=np.broadcast_to((right - left) / width, shape),
    )
    # A running sum adds in TFDV's order; numpy's sum would differ in the last digit.
    counts = np.cumsum(overlap * weight, axis=1)[:, -1]
    result = statistics_pb2.Histogram(type=statistics_pb2.Histogram.STANDARD)
    for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True):
        result.buckets.add(low_value=start, high_value=end, sample_count=count)
    return result
