"""What the metrics of a decision between two classes have in common."""

from noria.components.evaluator.metrics.base import Metric

THRESHOLD = 0.5


class DecisionMetric(Metric):
    """A score above the threshold predicts 1."""

    better = "higher"
    tasks = ("binary",)
