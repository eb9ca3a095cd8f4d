"""The first draft of a schema, inferred by TFDV from a table. A person reads and corrects it."""

import math
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components.statistics_gen.summarize import summarize
from noria.core.errors import DataError
from noria.schemas.environments import SERVING, TRAINING
from noria.schemas.list_columns import list_batches

# A string column with more distinct values than this is open-ended: names, ids, free text. A domain would have
# to change with every span.
MAX_DOMAIN = 100
# Parts of a table in which a column's presence is looked at, and rows of a part at least.
PARTS, PART_ROWS = 10, 50
# Share of a column's values that must be in its domain: new values appear in the world, a renamed one is an error.
MIN_DOMAIN_MASS = 0.95
# Over the 53 weeks of the flights of 2013, week on week, airlines, airports and hours stay below 0.03; the threshold is
# three times that.
LINF = 0.1
# The same weeks: distance stays below 0.01, plane age below 0.06, seats below 0.13; the medians of weather are 0.08
# to 0.38.
JENSEN_SHANNON = 0.2


def infer(
    data: pa.Table | Iterable[pa.RecordBatch],
    label: str,
    time: str | None = None,
    key: Sequence[str] = (),
) -> schema_pb2.Schema:
    """Infers a draft: types, presence, domains, ranges, comparators and environments.

    Args:
      data: a table of `n` rows with flat columns, or record batches of the same columns.
      label: the label column: expected in the environment TRAINING, not in SERVING.
      time: the event-time column, if there is one; it only grows, so it gets no range and no comparator.
      key: columns that identify a row; they get no domain and no comparator.

    Raises:
      DataError: there is no row, or one of the named columns is missing.
    """
    known: list[pa.RecordBatch] = []
    statistics = summarize(_noting_known(list_batches(data), known), tfdv.StatsOptions())
    dataset = statistics.datasets[0] if statistics.datasets else statistics_pb2.DatasetFeatureStatistics()
    rows = int(dataset.num_examples)
    if not rows:
        raise DataError(
            "a schema cannot be inferred from no rows", next_step="give a file that holds at least one row"
        )
    present = _least_presence(pa.Table.from_batches(known))
    by_name = {feature.path.step[0]: feature for feature in dataset.features}
    for name in (label, *([time] if time else []), *key):
        if name not in by_name:
            raise DataError(
                f"there is no column {name!r}",
                where=f"columns: {', '.join(sorted(by_name))}",
                next_step="name one of these columns, or correct the file's header",
            )
    schema = tfdv.infer_schema(statistics, infer_feature_shape=False, max_string_domain_size=MAX_DOMAIN)
    schema.default_environment[:] = [TRAINING, SERVING]
    for feature in schema.feature:
        found = by_name[feature.name]
        apart = {time, *key}
        _presence(feature, present[feature.name])
        if feature.name == label:
            feature.not_in_environment.append(SERVING)
            feature.presence.Clear()
            feature.presence.min_count = 1
            if feature.type == schema_pb2.INT:
                _label_domain(feature, found)
        elif feature.name in apart:
            _open(feature)
        elif feature.type == schema_pb2.BYTES:
            _categorical(feature, found, rows)
        else:
            _numeric(feature, found)
    used = {feature.domain for feature in schema.feature if feature.domain}
    for domain in [domain for domain in schema.string_domain if domain.name not in used]:
        schema.string_domain.remove(domain)
    return schema


def _noting_known(batches: Iterable[pa.RecordBatch], known: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches one by one, while `known` gets a batch of booleans for each: whether there is a value."""
    for batch in batches:
        known.append(
            pa.RecordBatch.from_arrays([column.is_valid() for column in batch.columns], batch.schema.names)
        )
        yield batch


def _least_presence(table: pa.Table) -> dict[str, float]:
    """By column, the share of rows with a value in the part of the table that has the fewest.

    A column may begin or end with time: what a whole table has, some of its spans may lack.

    Args:
      table: whether there is a value, by column.
    """
    length = -(-len(table) // max(1, min(PARTS, len(table) // PART_ROWS)))
    parts = [table.slice(start, length) for start in range(0, len(table), length)]
    return {
        name: min(pc.sum(part.column(name)).as_py() / len(part) for part in parts)
        for name in table.column_names
    }


def _presence(feature: schema_pb2.Feature, share: float) -> None:
    """Asks for nine tenths of the presence seen, or half of it where values are rare anyway.

    A schema finds what is certainly broken; the drift measures count missing values as one bin and find
    smaller changes.
    """
    asked = share * (0.9 if share >= 0.5 else 0.5)
    feature.ClearField("presence")
    # What is there in less than two rows of a hundred may be missing from a whole span.
    if (fraction := math.floor(asked * 100) / 100) > 0:
        feature.presence.min_count = 1
        feature.presence.min_fraction = fraction


def _categorical(
    feature: schema_pb2.Feature,
    found: statistics_pb2.FeatureNameStatistics,
    rows: int,
) -> None:
    unique = found.string_stats.unique
    if not feature.domain or unique > max(2, rows / 5):
        _open(feature)
        return
    feature.distribution_constraints.min_domain_mass = MIN_DOMAIN_MASS
    feature.drift_comparator.infinity_norm.threshold = LINF
    feature.skew_comparator.infinity_norm.threshold = LINF


def _numeric(feature: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics) -> None:
    low, high = found.num_stats.min, found.num_stats.max
    feature.drift_comparator.jensen_shannon_divergence.threshold = JENSEN_SHANNON
    feature.skew_comparator.jensen_shannon_divergence.threshold = JENSEN_SHANNON
    if feature.type == schema_pb2.INT and (low, high) == (0, 1):
        feature.int_domain.min, feature.int_domain.max = 0, 1
        return
    # The range seen and as much again to either side, or the largest value as much where that is more, as it is for a
    # narrow range far from 0: wide enough for the seasons a sample has not seen, tight enough for a changed unit or a
    # sentinel like -999999. DataGate lets single outliers pass.
    width = max(high - low, abs(high), 1.0)
    if not math.isfinite(width):
        return
    if feature.type == schema_pb2.INT:
        feature.int_domain.min, feature.int_domain.max = math.floor(low - width), math.ceil(high + width)
    else:
        feature.float_domain.min, feature.float_domain.max = _round(low - width), _round(high + width)


def _label_domain(feature: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics) -> None:
    """Class indices run from 0 to the largest seen, at least to 1."""
    if found.num_stats.min >= 0 and found.num_stats.max <= MAX_DOMAIN:
        feature.int_domain.min, feature.int_domain.max = 0, max(1, int(found.num_stats.max))


def _open(feature: schema_pb2.Feature) -> None:
    for field in ("domain", "int_domain", "float_domain", "distribution_constraints"):
        feature.ClearField(field)


def _round(value: float) -> float:
    """Three significant digits: so that nobody takes the range for a measurement."""
    return float(f"{value:.3g}")
