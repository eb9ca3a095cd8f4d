"""Area under the ROC curve, exact."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class AUC(Metric):
    """Share of the pairs of a positive and a negative row whose positive one has the higher score; a tie is half.

    This is the Mann-Whitney statistic (J. Hanley and B. McNeil, Radiology 143, 1982). TFMA's AUC has 10,000 thresholds
    at equal distances: where all scores are below 0.03 (rare events) it is off by up to 0.03, three times what the gate
    allows a challenger to be worse.
    """

    label = "AUC"
    better = "higher"
    tasks = ("binary",)
    reported = ("binary",)
    order = 1
    needs = "rows of both classes"

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        from noria.components.evaluator.metrics._ranks import by_score

        positives, negatives = by_score(labels, scores)
        total = int(positives.sum()), int(negatives.sum())
        if not all(total):
            return float("nan")
        above = total[0] - positives.cumsum()
        twice = int(
            (negatives * (2 * above + positives)).sum()
        )  # whole numbers: exact in any order of the rows
        return twice / (2 * total[0] * total[1])
