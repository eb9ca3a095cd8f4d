"""A TFMA metric that collects a slice's labels and predictions and computes a metric of Noria's from them.

Beam uses it for the metrics that TFMA does not have. 12 bytes a row of one score are held where a slice is combined.
"""

import array
import dataclasses
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from noria.components.evaluator.metrics import METRICS
from noria.components.evaluator.paired import row_of
from noria.components.internals.tfma import register_metric


class RowsMetric(tfma.metrics.Metric):
    """The metric of that name, a user's by import path from `project`, for rows of the task."""

    def __init__(self, name: str, task: str = "binary", project: str = ""):
        super().__init__(_computations, name=name, task=task, project=project)


register_metric(RowsMetric)


def _computations(
    name: str,
    task: str = "binary",
    project: str = "",
    eval_config: Any = None,
    model_names: Iterable[str] = ("",),
    **unused: Any,
) -> list[Any]:
    keys = [tfma.metrics.MetricKey(name=name, model_name=model) for model in model_names]
    return [
        tfma.metrics.MetricComputation(
            keys=[key], preprocessors=None, combiner=RowsCombiner(key, task, project, eval_config)
        )
        for key in keys
    ]


@dataclasses.dataclass
class Rows:
    """Labels `[n]` float64 and predictions `[n * k]` float32, as arrays that pickle in few bytes."""

    labels: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    predictions: array.array = dataclasses.field(default_factory=lambda: array.array("f"))


class RowsCombiner(beam.CombineFn):
    """Collects rows; `extract_output` computes."""

    def __init__(self, key: Any, task: str, project: str, eval_config: Any):
        self.key = key
        self._task = task
        self._project = project
        self._eval_config = eval_config

    def create_accumulator(self) -> Rows:
        return Rows()

    def add_input(self, accumulator: Rows, element: Any) -> Rows:
        label, prediction = row_of(element, self._eval_config, self.key.model_name)
        accumulator.labels.append(float(label[0]))
        accumulator.predictions.extend(prediction[0].tolist())
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Rows]) -> Rows:
        result = Rows()
        for accumulator in accumulators:
            result.labels.extend(accumulator.labels)
            result.predictions.extend(accumulator.predictions)
        return result

    def extract_output(self, accumulator: Rows) -> dict[Any, float]:
        if not accumulator.labels:
            return {self.key: float("nan")}
        metric = METRICS.find(self.key.name, self._project or None)()
        labels = np.array(accumulator.labels)
        scores = np.array(accumulator.predictions, np.float32).reshape(len(labels), -1)
        return {self.key: float(metric.compute(labels, plain(scores, self._task), self._task))}


def plain(scores: np.ndarray, task: str) -> np.ndarray:
    """Scores as `Metric.compute` gets them: `[n]` float64, for multiclass `[n, classes]` as they are."""
    return scores if task == "multiclass" else scores[:, 0].astype(np.float64)
