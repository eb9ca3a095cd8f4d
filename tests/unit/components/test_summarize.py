"""Statistics of batches in one process are TFDV's own."""

import flight_events as flights
import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.components.internals import tfdv as tfdv_internals
from noria.components.statistics_gen import equi_width, exact_counts, many_columns
from noria.components.statistics_gen.summarize import Summary, summarize
from noria.schemas.list_columns import as_lists, list_batches


def test_histogram_is_tfdvs():
    """The faster version gives the same proto, byte for byte, for spread, repeated, integer and huge values."""
    generator = np.random.default_rng(7)
    samples = {
        "normal": generator.normal(size=5000),
        "mostly zero": np.where(generator.random(5000) < 0.9, 0.0, generator.exponential(size=5000)),
        "integers": generator.integers(0, 12, 5000).astype(float),
        "huge": generator.normal(size=5000) * 1e300,
        "two": np.repeat([1.0, 2.0], 500),
        "constant": np.full(50, 3.0),
        "one": np.array([4.0]),
        "infinite": np.r_[generator.normal(size=100), np.inf, -np.inf],
    }
    for values in samples.values():
        values = np.sort(values)
        finite = values[np.isfinite(values)]
        quantiles = np.quantile(values, np.linspace(0, 1, 1001), method="lower")
        counts = np.searchsorted(values, quantiles, side="right").astype(float)
        for kind in (np.float64, np.float32):
            if np.abs(finite).max() > np.finfo(kind).max:
                continue
            ends = finite[[0, -1]].astype(kind)
            arguments = (quantiles.astype(kind), counts, *ends, 10, float(np.isposinf(values).sum()))
            expected = quantiles_util.generate_equi_width_histogram(*arguments)
            assert expected == equi_width.histogram(*arguments)


def name_of(feature) -> str:
    return feature.path.step[0]


def test_counts_are_exact():
    """More distinct values than TFDV's sketch has entries: all are counted, of equal counts the larger first."""
    table = flights.table().slice(0, 12_000)
    features = {
        name_of(found): found
        for found in summarize(list_batches(table), tfdv.StatsOptions()).datasets[0].features
    }
    stats = features["tailnum"].string_stats
    counts = table["tailnum"].to_pandas().value_counts()
    expected = sorted(counts.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:1000]
    assert expected == [(bucket.label, bucket.sample_count) for bucket in stats.rank_histogram.buckets]
    assert len(counts) == stats.unique > 1024


def test_statistics_are_tfdvs():
    """12,000 flights in two slices give what TFDV's own function gives for one batch, except for the last digit."""
    table = flights.table().slice(0, 12_000)
    whole = pa.Table.from_batches(list(list_batches(table))).combine_chunks().to_batches()[0]
    expected = stats_impl.generate_statistics_in_memory(whole, tfdv.StatsOptions()).datasets[0]
    actual = summarize(list_batches(table), tfdv.StatsOptions()).datasets[0]
    for left, right in zip(expected.features, actual.features, strict=True):
        if left.WhichOneof("stats") == "num_stats":
            for name in ("mean", "std_dev"):
                assert getattr(left.num_stats, name) == pytest.approx(
                    getattr(right.num_stats, name), rel=1e-12
                )
                left.num_stats.ClearField(name)
                right.num_stats.ClearField(name)
            # Sketches of two slices and of one differ within their stated error.
            for side in (left, right):
                side.num_stats.ClearField("histograms")
                side.num_stats.ClearField("median")
        if name_of(left) == "tailnum":
            continue  # 1,024 of its values are all that TFDV's sketch counts in memory; Beam counts all, as we do
        assert left == right


def test_merged_parts_are_the_whole():
    """Two parts, merged twice, give each time what all rows in one go give; copies leave the parts as they are."""
    batches = list(list_batches(flights.table().slice(0, 20_000)))
    parts = [Summary(tfdv.StatsOptions()) for _ in batches]
    for part, batch in zip(parts, batches, strict=True):
        part.add(batch)
    expected = summarize(batches, tfdv.StatsOptions())
    for _ in range(2):
        whole = Summary(tfdv.StatsOptions())
        whole.merge([part.copy() for part in parts])
        merged = whole.statistics()
        for side in (expected, merged):
            for feature in side.datasets[0].features:
                if feature.WhichOneof("stats") == "num_stats":
                    stats = feature.num_stats
                    stats.mean, stats.std_dev = round(stats.mean, 9), round(stats.std_dev, 9)
        assert expected == merged


def many(rows: int, seed: int) -> pa.RecordBatch:
    """Columns of numbers of every kind, more than TFDV's own code is used for; two have no number in some rows."""
    random = np.random.default_rng(seed)
    kinds = {
        "normal": lambda: random.normal(size=rows),
        "rounded": lambda: random.normal(size=rows).round(1),
        "mostly zero": lambda: np.where(random.random(rows) < 0.9, 0, random.exponential(size=rows)),
        "huge": lambda: random.normal(size=rows) * 1e30,
        "whole": lambda: random.integers(-5, 1000, rows),
        "large": lambda: random.integers(1 << 60, 1 << 62, rows),
        "two": lambda: random.integers(0, 2, rows),
        "class": lambda: random.integers(0, 3, rows),
        "constant": lambda: np.full(rows, 3.5),
        "infinite": lambda: np.where(random.random(rows) < 0.01, np.inf, random.normal(size=rows)),
        "gaps": lambda: np.where(random.random(rows) < 0.5, np.nan, random.normal(size=rows)),
        "nothing": lambda: np.full(rows, np.nan),
        "text": lambda: random.choice(["a", "b"], rows),
    }
    flat = {f"{name} {i}": make() for i in range(5) for name, make in kinds.items()}
    return as_lists(pa.RecordBatch.from_pydict(flat))


@pytest.mark.parametrize("rows", [[1], [2], [700], [3000, 1, 200]])
def test_many_columns_are_tfdvs(rows):
    """Statistics of many columns together are those that TFDV's generator makes one by one, byte for byte."""
    schema = schema_pb2.Schema()
    for i in range(5):
        schema.feature.add(name=f"class {i}", type=schema_pb2.INT).int_domain.is_categorical = True
    options = tfdv.StatsOptions(schema=schema, num_quantiles_histogram_buckets=20)
    [theirs] = filter(tfdv_internals.is_basic, tfdv_internals.combiners(options))
    [given] = filter(tfdv_internals.is_basic, tfdv_internals.combiners(options))
    ours = many_columns.ManyColumns(given)
    batches = [many(count, seed) for seed, count in enumerate(rows)]
    found = []
    for generator in (theirs, ours):
        parts = []
        for batch in batches:
            parts.append(generator.add_input(generator.create_accumulator(), batch))
        first = generator.add_input(parts.pop(0), batches[-1])
        whole = generator.merge_accumulators([first, *parts])
        with tfdv_internals.replaced_histogram(equi_width.histogram):
            found.append(generator.extract_output(generator.compact(whole)))
    assert [name_of(feature) for feature in found[0].features] == [
        name_of(feature) for feature in found[1].features
    ]
    for expected, actual in zip(found[0].features, found[1].features, strict=True):
        assert expected.SerializeToString(deterministic=True) == actual.SerializeToString(
            deterministic=True
        ), name_of(expected)
    assert found[0].num_examples == found[1].num_examples == sum(rows) + rows[-1]


def test_what_only_beam_does_is_refused():
    """Sampling is refused as not covered, and not ignored."""
    with pytest.raises(ValueError, match="do not cover sample_rate"):
        summarize([], tfdv.StatsOptions(sample_rate=0.5))


def test_a_distinct_value_costs_its_bytes_and_twelve_more():
    """200,000 strings of 20 bytes: 32 bytes each once they are added up.

    Counted in the buffers that the counter holds: Arrow's pool is the process's, and its threads give back what they
    added up some moments later.
    """
    counts = exact_counts.ValueCounter(100)
    for start in range(0, 200_000, 10_000):
        counts.add(pa.array([b"%020d" % i for i in range(start, start + 10_000)]))
    assert 200_000 == counts.distinct
    held = sum(part.get_total_buffer_size() for part in counts._parts)
    assert 32 == round(held / 200_000, 2)
