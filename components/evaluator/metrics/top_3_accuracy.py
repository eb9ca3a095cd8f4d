"""Top 3 accuracy: the share of rows whose label is among the three most likely classes."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class Top3Accuracy(Metric):
    """As Keras computes it: a class that ties with the third is among the three."""

    label = "Top 3 accuracy"
    better = "higher"
    tasks = ("multiclass",)
    order = 11
    tfma = {"multiclass": ("SparseTopKCategoricalAccuracy", {"k": 3})}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        import numpy as np

        mine = np.take_along_axis(scores, labels.astype(np.int64)[:, np.newaxis], axis=1)
        return float(((scores > mine).sum(axis=1) < 3).mean())
