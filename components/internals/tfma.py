"""TFMA: the registration of metrics, and the files that its evaluation writes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

register_metric = metric_types.register_metric


def slice_keys(features: Mapping[str, Any], spec: config_pb2.SlicingSpec) -> list[Any]:
    """The slice keys of a row with these features."""
    single = tfma.slicer.SingleSliceSpec(spec=spec)
    return list(slicer_lib.get_slices_for_features_dicts([], features, [single]))


def write_results(
    sliced: Sequence[tuple[Any, dict[Any, Any]]],
    config: config_pb2.EvalConfig,
    output: Path,
    locations: dict[str, str],
) -> None:
    """Writes what TFMA's pipeline writes: metrics, plots, attributions, validations, config.

    Args:
      sliced: slice keys with their metrics.
      config: updated with defaults; its thresholds give the validations.
      output: folder to write to.
      locations: SavedModel paths by model name, for the record.
    """
    output.mkdir(parents=True, exist_ok=True)

    def parts(key_type: type) -> list[Any]:
        return [evaluator._filter_by_key_type(part, key_type) for part in sliced]

    metrics = parts(tfma.metrics.MetricKey)
    _write(
        output, constants.METRICS_KEY, [writer.convert_slice_metrics_to_proto(part, None) for part in metrics]
    )
    plots = parts(tfma.metrics.PlotKey)
    _write(output, constants.PLOTS_KEY, [writer.convert_slice_plots_to_proto(part, None) for part in plots])
    attributions = parts(metric_types.AttributionsKey)
    protos = [writer.convert_slice_attributions_to_proto(part) for part in attributions]
    _write(output, constants.ATTRIBUTIONS_KEY, protos)
    combine = writer.CombineValidations(config, rubber_stamp=False)
    validation = combine.create_accumulator()
    for part in metrics:
        validation = combine.add_input(validation, metrics_validator.validate_metrics(part, config))
    _write(output, constants.VALIDATIONS_KEY, [combine.extract_output(validation)], shard="")
    name = f"{eval_config_writer.EVAL_CONFIG_FILE}.{eval_config_writer.EVAL_CONFIG_FILE_FORMAT}"
    text = eval_config_writer._serialize_eval_run(
        config, "<user provided PCollection>", "<unknown>", locations
    )
    (output / name).write_text(text + "\n", encoding="utf-8")


def _write(folder: Path, name: str, protos: Iterable[Any], shard: str = "-00000-of-00001") -> None:
    with tf.io.TFRecordWriter(str(folder / f"{name}{shard}.tfrecord")) as records:
        for proto in protos:
            records.write(proto.SerializeToString())
