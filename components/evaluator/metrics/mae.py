"""Mean absolute error."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class MeanAbsoluteError(Metric):
    """In the label's unit."""

    label = "MAE"
    better = "lower"
    tasks = ("regression",)
    reported = ("regression",)
    order = 5
    tfma = {"regression": ("MeanAbsoluteError", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(abs(scores - labels).mean())
