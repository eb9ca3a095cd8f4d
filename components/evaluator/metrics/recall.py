"""Recall: of the rows that are 1, the share that is predicted to be."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._decided import THRESHOLD, DecisionMetric
from noria.components.evaluator.metrics.base import divided

if TYPE_CHECKING:
    import numpy as np


class Recall(DecisionMetric):
    """A score above 0.5 predicts 1."""

    label = "Recall"
    order = 10
    needs = "rows of class 1"
    tfma = {"binary": ("Recall", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        positive = labels == 1
        return divided(((scores > THRESHOLD) & positive).sum(), positive.sum())
