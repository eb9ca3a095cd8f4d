"""Coefficient of determination."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric, divided

if TYPE_CHECKING:
    import numpy as np


class R2(Metric):
    """1 - squared error / squared distance to the labels' mean: 0 is as good as that mean, 1 is perfect.

    Keras's R2Score needs TensorFlow's newer Keras, and TFMA has none.
    """

    label = "R²"
    better = "higher"
    tasks = ("regression",)
    reported = ("regression",)
    order = 7
    needs = "labels that differ"

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return 1 - divided(((scores - labels) ** 2).sum(), ((labels - labels.mean()) ** 2).sum())
