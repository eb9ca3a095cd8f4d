"""What the errors of a regression have in common."""

from noria.components.evaluator.metrics.base import Metric


class RegressionError(Metric):
    """A distance of the predictions from the labels."""

    better = "lower"
    tasks = ("regression",)
