"""Accuracy: the share of rows whose most likely class is the label."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._decided import THRESHOLD
from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Metric):
    """Of two classes, 1 is the most likely one above a score of 0.5."""

    label = "Accuracy"
    better = "higher"
    tasks = ("binary", "multiclass")
    reported = ("multiclass",)
    order = 2
    tfma = {
        "binary": ("BinaryAccuracy", {}),
        "multiclass": ("SparseCategoricalAccuracy", {}),
    }

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        likely = scores > THRESHOLD if task == "binary" else scores.argmax(axis=1)
        return float((likely == labels).mean())
