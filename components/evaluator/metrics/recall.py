"""Recall: of the rows that are 1, the share that is predicted to be."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric, divided

if TYPE_CHECKING:
    import numpy as np


class Recall(Metric):
    """A score above 0.5 predicts 1."""

    label = "Recall"
    better = "higher"
    tasks = ("binary",)
    order = 10
    needs = "rows of class 1"
    tfma = {"binary": ("Recall", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        positive = labels == 1
        return divided(((scores > 0.5) & positive).sum(), positive.sum())
