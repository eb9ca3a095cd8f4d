"""A span's features beside their references, on common bins, from TFDV's statistics protos.

TFDV keeps two histograms of a numeric feature, one of equal widths and one of quantiles, and their edges
differ from span to span. The edges of both are points of the same distribution function, so both together
give a finer one; it is read off at common edges for all series. Between two points it is taken as linear.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

BINS = 24
CATEGORIES = 8
SERIES = ("span", "previous", "champion")


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature in up to three series (`span`, `previous`, `champion`; absent ones are omitted).

    Attributes:
      name: the feature's name.
      kind: 'numeric', 'categorical' or 'other' (no histogram: structs, raw bytes, or no values at all).
      shares: series -> share of the present values in each bin, each list sums to 1.
      edges: numeric: [bins + 1] edges; values outside count in the first and last bin.
      labels: categorical: one label per bin; the last may be `OTHER`.
      summary: series -> {missing: share, mean, std_dev, unique} as far as TFDV has them.
      clipped: numeric: whether values are outside of the edges (below, above).
    """

    name: str
    kind: str
    shares: dict[str, list[float]]
    summary: dict[str, dict[str, float]]
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    clipped: tuple[bool, bool] = (False, False)


OTHER = "all others"


def compare(
    statistics: dict[str, bytes | None], first: Sequence[str] = (), most: int | None = None
) -> tuple[list[Feature], int, list[str]]:
    """Puts the features of all series on common bins.

    Args:
      statistics: series name -> serialized DatasetFeatureStatisticsList, or None.
      first: names of the features that come first.
      most: features at most; None for all.

    Returns:
      The features, after `first` in the order of the first series that has them; how many there are without `most`;
      and a line for each unreadable proto.
    """
    damaged = []
    series: dict[str, dict[str, Any]] = {}
    for name, content in statistics.items():
        if content is None:
            continue
        try:
            series[name] = _read(content)
        except ValueError as error:
            damaged.append(f"statistics of {name}: {error}")
    known = dict.fromkeys(name for features in series.values() for name in features)
    names = list(dict.fromkeys([*(name for name in first if name in known), *known]))
    shown = [_feature(name, {k: v[name] for k, v in series.items() if name in v}) for name in names[:most]]
    return shown, len(names), damaged


def _read(content: bytes) -> dict[str, Any]:
    from google.protobuf.message import DecodeError
    from tensorflow_metadata.proto.v0 import statistics_pb2

    try:
        datasets = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
    except DecodeError as error:
        raise ValueError(f"not a DatasetFeatureStatisticsList ({error})") from error
    # The first dataset is TFDV's default slice, all rows.
    features = datasets[0].features if datasets else []
    return {(feature.name or ".".join(feature.path.step)): feature for feature in features}


def _feature(name: str, series: dict[str, Any]) -> Feature:
    summary = {key: _summary(statistics) for key, statistics in series.items()}
    kinds = {key: statistics.WhichOneof("stats") for key, statistics in series.items()}
    numeric = {k: s for k, s in series.items() if kinds[k] == "num_stats"}
    strings = {k: s for k, s in series.items() if kinds[k] == "string_stats"}
    if strings and len(strings) >= len(numeric):
        return _categorical(name, strings, summary)
    return _numeric(name, numeric, summary)


def _summary(statistics: Any) -> dict[str, float]:
    kind = statistics.WhichOneof("stats")
    common = getattr(statistics, kind).common_stats if kind else None
    summary: dict[str, float] = {}
    if common is not None and (rows := common.num_missing + common.num_non_missing):
        summary["missing"] = common.num_missing / rows
    if kind == "num_stats" and common is not None and common.num_non_missing:
        summary["mean"] = statistics.num_stats.mean
        summary["std_dev"] = statistics.num_stats.std_dev
    if kind == "string_stats":
        summary["unique"] = statistics.string_stats.unique
    return summary


def _categorical(name: str, series: dict[str, Any], summary: dict[str, dict[str, float]]) -> Feature:
    counts = {
        key: {bucket.label: bucket.sample_count for bucket in s.string_stats.rank_histogram.buckets}
        for key, s in series.items()
    }
    # TFDV's rank histogram is cut at the top thousand; the values beyond it count as others.
    totals = {
        key: max(sum(counts[key].values()), float(s.string_stats.common_stats.tot_num_values))
        for key, s in series.items()
    }
    shares = {
        key: {label: n / totals[key] for label, n in count.items()}
        for key, count in counts.items()
        if totals[key]
    }
    if not shares:
        return Feature(name, "other", {}, summary)
    highest: dict[str, float] = {}
    for share in shares.values():
        for label, value in share.items():
            highest[label] = max(value, highest.get(label, 0.0))
    ranked = sorted(highest, key=lambda label: (-highest[label], label))
    # One line of "others" for a single category would say less than the category itself.
    labels = ranked if len(ranked) <= CATEGORIES + 1 else ranked[:CATEGORIES]
    bins = {key: [share.get(label, 0.0) for label in labels] for key, share in shares.items()}
    rest = {key: max(0.0, 1.0 - sum(values)) for key, values in bins.items()}
    if max(rest.values()) > 1e-9:
        labels = [*labels, OTHER]
        bins = {key: [*values, rest[key]] for key, values in bins.items()}
    return Feature(name, "categorical", bins, summary, labels=tuple(labels))


def _numeric(name: str, series: dict[str, Any], summary: dict[str, dict[str, float]]) -> Feature:
    curves = {key: curve for key, s in series.items() if (curve := _curve(s)) is not None}
    if not curves:
        return Feature(name, "other", {}, summary)
    whole = any(s.type == 0 for s in series.values())  # FeatureNameStatistics.INT
    edges, clipped = _edges(list(curves.values()), whole)
    shares = {key: _shares(curve, edges) for key, curve in curves.items()}
    return Feature(name, "numeric", shares, summary, edges=tuple(edges), clipped=clipped)


def _curve(statistics: Any) -> Any | None:
    """The distribution function as two arrays [points]: values in order, and the share at or below each."""
    import numpy as np

    points = []
    for histogram in statistics.num_stats.histograms:
        total = sum(bucket.sample_count for bucket in histogram.buckets)
        below = 0.0
        for bucket in histogram.buckets if total else ():
            points.append((bucket.low_value, below / total))
            below += bucket.sample_count
            points.append((bucket.high_value, below / total))
    points = sorted(point for point in points if np.isfinite(point[0]))
    if not points:
        return None
    values, shares = np.array(points).T
    # Quantiles are sketched (TFDV's error is 1 %), so two points of the two histograms may contradict.
    return values, np.maximum.accumulate(shares)


def _edges(curves: list[Any], whole: bool) -> tuple[list[float], tuple[bool, bool]]:
    """Common edges over all curves; a long tail (over half of the range for 1 % of a series) is cut off."""
    import numpy as np

    low, high = min(c[0][0] for c in curves), max(c[0][-1] for c in curves)
    first = min(float(np.interp(0.005, shares, values)) for values, shares in curves)
    last = max(float(np.interp(0.995, shares, values)) for values, shares in curves)
    start, stop = (first, last) if 0 < last - first < 0.5 * (high - low) else (low, high)
    if whole and stop - start <= 2 * BINS:
        start, stop = np.floor(start), np.ceil(stop)
        step = 1.0 if stop - start <= 1.5 * BINS else 2.0
        edges = np.arange(start - 0.5, stop + 0.5 + step / 2, step)
    elif start == stop:
        edges = np.array([start - 0.5, start + 0.5])
    else:
        edges = np.linspace(start, stop, BINS + 1)
    return [float(e) for e in edges], (bool(low < edges[0]), bool(high > edges[-1]))


def _shares(curve: Any, edges: list[float]) -> list[float]:
    """Share of the values in each bin [bins]; values outside of the edges count in the outer bins."""
    import numpy as np

    values, below = curve
    inner = np.interp(edges[1:-1], values, below)
    return [float(x) for x in np.diff(np.concatenate([[0.0], inner, [1.0]]))]
