"""Precision: of the rows that are predicted to be 1, the share that is."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._decided import THRESHOLD, DecisionMetric
from noria.components.evaluator.metrics.base import divided

if TYPE_CHECKING:
    import numpy as np


class Precision(DecisionMetric):
    """A score above 0.5 predicts 1."""

    label = "Precision"
    order = 9
    needs = "a row with a score above 0.5"
    tfma = {"binary": ("Precision", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        predicted = scores > THRESHOLD
        return divided((predicted & (labels == 1)).sum(), predicted.sum())
