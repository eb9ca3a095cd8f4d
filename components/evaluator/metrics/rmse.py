"""Root mean squared error."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._errors import RegressionError

if TYPE_CHECKING:
    import numpy as np


class RootMeanSquaredError(RegressionError):
    """In the label's unit."""

    label = "RMSE"
    reported = ("regression",)
    order = 4
    tfma = {"regression": ("RootMeanSquaredError", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(((scores - labels) ** 2).mean() ** 0.5)
