"""TFMA without Beam: the same metrics, the same validation, the same files, for rows that fit into one process.

Follows `metrics_plots_and_validations_evaluator` of TFMA 0.47 and 0.52, with each metric computed from all rows of a
slice at once in place of combiners that take row by row. A test holds it to TFMA's own pipeline.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from noria.components.evaluator import eval_config, paired
from noria.components.evaluator.gate import Gate
from noria.components.evaluator.rows import EvalRows
from noria.components.evaluator.rows_metric import plain
from noria.components.internals import tfma as tfma_internals


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
    tfma_internals.write_results(sliced, config, output, locations)


def slice_rows(rows: EvalRows, specs: list[config_pb2.SlicingSpec]) -> dict[Any, np.ndarray]:
    """Row numbers by slice key; slice keys are made by TFMA, once for each distinct combination of values."""
    found: dict[Any, list[np.ndarray]] = {}
    for spec in specs or [config_pb2.SlicingSpec()]:
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
            for key in tfma_internals.slice_keys(features, spec):
                found.setdefault(key, []).append(order[bounds[at] : bounds[at + 1]])
    return {
        key: np.sort(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(parts))
        for key, parts in found.items()
    }


def _metrics(rows: EvalRows, index: np.ndarray, gate: Gate) -> dict[tfma.metrics.MetricKey, float]:
    """All metrics of the rows at `index`: each model's, and the challenger's differences to the champion."""
    labels = rows.labels[index]
    scores = {name: predictions[index] for name, predictions in rows.predictions.items()}
    has_champion = eval_config.CHAMPION in scores
    numbers = labels.astype(np.float64)
    plains = {name: plain(part, gate.task) for name, part in scores.items()}
    metrics: dict[tfma.metrics.MetricKey, float] = {}
    for name, metric in gate.metrics.items():
        for model, part in plains.items():
            key = tfma.metrics.MetricKey(name=name, model_name=model if has_champion else "")
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
