"""Mean squared error."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._errors import RegressionError

if TYPE_CHECKING:
    import numpy as np


class MeanSquaredError(RegressionError):
    """In the label's unit, squared."""

    label = "MSE"
    order = 6
    tfma = {"regression": ("MeanSquaredError", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(((scores - labels) ** 2).mean())
