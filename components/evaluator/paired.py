"""A TFMA metric: by how much the loss of the same rows changes from champion to challenger, and its standard error.

Two models that see the same rows err on the same rows, so the difference row by row varies far less than
either loss: its standard error tells a slice that got worse from one that had bad luck (a paired test;
Student, "The probable error of a mean", Biometrika 6, 1908).
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from noria.components.evaluator.metrics.log_loss import EPSILON
from noria.components.internals.tfma import register_metric


def row_losses(task: str, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Loss of each row: log loss of classes, squared error of numbers.

    Args:
      task: `binary`, `multiclass` or `regression`.
      labels: `[n]`; 0 or 1, class index, or number.
      predictions: `[n, 1]`, for multiclass `[n, classes]`.

    Returns:
      `[n]` float64.
    """
    scores = np.asarray(predictions, np.float64)
    if task == "regression":
        return np.square(scores[:, 0] - labels)
    scores = np.clip(scores, EPSILON, 1.0 - EPSILON)
    if task == "binary":
        return -np.log(np.where(labels > 0.5, scores[:, 0], 1.0 - scores[:, 0]))
    scores = scores / scores.sum(axis=1, keepdims=True)
    return -np.log(scores[np.arange(len(scores)), labels.astype(np.int64)])


def row_of(element: Any, eval_config: Any, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Label `[1]` and prediction `[1, k]` of the row that TFMA hands to a combiner."""
    rows = tfma.metrics.to_label_prediction_example_weight(
        element, eval_config=eval_config, model_name=model, flatten=False
    )
    label, prediction, _ = next(iter(rows))
    return np.asarray(label).reshape(-1), np.asarray(prediction).reshape(1, -1)


@dataclasses.dataclass
class Moments:
    """Count, sum and sum of squares of the change of loss by row."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, changes: np.ndarray) -> None:
        """Adds rows; changes is `[n]`."""
        self.count += len(changes)
        self.total += float(changes.sum())
        self.squares += float(np.square(changes).sum())

    def merge(self, other: "Moments") -> None:
        """Adds what another accumulator has seen."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    @property
    def mean(self) -> float:
        """Mean change; positive: the challenger is worse."""
        return self.total / self.count if self.count else float("nan")

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN for fewer than two rows."""
        if self.count < 2:
            return float("nan")
        variance = max(self.squares - self.total * self.total / self.count, 0.0) / (self.count - 1)
        return float(np.sqrt(variance / self.count))

    def named(self, name: str, model: str) -> dict[tfma.metrics.MetricKey, float]:
        """Mean and standard error under the keys of the diff metrics of `model`."""
        return {
            _key(name, model): self.mean,
            _key(f"{name}_standard_error", model): self.standard_error,
        }


class PairedLossChange(tfma.metrics.Metric):
    """Gives `<name>` and `<name>_standard_error`, both as diff metrics of the challenger."""

    def __init__(self, name: str = "loss_change", task: str = "binary"):
        super().__init__(_computations, name=name, task=task)


register_metric(PairedLossChange)


def _computations(
    name: str = "loss_change",
    task: str = "binary",
    eval_config: Any = None,
    model_names: Iterable[str] = ("",),
    **unused: Any,
) -> list[Any]:
    baseline = tfma.utils.get_baseline_model_spec(eval_config)
    if baseline is None:
        return []
    return [
        tfma.metrics.MetricComputation(
            keys=[_key(name, model), _key(f"{name}_standard_error", model)],
            preprocessors=None,
            combiner=PairedLossCombiner(name, task, model, baseline.name, eval_config),
        )
        for model in model_names
        if model != baseline.name
    ]


def _key(name: str, model: str) -> tfma.metrics.MetricKey:
    return tfma.metrics.MetricKey(name=name, model_name=model, is_diff=True)


class PairedLossCombiner(beam.CombineFn):
    """Row by row under Beam; the in-process path calls `Moments.add` with all rows of a slice at once."""

    def __init__(self, name: str, task: str, model: str, baseline: str, eval_config: Any):
        self.name = name
        self.task = task
        self.model = model
        self.baseline = baseline
        self._eval_config = eval_config

    def create_accumulator(self) -> Moments:
        return Moments()

    def add_input(self, accumulator: Moments, element: Any) -> Moments:
        label, challenger = row_of(element, self._eval_config, self.model)
        _, champion = row_of(element, self._eval_config, self.baseline)
        accumulator.add(row_losses(self.task, label, challenger) - row_losses(self.task, label, champion))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Moments]) -> Moments:
        result = Moments()
        for accumulator in accumulators:
            result.merge(accumulator)
        return result

    def extract_output(self, accumulator: Moments) -> dict[Any, float]:
        return accumulator.named(self.name, self.model)
