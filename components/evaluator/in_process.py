"""TFMA without Beam: the same metrics, the same validation, the same files, for rows that fit into one
process.

Follows `metrics_plots_and_validations_evaluator` of TFMA 0.47 and 0.52 step by step with lists in place of
PCollections: computations, slices, accumulators, derived metrics, differences to the baseline, validation,
writers. All of TFMA's internals that Noria reaches into are named here and in `fills`.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import model_util
from tensorflow_model_analysis.writers import eval_config_writer
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from noria.components.evaluator import vectorized_metrics
from noria.components.evaluator.rows import EvalRows


class NotCovered(Exception):
    """Something that only TFMA's Beam pipeline does; the message says what."""


def check(config: config_pb2.EvalConfig) -> None:
    """Checks that the in-process path does all that the config asks for.

    Raises:
      NotCovered: it does not; evaluate with Beam.
    """
    if any(spec.query_key for spec in config.metrics_specs):
        raise NotCovered("metrics grouped by a query key")
    if config.cross_slicing_specs:
        raise NotCovered("metrics across slices")
    if config.options.compute_confidence_intervals.value:
        raise NotCovered("confidence intervals")
    if config.options.min_slice_size.value > 1:
        raise NotCovered("a smallest slice size")
    if any(spec.slice_keys_sql for spec in config.slicing_specs):
        raise NotCovered("slices by SQL")
    for computation in _computations(config).non_derived_computations:
        for preprocessor in computation.preprocessors or ():
            wanted = set(getattr(preprocessor, "include_filter", {"?": {}}))
            standard = {constants.LABELS_KEY, constants.PREDICTIONS_KEY, constants.EXAMPLE_WEIGHTS_KEY}
            if type(preprocessor) is not metric_types.StandardMetricInputsPreprocessor or wanted - standard:
                raise NotCovered(f"the inputs of {computation.keys[0].name}")


def evaluate(rows: EvalRows, config: config_pb2.EvalConfig, output: Path, locations: dict[str, str]) -> None:
    """Computes, validates and writes what `tfma.load_eval_result` and `tfma.load_validation_result` read.

    Args:
      rows: labels, predictions and slice columns of all rows.
      config: updated with defaults (`tfma.utils.update_eval_config_with_defaults`).
      output: folder to write to.
      locations: SavedModel paths by model name, for the record.
    """
    computations = _computations(config)
    slices = slice_rows(rows, list(config.slicing_specs))
    outputs = _combine(rows, slices, computations.non_derived_computations)
    baseline = model_util.get_baseline_model_spec(config)
    sliced = []
    for slice_key in slices:
        metrics = outputs[slice_key]
        for derived in computations.derived_computations:
            metrics.update(_derived(derived, metrics))
        _add_differences(metrics, baseline.name if baseline else None)
        for derived in computations.ci_derived_computations:
            metrics.update(derived.result(metrics))
        sliced.append(evaluator._remove_private_metrics(slice_key, metrics))
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


def _computations(config: config_pb2.EvalConfig) -> evaluator.MetricComputations:
    return evaluator._filter_and_separate_computations(
        metric_specs.to_computations(list(config.metrics_specs), eval_config=config)
    )


def _combine(
    rows: EvalRows, slices: dict[Any, np.ndarray], computations: list[Any]
) -> dict[Any, dict[Any, Any]]:
    outputs: dict[Any, dict[Any, Any]] = {key: {} for key in slices}
    row_by_row = []
    for computation in computations:
        kind = vectorized_metrics.FILLS.get(type(computation.combiner).__name__)
        if kind is None:
            row_by_row.append(computation)
            continue
        try:
            fill = kind(computation.combiner, rows)
            for key, index in slices.items():
                outputs[key].update(fill.output(index))
        except vectorized_metrics.NotVectorised:
            row_by_row.append(computation)
    if row_by_row:
        for key, output in _row_by_row(rows, slices, row_by_row).items():
            outputs[key].update(output)
    return outputs


def _row_by_row(
    rows: EvalRows, slices: dict[Any, np.ndarray], computations: list[Any]
) -> dict[Any, dict[Any, Any]]:
    """Each row goes through `add_input` once, into the cell of rows that share all slices; cells merge."""
    combine = evaluator._ComputationsCombineFn(computations=computations)
    combine.setup()
    preprocess = evaluator._PreprocessorDoFn(computations)
    preprocess.setup()
    membership = np.zeros((len(rows), len(slices)), bool)
    for at, index in enumerate(slices.values()):
        membership[index, at] = True
    cells, cell_of = np.unique(membership, axis=0, return_inverse=True)
    accumulators = [combine.create_accumulator() for _ in cells]
    single = len(rows.predictions) == 1
    for at, cell in enumerate(np.ravel(cell_of)):
        scores = {name: part[at] for name, part in rows.predictions.items()}
        label = rows.labels[at : at + 1]
        extracts = {
            constants.LABELS_KEY: label if single else dict.fromkeys(scores, label),
            constants.PREDICTIONS_KEY: next(iter(scores.values())) if single else scores,
            constants.EXAMPLE_WEIGHTS_KEY: None,
            constants.SLICE_KEY_TYPES_KEY: (),
        }
        for element in preprocess.process(extracts):
            accumulators[cell] = combine.add_input(accumulators[cell], element)
    outputs = {}
    for at, key in enumerate(slices):
        # Merging changes the first accumulator, so every slice starts from a fresh one.
        members = [accumulators[cell] for cell in np.flatnonzero(cells[:, at])]
        merged = combine.merge_accumulators([combine.create_accumulator(), *members])
        outputs[key] = combine.extract_output(combine.compact(merged))
    return outputs


def _derived(computation: Any, metrics: dict[Any, Any]) -> dict[Any, Any]:
    if "binary_confusion_matrices" in computation.result.__qualname__:
        return vectorized_metrics.confusion_matrices(computation, metrics)
    return computation.result(metrics)


def _add_differences(metrics: dict[Any, Any], baseline: str | None) -> None:
    """As `add_diff_metrics`, a function inside TFMA's PTransform that cannot be called from outside."""
    if not baseline:
        return
    differences = {}
    for key, value in metrics.items():
        if evaluator._is_private_metrics(key) or key.is_diff or key.model_name == baseline:
            continue
        other = key.make_baseline_key(baseline)
        if other in metrics and evaluator._is_metric_diffable(value):
            differences[key.make_diff_key()] = value - metrics[other]
    metrics.update(differences)


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
