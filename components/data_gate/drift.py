"""How far two distributions of one feature lie apart: plain maths on TFDV's statistics protos.

Four measures, all of a current distribution P against a reference Q over the same bins b:

- `linf`, L-infinity: max_b |P(b) - Q(b)|, 0 to 1. Categorical features only. Taken from TFDV's own comparator (which
  gives 0 without a word on a numeric feature; see `noria.components.data_gate.anomalies`).
- `js`, Jensen-Shannon divergence, base 2: KL2(P‖M)/2 + KL2(Q‖M)/2 with M = (P+Q)/2, 0 to 1 (J. Lin, Divergence
  measures based on the Shannon entropy, 1991). Taken from TFDV's own comparator.
- `kl`, Kullback-Leibler divergence, in nats: sum_b P(b) ln(P(b)/Q(b)), 0 to infinity (S. Kullback and R. Leibler,
  On information and sufficiency, 1951).
- `psi`, population stability index: sum_b (P(b) - Q(b)) ln(P(b)/Q(b)) = KL(P‖Q) + KL(Q‖P), 0 to infinity (N. Siddiqi,
  Credit Risk Scorecards, 2006, chapter 8; there: below 0.1 little, above 0.25 a major shift).

TFDV has neither KL nor PSI; here they come from its histograms. Bins:

- numeric: the deciles of the reference, read from its quantile histogram. The outer bins are open. A value that alone
  holds two tenths of the reference (no rain: 0) is a bin of its own. The current side's mass comes from its own
  quantile histogram, each bucket taken as uniform, a bucket of one value as a point.
- categorical: the reference's 20 most frequent values, one bin each, and `other`.
- both: rows without a value are the bin `missing`.

Smoothing: half a row is added to each bin of each side (Jeffreys' prior), so that an empty bin costs a finite amount
that shrinks with the number of rows.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

NUMERIC_BINS = 10
CATEGORICAL_BINS = 20
PRIOR = 0.5

FeatureStatistics = statistics_pb2.FeatureNameStatistics


@dataclasses.dataclass(frozen=True)
class Binned:
    """Two distributions over the same bins.

    Attributes:
      current: rows in each bin, `[bins]`.
      reference: rows in each bin of the reference, `[bins]`.
      names: what each bin holds, `[bins]`.
      rule: how the bins were made, for the report.
    """

    current: np.ndarray
    reference: np.ndarray
    names: tuple[str, ...]
    rule: str

    def largest(self, count: int = 3) -> str:
        """The bins that moved most, as text: `missing 2% → 55%`."""
        p, q = self.current / max(self.current.sum(), 1), self.reference / max(self.reference.sum(), 1)
        order = np.argsort(-np.abs(p - q), kind="stable")[:count]
        return ", ".join(f"{self.names[i]} {q[i]:.1%} → {p[i]:.1%}" for i in order)


def kl(current: Sequence[float], reference: Sequence[float]) -> float:
    """Kullback-Leibler divergence of counts over the same bins, in nats, smoothed as the module says.

    >>> kl([50, 50], [50, 50])
    0.0
    >>> round(kl([90, 10], [50, 50]), 4)
    0.3594
    """
    p, q = _shares(current), _shares(reference)
    return float(np.sum(p * np.log(p / q)))


def psi(current: Sequence[float], reference: Sequence[float]) -> float:
    """Population stability index of counts over the same bins, smoothed as the module says.

    >>> psi([50, 50], [50, 50])
    0.0
    >>> round(psi([90, 10], [50, 50]), 4)
    0.8531
    """
    p, q = _shares(current), _shares(reference)
    return float(np.sum((p - q) * np.log(p / q)))


def noise(current_rows: float, reference_rows: float, bins: int) -> float:
    """PSI that two samples of one distribution reach by chance once in a thousand times.

    PSI / (1/n + 1/m) is about chi-squared with bins-1 degrees of freedom (B. Yurdakul, Statistical Properties of
    Population Stability Index, 2018); its quantile by Wilson and Hilferty's approximation (1931).

    >>> round(noise(6000, 6000, 11), 4)
    0.0099
    >>> round(noise(100, 100, 11), 2)
    0.6
    """
    degrees = max(bins - 1, 1)
    part = 2 / (9 * degrees)
    quantile = degrees * (1 - part + 3.09 * math.sqrt(part)) ** 3
    return quantile * (1 / max(current_rows, 1) + 1 / max(reference_rows, 1))


def binned(current: FeatureStatistics, reference: FeatureStatistics) -> Binned | None:
    """Puts both sides into the reference's bins.

    Returns:
      None where the two are of different kinds, or one of them holds no value at all.
    """
    kind = reference.WhichOneof("stats")
    if kind is None or kind != current.WhichOneof("stats"):
        return None
    if not _common(current).num_non_missing or not _common(reference).num_non_missing:
        return None
    if kind == "num_stats":
        return _numeric(current, reference)
    if kind == "string_stats":
        return _categorical(current, reference)
    return None


@dataclasses.dataclass(frozen=True)
class Buckets:
    """A numeric distribution as buckets: uniform between `low` and `high`, or a point where they are equal.

    Attributes:
      low, high: `[buckets]`.
      mass: rows, `[buckets]`.
    """

    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray

    def point_share(self) -> tuple[float, float]:
        """The value that fills most single-value buckets, and its share of the rows (0 if there is none)."""
        at = self.low[self.low == self.high]
        if not at.size:
            return 0.0, 0.0
        values, where = np.unique(at, return_inverse=True)
        shares = np.bincount(where, weights=self.mass[self.low == self.high]) / self.mass.sum()
        best = int(np.argmax(shares))
        return float(values[best]), float(shares[best])

    def below(self, edge: float) -> float:
        """Rows strictly below `edge`."""
        width = self.high - self.low
        part = np.where(
            width > 0,
            np.clip((edge - self.low) / np.where(width > 0, width, 1.0), 0, 1),
            (self.low < edge).astype(float),
        )
        return float((part * self.mass).sum())

    def at(self, value: float) -> float:
        """Rows in single-value buckets at `value`."""
        return float(self.mass[(self.low == value) & (self.high == value)].sum())


def buckets(feature: FeatureStatistics) -> Buckets:
    """A numeric feature's quantile histogram; scaled so that its mass is the rows with a value."""
    kind = statistics_pb2.Histogram.QUANTILES
    histogram = next(found for found in feature.num_stats.histograms if found.type == kind)
    # TFDV gives infinities as the outer edges where the data holds them; min and max are the finite ones.
    low = np.array([bucket.low_value for bucket in histogram.buckets], float)
    high = np.array([bucket.high_value for bucket in histogram.buckets], float)
    mass = np.array([bucket.sample_count for bucket in histogram.buckets], float)
    return Buckets(low, high, mass * (_common(feature).num_non_missing / max(mass.sum(), 1e-9)))


def _numeric(current: FeatureStatistics, reference: FeatureStatistics) -> Binned:
    old, new = buckets(reference), buckets(current)
    edges = np.concatenate([old.low, old.high[-1:]])
    deciles = edges[:: max(1, len(old.mass) // NUMERIC_BINS)]
    points = {float(edge) for edge in deciles if np.count_nonzero(deciles == edge) > 1}
    cuts = sorted({float(edge) for edge in np.unique(deciles)[1:-1]} | points)
    names: list[str] = []
    for start, end in zip([None, *cuts], [*cuts, None], strict=True):
        if start is not None and start in points:
            names.append(f"{start:.6g}")
        if start is None:
            names.append("all" if end is None else f"below {end:.6g}")
        else:
            names.append(f"from {start:.6g}" if end is None else f"{start:.6g} to {end:.6g}")
    rule = f"{len(names)} bins at the reference's deciles, and missing"
    return _with_missing(current, reference, _fill(new, cuts, points), _fill(old, cuts, points), names, rule)


def _fill(side: Buckets, cuts: list[float], points: set[float]) -> list[float]:
    """Rows of one side in each bin: [start, end), or the point `start` and then the rest of [start, end)."""
    counts = []
    for start, end in zip([None, *cuts], [*cuts, None], strict=True):
        before = 0.0 if start is None else side.below(start)
        inside = (side.mass.sum() if end is None else side.below(end)) - before
        if start is not None and start in points:
            counts.append(side.at(start))
            inside -= counts[-1]
        counts.append(inside)
    return counts


def _categorical(current: FeatureStatistics, reference: FeatureStatistics) -> Binned:
    old, new = _counts(reference), _counts(current)
    top = sorted(old, key=lambda value: (-old[value], value))[:CATEGORICAL_BINS]
    left = [old[value] for value in top] + [_common(reference).num_non_missing - sum(old[v] for v in top)]
    right = [new.get(value, 0.0) for value in top]
    right.append(_common(current).num_non_missing - sum(right))
    rule = f"the reference's {len(top)} most frequent values, other, and missing"
    return _with_missing(current, reference, right, left, [*top, "other"], rule)


def _with_missing(
    current: FeatureStatistics,
    reference: FeatureStatistics,
    right: list[float],
    left: list[float],
    names: list[str],
    rule: str,
) -> Binned:
    return Binned(
        np.maximum(np.array([*right, _common(current).num_missing], float), 0.0),
        np.maximum(np.array([*left, _common(reference).num_missing], float), 0.0),
        (*names, "missing"),
        rule,
    )


def _counts(feature: FeatureStatistics) -> dict[str, float]:
    return {bucket.label: bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets}


def _common(feature: FeatureStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _shares(counts: Sequence[float]) -> np.ndarray:
    values = np.asarray(counts, float) + PRIOR
    return values / values.sum()
