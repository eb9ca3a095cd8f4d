"""The number of rows."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import TASKS, Metric

if TYPE_CHECKING:
    import numpy as np


class ExampleCount(Metric):
    """It tells about the rows, not about the model."""

    label = "Examples"
    reported = TASKS
    order = 14
    tfma = {task: ("ExampleCount", {}) for task in TASKS}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        return float(len(labels))
