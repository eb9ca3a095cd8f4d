"""TFDV's statistics of TFRecord files without Beam, and of the same files with it.

`tests/unit/components/test_statistics_gen.py` compares the two field by field.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.public import tfxio

from noria.components import batch_cache
from noria.components.gate_statistics import GateStatisticsGenerator
from noria.components.internals.tfx_bsl import ExamplesToRecordBatchDecoder
from noria.components.row_statistics import RowStatisticsGenerator
from noria.components.statistics_gen.summarize import Summary
from noria.schemas.list_columns import BATCH_ROWS

# Buckets of the quantile histogram. With TFDV's default of 10 a sensor that is stuck for a fifth of the rows does not
# show; with 20 buckets of five percent it does. TFDV's cost grows with it: 50 buckets would double the time of a small
# span.
QUANTILES = 20


def options(schema: schema_pb2.Schema, label: str, task: str, time: str = "") -> tfdv.StatsOptions:
    """TFDV's options: with the schema (categorical integers), and with the DataGate's statistics.

    Args:
      schema: the curated schema.
      label: name of the label column.
      task: `binary`, `multiclass` or `regression`; the rows of each class are counted where there are classes.
      time: name of the event-time column, which is not a feature; empty for none.
    """
    gate = GateStatisticsGenerator(
        schema,
        label,
        {time},
        classes="" if task == "regression" else label,
    )
    return tfdv.StatsOptions(
        schema=schema,
        generators=[gate, RowStatisticsGenerator(schema, label, time)],
        num_quantiles_histogram_buckets=QUANTILES,
        desired_batch_size=BATCH_ROWS,
    )


def read(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """The rows of gzip TFRecord files of tf.Examples in slices of at most 10,000, with types taken from the data.

    Rows in the batch cache are not read again.
    """
    for path in files:
        yield from batch_cache.examples.get_or_read(path, BATCH_ROWS, _as_decoded, partial(_decoded, path))


def _decoded(path: Path) -> Iterator[pa.RecordBatch]:
    decoder = ExamplesToRecordBatchDecoder()
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    for batch in records.batch(BATCH_ROWS).as_numpy_iterator():
        yield decoder.DecodeBatch(batch)


def _as_decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """As the decoder returns them: columns sorted by name, and of type null if no row has a value."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, column in columns.items():
        if column.null_count == batch.num_rows:
            columns[name] = pa.nulls(batch.num_rows)
    return pa.RecordBatch.from_arrays([columns[name] for name in sorted(columns)], sorted(columns))


def in_process(
    splits: Mapping[str, Sequence[Path]], stats_options: tfdv.StatsOptions
) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Computes the statistics of each split in this process; a file of several splits is read once.

    Memory is bounded by one slice, and by the distinct strings of each set of files with the same splits.
    """
    parts: dict[tuple[str, ...], list[Path]] = {}
    for path in dict.fromkeys(path for files in splits.values() for path in files):
        owners = tuple(name for name, files in splits.items() if path in files)
        parts.setdefault(owners, []).append(path)
    summaries = {}
    for owners, files in parts.items():
        summaries[owners] = Summary(stats_options)
        for batch in read(files):
            summaries[owners].add(batch)
    found = {}
    for name in splits:
        # A copy costs as much as reading many rows; the last owner needs none.
        mine = [
            summaries.pop(owners) if name == owners[-1] else summaries[owners].copy()
            for owners in parts
            if name in owners
        ]
        whole = mine.pop(0) if mine else Summary(stats_options)
        if mine:
            whole.merge(mine)
        found[name] = whole.statistics()
        del whole, mine  # their memory is free before the next split takes its own
    return found


def attach(
    pipeline: beam.Pipeline, name: str, files: Sequence[Path], stats_options: tfdv.StatsOptions, out: Path
) -> None:
    """Adds TFDV's own Beam pipeline for the files, which writes the statistics to `out`."""
    source = tfxio.TFExampleRecord(
        file_pattern=[str(path) for path in files], telemetry_descriptors=["StatisticsGen"]
    )
    (
        pipeline
        | f"Read[{name}]" >> source.BeamSource(batch_size=1000)
        | f"Statistics[{name}]" >> tfdv.GenerateStatistics(stats_options)
        | f"Write[{name}]" >> tfdv.WriteStatisticsToBinaryFile(str(out))
    )
