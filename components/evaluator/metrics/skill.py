"""Skill: by which share the log loss is lower than that of a guess."""

from typing import TYPE_CHECKING

from noria.components.evaluator.metrics.base import Metric, divided
from noria.components.evaluator.metrics.log_loss import LogLoss

if TYPE_CHECKING:
    import numpy as np


class Skill(Metric):
    """1 - log loss / log loss of a guess: 0 is as good as the guess, 1 is perfect, below 0 is worse than the guess.

    The guess is one answer for all rows: the share of each class in these very rows, which no model can know before.
    Also called McFadden's R². The skill score of a regression is R².
    """

    label = "Skill"
    better = "higher"
    tasks = ("binary", "multiclass")
    reported = ("binary", "multiclass")
    order = 7
    needs = "rows of several classes"

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        import numpy as np

        shares = np.bincount(labels.astype(np.int64)) / len(labels)
        shares = shares[shares > 0]
        guess = -(shares * np.log(shares)).sum()
        return 1 - divided(LogLoss().compute(labels, scores, task), guess)
