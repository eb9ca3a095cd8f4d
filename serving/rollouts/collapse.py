"""When a champion that fails, or predicts worse than a guess, is no longer trusted, and its fallback takes over."""

import dataclasses
import math
from collections.abc import Mapping

# What a collapse means: half of the requests fail. What is not one: 5 % of them.
BROKEN, TOLERATED = 0.5, 0.05
# Requests, on average at least, between two false alarms at the tolerated rate.
RUN_LENGTH = 1e6
# The share of their mean that scores may lack: how overconfident a champion may be.
SHARE = 0.1
MEMORY = 10_000  # answers after which older ones count half in the mean


class Collapse:
    """Detects a change in the share of requests that fail, from at most 5 % to about a half or more.

    The sum of log-likelihood ratios, never below zero (Page, "Continuous inspection schemes", Biometrika 1954): with
    the threshold log(A) the mean number of requests until a false alarm is at least A (Lorden, "Procedures for reacting
    to a change in distribution", Annals of Mathematical Statistics 1971; Shin, Ramdas and Rinaldo, "E-detectors", 2023,
    arXiv:2203.03532). With these figures, six failures in a row are an alarm.
    """

    _failed = math.log(BROKEN / TOLERATED)
    _answered = math.log((1 - BROKEN) / (1 - TOLERATED))

    def __init__(self) -> None:
        self.sum = 0.0

    def update(self, failed: bool) -> bool:
        """Adds a request; whether the model has collapsed."""
        self.sum = max(self.sum, 0.0) + (self._failed if failed else self._answered)
        return self.sum >= math.log(RUN_LENGTH)


@dataclasses.dataclass
class LossCollapse:
    """Detects scores that say less about the labels than one number for all rows does: their own mean.

    Each label adds log(g(y) / q(y)) to the sum, where g is the mean of the champion's scores, of rows with and without
    a label, and q is the score with a share of g of 10 %. If the label's probability is the score s, then s is among
    the rows of label 1 s / g times as frequent as among all rows. So the expectation of g(1) / q(1) in these rows is
    the mean of s / q over all rows: a concave function of s that is 1 at g, so at most 1 (Jensen's inequality). The
    same holds for a probability between s and q, whose mean is g too, and for the label 0. The expectation is at most 1
    in the rows of each label alone, so it does not matter which labels arrive first, or at all, as long as that depends
    on the label only. With the threshold log(A) the mean number of labels until a false alarm is at least A, as in
    `Collapse`. A label adds at most log(10), so six of them are an alarm at the earliest.

    The price: a wrong level of the scores, such as the same score for all rows, is not an alarm. Labels of an unknown
    selection do not say what the level should be.

    Args:
      sum: the process now.
      scores, answers: sum and number of the scores, older ones discounted.
      labels: how many were added since the sum was zero.
      champion, guess: the log losses of these labels, added.
    """

    sum: float = 0.0
    scores: float = 0.0
    answers: float = 0.0
    labels: float = 0.0
    champion: float = 0.0
    guess: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, float]) -> "LossCollapse":
        """What `dataclasses.asdict` gave.

        Raises:
          ValueError: these are not its numbers.
        """
        names = {each.name for each in dataclasses.fields(cls)}
        if values.keys() != names or not all(
            isinstance(each, int | float) and math.isfinite(each) for each in values.values()
        ):
            raise ValueError(f"expected the numbers {', '.join(sorted(names))}")
        return cls(**values)

    def answered(self, score: float) -> None:
        """Adds an answer to the mean, with or without a label to come."""
        self.scores, self.answers = self.scores + score, self.answers + 1
        if self.answers > 2 * MEMORY:
            self.scores, self.answers = self.scores / 2, self.answers / 2

    def update(self, score: float, label: int) -> bool:
        """Adds a row with its label; whether the model has collapsed.

        Args:
          score: the probability of the label 1.
          label: 0 or 1.
        """
        mean = self.scores / self.answers if self.answers else score
        guess = mean if label else 1 - mean
        mixed = (1 - SHARE) * (score if label else 1 - score) + SHARE * guess
        if guess <= 0:  # all scores are 0, or all are 1
            return False
        if self.sum <= 0:
            self.sum = self.labels = self.champion = self.guess = 0.0
        self.sum += math.log(guess / mixed)
        self.labels += 1
        self.champion -= math.log(mixed)
        self.guess -= math.log(guess)
        return self.sum >= math.log(RUN_LENGTH)

    def __str__(self) -> str:
        count = max(self.labels, 1)
        return (
            f"on the last {self.labels:,.0f} labels its log loss is {self.champion / count:.3f}, "
            f"that of its mean score {self.guess / count:.3f}"
        )
