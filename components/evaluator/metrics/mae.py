"""Mean absolute error."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics._errors import RegressionError

if TYPE_CHECKING:
    import numpy as np


class MeanAbsoluteError(RegressionError):
    """In the label's unit."""

    label = "MAE"
    reported = ("regression",)
    order = 5
    tfma = {"regression": ("MeanAbsoluteError", {})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(abs(scores - labels).mean())
