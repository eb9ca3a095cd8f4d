"""Analysis and transformation in Beam pipelines, with TFT's public interface.

For analyzers that the in-process path does not have, and for large data on several machines. The component's Beam
arguments choose the runner. Everything that a worker needs pickles: functions of this module by reference, the
preprocessing_fn by its import path.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from tfx_bsl.public import tfxio

from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.internals import tft_graphs
from noria.components.internals.tft import tf, tft
from noria.components.internals.tft_beam import DatasetKey
from noria.components.transform import coverage
from noria.components.transform.analyzer_cache import AnalyzerCache, group_name
from noria.components.transform.example_rows import ANALYZE_ROWS, APPLY_ROWS, reader

import tensorflow_transform.beam as tft_beam  # isort: skip - only after Keras 3 is fixed

MakePipeline = Callable[[], beam.Pipeline]


def analyze(
    make_pipeline: MakePipeline,
    preprocessing_fn: Callable[..., Any],
    schema: Any,
    datasets: Mapping[DatasetKey, Sequence[str]],
    cache: AnalyzerCache,
    output: str,
    temp_dir: str,
) -> None:
    """Analyses the datasets and writes the transform graph to `output`, as stock Transform does.

    Args:
      make_pipeline: starts a pipeline with the component's Beam arguments.
      preprocessing_fn: must pickle.
      schema: of the raw examples.
      datasets: files by dataset.
      cache: accumulators of known datasets are read from it, new ones are written to it.
      output: folder of the transform graph.
      temp_dir: scratch folder that all workers can reach.
    """
    keys = list(datasets)
    io = reader([file for files in datasets.values() for file in files], schema)
    config = io.TensorAdapterConfig()
    specs = tfxio.TensorAdapter(config).OriginalTypeSpecs()
    staging = os.path.join(temp_dir, "analyzer_cache")
    with (
        tft_graphs.fast(),  # the function is traced as in process, so that both paths have the same cache keys
        make_pipeline() as pipeline,
        tft_beam.Context(temp_dir=temp_dir, use_deep_copy_optimization=True),
    ):
        known: Mapping[DatasetKey, Any] = {}
        if cached := cache.undamaged(keys):
            known = pipeline | "ReadCache" >> tft_beam.analyzer_cache.ReadAnalysisCacheFromFS(
                cache.folder, cached
            )
        needed = tft_beam_internals.datasets_to_read(preprocessing_fn, specs, keys, known)
        rows = {
            key: pipeline | f"Read[{i}]" >> reader(datasets[key], schema).BeamSource(ANALYZE_ROWS)
            if key in needed
            else None
            for i, key in enumerate(keys)
        }
        transform_fn, new = (rows, known, config) | "Analyze" >> tft_beam.AnalyzeDatasetWithCache(
            preprocessing_fn, pipeline=pipeline
        )
        raw = tft.DatasetMetadata(schema=schema)
        _ = raw | "WriteRawMetadata" >> tft_beam.WriteMetadata(
            os.path.join(output, tft.TFTransformOutput.RAW_METADATA_DIR), pipeline
        )
        _ = transform_fn | "WriteTransformFn" >> tft_beam.WriteTransformFn(output)
        if new and cache.folder:
            _ = new | "WriteCache" >> tft_beam.analyzer_cache.WriteAnalysisCacheToFS(pipeline, staging, keys)
    if os.path.isdir(staging):
        cache.publish(staging)


def apply(
    make_pipeline: MakePipeline,
    graph: str,
    schema: Any,
    files: Mapping[str, str],
    sizes: Mapping[str, int],
    temp_dir: str,
) -> coverage.Coverage:
    """Transforms files with a written transform graph; the file names are the same as in process.

    Rows remain in the files of their span, but may move between its shards.

    Args:
      make_pipeline: starts a pipeline with the component's Beam arguments.
      graph: folder of the transform graph.
      schema: of the raw examples.
      files: input file to output file.
      sizes: vocabulary size by output feature, to count the rows outside of it.
      temp_dir: scratch folder that all workers can reach.
    """
    counted = os.path.join(temp_dir, "coverage.json")
    with make_pipeline() as pipeline, tft_beam.Context(temp_dir=temp_dir):
        transform_fn = pipeline | "ReadTransformFn" >> tft_beam.ReadTransformFn(graph)
        counts = []
        for i, (prefix, inputs) in enumerate(_groups(files).items()):
            io = reader(inputs, schema)
            rows = pipeline | f"Read[{i}]" >> io.BeamSource(APPLY_ROWS)
            transformed, metadata = (
                (rows, io.TensorAdapterConfig()),
                transform_fn,
            ) | f"Transform[{i}]" >> tft_beam.TransformDataset(output_record_batches=True)
            batches = transformed | f"Batches[{i}]" >> beam.Map(_first)
            counts.append(batches | f"Count[{i}]" >> beam.Map(_count, dict(sizes)))
            sharded = prefix != os.path.join(os.path.dirname(prefix), os.path.basename(files[inputs[0]])[:-3])
            _ = (
                batches
                | f"Encode[{i}]" >> beam.ParDo(_Encode(metadata.schema))
                | f"Write[{i}]"
                >> beam.io.WriteToTFRecord(
                    prefix,
                    file_name_suffix=".gz",
                    num_shards=len(inputs),
                    shard_name_template=None if sharded else "",
                )
            )
        _ = (
            counts
            | "FlattenCounts" >> beam.Flatten(pipeline=pipeline)
            | "AddUp" >> beam.CombineGlobally(_add_up)
            | "KeepCounts" >> beam.Map(_write_counts, counted)
        )
    with tf.io.gfile.GFile(counted) as file:
        return coverage.Coverage(**json.loads(file.read()))


def _groups(files: Mapping[str, str]) -> dict[str, list[str]]:
    """Input files by the prefix of their outputs: the shards of one span belong together."""
    groups: dict[str, list[str]] = {}
    for source, target in files.items():
        prefix = os.path.join(os.path.dirname(target), group_name(target))
        groups.setdefault(prefix, []).append(source)
    return groups


class _Encode(beam.DoFn):
    """Record batches to serialized tf.Examples; the encoder is made once per worker."""

    def __init__(self, schema: Any):
        self._schema = schema.SerializeToString()

    def setup(self) -> None:
        from tensorflow_metadata.proto.v0 import schema_pb2

        schema = schema_pb2.Schema.FromString(self._schema)
        self._encoder = tfxio.RecordBatchToExamplesEncoder(schema)

    def process(self, batch: pa.RecordBatch) -> Iterable[bytes]:
        yield from self._encoder.encode(batch)


def _first(pair: tuple[pa.RecordBatch, Any]) -> pa.RecordBatch:
    return pair[0]


def _count(batch, sizes):  # type: ignore[no-untyped-def] # Beam would check hints, and takes no Mapping
    return coverage.count(batch, sizes)


def _add_up(parts: Iterable[coverage.Coverage]) -> coverage.Coverage:
    return coverage.total(list(parts))


def _write_counts(counts: coverage.Coverage, path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps({"rows": counts.rows, "outside": counts.outside}))
