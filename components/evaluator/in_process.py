"""TFMA without Beam: the same metrics, the same validation, the same files, for rows that fit into one process.

Follows `metrics_plots_and_validations_evaluator` of TFMA 0.47 and 0.52, with each metric computed from all rows of a
slice at once in place of combiners that take row by row. A test holds it to TFMA's own pipeline.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from noria.components.evaluator import eval_config, paired
from noria.components.evaluator.gate import Gate
from noria.components.evaluator.rows import EvalRows
from noria.components.evaluator.rows_metric import plain


def evaluate(
    rows: EvalRows, gate: Gate, config: config_pb2.EvalConfig, output: Path, locations: dict[str, str]
) -> None:
    """Computes, validates and writes what `tfma.load_eval_result` and `tfma.load_validation_result` read.

    Args:
      rows: labels, predictions and slice columns of all rows.
      gate: the metrics.
      config: of the same gate, updated with defaults (`tfma.utils.update_eval_config_with_defaults`).
      output: folder to write to.
      locations: SavedModel paths by model name, for the record.
    """
    slices = slice_rows(rows, list(config.slicing_specs))
    sliced = [(key, _metrics(rows, index, gate)) for key, index in slices.items()]
    _write(sliced, config, output, locations)


def slice_rows(rows: EvalRows, specs: list[config_pb2.SlicingSpec]) -> dict[Any, np.ndarray]:
    """Row numbers by slice key; slice keys are made by TFMA, once for each distinct combination of values."""
    found: dict[Any, list[np.ndarray]] = {}
    for spec in specs or [config_pb2.SlicingSpec()]:
        single = slicer_lib.SingleSliceSpec(spec=spec)
        names = sorted({*spec.feature_keys, *spec.feature_values})
        group = np.zeros(len(rows), np.int64)
        for name in names:
            column = rows.columns[name]
            group = group * (len(column.values) + 1) + column.codes + 1
        combinations, first, inverse = np.unique(group, return_index=True, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(combinations) + 1))
        for at, row in enumerate(first):
            features = {}
            for name in names:
                code = rows.columns[name].codes[row]
                if code >= 0:
                    features[name] = np.array([rows.columns[name].values[code]], dtype=object)
            for key in slicer_lib.get_slices_for_features_dicts([], features, [single]):
                found.setdefault(key, []).append(order[bounds[at] : bounds[at + 1]])
    return {
        key: np.sort(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(parts))
        for key, parts in found.items()
    }


def _metrics(rows: EvalRows, index: np.ndarray, gate: Gate) -> dict[metric_types.MetricKey, float]:
    """All metrics of the rows at `index`: each model's, and the challenger's differences to the champion."""
    labels = rows.labels[index]
    scores = {name: predictions[index] for name, predictions in rows.predictions.items()}
    has_champion = eval_config.CHAMPION in scores
    numbers = labels.astype(np.float64)
    plains = {name: plain(part, gate.task) for name, part in scores.items()}
    metrics: dict[metric_types.MetricKey, float] = {}
    for name, metric in gate.metrics.items():
        for model, part in plains.items():
            key = metric_types.MetricKey(name=name, model_name=model if has_champion else "")
            metrics[key] = float(metric.compute(numbers, part, gate.task))
    if has_champion:
        _add_differences(metrics, eval_config.CHAMPION)
        moments = paired.Moments()
        losses = {name: paired.row_losses(gate.task, labels, part) for name, part in scores.items()}
        moments.add(losses[eval_config.CHALLENGER] - losses[eval_config.CHAMPION])
        metrics |= moments.named(eval_config.PAIRED, eval_config.CHALLENGER)
    return metrics


def _add_differences(metrics: dict[Any, Any], baseline: str) -> None:
    """As `add_diff_metrics`, a function inside TFMA's PTransform that cannot be called from outside."""
    metrics |= {
        key.make_diff_key(): value - metrics[key.make_baseline_key(baseline)]
        for key, value in metrics.items()
        if key.model_name != baseline
    }


def _write(
    sliced: list[tuple[Any, dict[Any, Any]]],
    config: config_pb2.EvalConfig,
    output: Path,
    locations: dict[str, str],
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    kinds = (
        (constants.METRICS_KEY, metric_types.MetricKey, writer.convert_slice_metrics_to_proto),
        (constants.PLOTS_KEY, metric_types.PlotKey, writer.convert_slice_plots_to_proto),
    )
    for name, key_type, convert in kinds:
        protos = (convert(evaluator._filter_by_key_type(part, key_type), None) for part in sliced)
        _write_records(output / f"{name}-00000-of-00001.tfrecord", protos)
    attributions = (
        writer.convert_slice_attributions_to_proto(
            evaluator._filter_by_key_type(part, metric_types.AttributionsKey)
        )
        for part in sliced
    )
    _write_records(output / f"{constants.ATTRIBUTIONS_KEY}-00000-of-00001.tfrecord", attributions)
    combine = writer.CombineValidations(config, rubber_stamp=False)
    validation = combine.create_accumulator()
    for part in sliced:
        metrics = evaluator._filter_by_key_type(part, metric_types.MetricKey)
        validation = combine.add_input(validation, metrics_validator.validate_metrics(metrics, config))
    _write_records(
        output / f"{constants.VALIDATIONS_KEY}.tfrecord",
        itertools.chain([combine.extract_output(validation)]),
    )
    name = f"{eval_config_writer.EVAL_CONFIG_FILE}.{eval_config_writer.EVAL_CONFIG_FILE_FORMAT}"
    text = eval_config_writer._serialize_eval_run(
        config, "<user provided PCollection>", "<unknown>", locations
    )
    (output / name).write_text(text + "\n", encoding="utf-8")


def _write_records(path: Path, protos: Any) -> None:
    with tf.io.TFRecordWriter(str(path)) as records:
        for proto in protos:
            records.write(proto.SerializeToString())
