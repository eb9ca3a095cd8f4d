"""Area under the curve of precision and recall, exact."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class AUCPrecisionRecall(Metric):
    """The area with a threshold at each distinct score, interpolated between them as TFMA does.

    The interpolation is that of J. Davis and M. Goadrich, The relationship between precision-recall and ROC curves,
    2006. TFMA's own metric has 10,000 thresholds at equal distances, see `auc`.
    """

    label = "Area under precision and recall"
    better = "higher"
    tasks = ("binary",)
    order = 8
    needs = "rows of class 1"

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        import numpy as np

        from noria.components.evaluator.metrics._ranks import by_score

        positives, negatives = by_score(labels, scores)
        if not positives.any():
            return float("nan")
        # From the highest score down: rows at this score, and true and all positives above it.
        found, rows = positives[::-1], (positives + negatives)[::-1]
        true_above, above = np.cumsum(found) - found, np.cumsum(rows) - rows
        slope = found / rows
        ratio = np.ones(len(rows))
        np.divide(above + rows, above, out=ratio, where=above > 0)
        area = slope * (found + (true_above - slope * above) * np.log(ratio))
        return float(area.sum() / positives.sum())
