"""Calibration: the sum of the predictions divided by the sum of the labels."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric, divided

if TYPE_CHECKING:
    import numpy as np


class Calibration(Metric):
    """1 is calibrated; above it the model predicts too much."""

    label = "Calibration"
    tasks = ("binary", "regression")
    reported = ("binary", "regression")
    order = 12
    needs = "labels whose sum is not 0"
    tfma = {"binary": ("Calibration", {}), "regression": ("Calibration", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        total = labels.sum()
        return divided(scores.sum(), total if abs(total) > 1e-8 else 0.0)  # TFMA's tolerance
