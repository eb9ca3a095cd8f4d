"""Log loss: the mean of -ln of the probability that the model gave to the label."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

EPSILON = 1e-7  # Keras's


class LogLoss(Metric):
    """As Keras computes it, in float32 and clipped at 1e-7.

    TFMA's own BinaryCrossEntropy gives NaN for a probability of exactly 0 or 1.
    """

    label = "Log loss"
    better = "lower"
    tasks = ("binary", "multiclass")
    reported = ("binary", "multiclass")
    order = 3
    tfma = {
        "binary": ("BinaryCrossentropy", {}),
        "multiclass": ("SparseCategoricalCrossentropy", {}),
    }

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        import numpy as np

        epsilon = np.float32(EPSILON)
        shares = np.clip(scores.astype(np.float32), epsilon, np.float32(1) - epsilon)
        if task == "binary":
            likely = np.where(labels == 1, shares, np.float32(1) - shares)
            return float(-np.log(likely + epsilon).mean(dtype=np.float64))
        likely = shares[np.arange(len(labels)), labels.astype(np.int64)]
        return float((np.log(shares.sum(axis=1)) - np.log(likely)).mean(dtype=np.float64))
