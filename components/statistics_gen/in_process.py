"""TFDV's statistics of TFRecord files without Beam, and of the same files with it.

The equality test beside this module (`tests/unit/components/test_statistics_gen.py`) compares the two field by
field; a new TFX release that changes either breaks that test and not a user.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.coders import example_coder
from tfx_bsl.public import tfxio

from noria.components.statistics_gen.facts import FactsGenerator
from noria.schemas.summarize import BATCH_ROWS, summarize

# Buckets of the quantile histogram. TFDV's default of 10 cannot tell a sensor that is stuck for a fifth of the rows;
# 20 buckets of five percent each can. TFDV's cost grows with it: 50 buckets would double the time of a small span.
QUANTILES = 20


def options(schema: schema_pb2.Schema, label: str, task: str, time: str = "") -> tfdv.StatsOptions:
    """TFDV's options: aware of the schema (categorical integers), with DataGate's own facts.

    Args:
      schema: the curated schema.
      label: name of the label column.
      task: `binary`, `multiclass` or `regression`; only a 0/1 label is summed up by category.
      time: name of the event-time column, which is no feature; empty for none.
    """
    facts = FactsGenerator(schema, label if task == "binary" else "", {time})
    return tfdv.StatsOptions(
        schema=schema,
        generators=[facts],
        num_quantiles_histogram_buckets=QUANTILES,
        desired_batch_size=BATCH_ROWS,
    )


def read(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """Decodes gzip TFRecord files of tf.Examples in slices of 10,000 rows, with types taken from the data."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    names = [str(path) for path in files]
    if not names:
        return
    for batch in (
        tf.data.TFRecordDataset(names, compression_type="GZIP").batch(BATCH_ROWS).as_numpy_iterator()
    ):
        yield decoder.DecodeBatch(batch.tolist())


def in_process(
    files: Sequence[Path], stats_options: tfdv.StatsOptions
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics here and now; memory is bounded by one slice and the distinct strings."""
    return summarize(read(files), stats_options)


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
