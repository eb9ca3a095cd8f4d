"""The labels' mean; of two classes, the share of 1."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class LabelMean(Metric):
    """It tells about the rows, not about the model."""

    label = "Label mean"
    tasks = ("binary", "regression")
    reported = ("binary", "regression")
    order = 13
    tfma = {"binary": ("MeanLabel", {}), "regression": ("MeanLabel", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(labels.mean())
