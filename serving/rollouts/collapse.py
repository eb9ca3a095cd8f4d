"""When a champion that fails, or predicts worse than a guess, is no longer trusted, and its fallback takes over."""

import math

# What a collapse means: half of the requests fail. What is not one: 5 % of them.
BROKEN, TOLERATED = 0.5, 0.05
# Requests, on average at least, between two false alarms at the tolerated rate.
RUN_LENGTH = 1e6
# The share of the base rate that a score may lack: how overconfident a champion may be.
SHARE = 0.1
MEMORY = 1000  # labels after which older ones count half in the base rate


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


class LossCollapse:
    """Detects scores that predict the labels worse than the labels' own base rate does.

    Each label adds log(b(y) / q(y)) to the sum, where b is the share of the labels before, and q is the score with a
    share of b of 10 %. If the label's probability is the score, or lies between the score and q, the expectation of
    b(y) / q(y) is at most 1 (it is linear in that probability, 1 at q, and at most 1 at the score by Hölder's
    inequality). So with the threshold log(A) the mean number of labels until a false alarm is at least A, as in
    `Collapse`. A label adds at most log(10), so six of them are an alarm at the earliest.

    The next champion begins with this base rate, and with a sum of zero.
    """

    def __init__(self) -> None:
        self.sum = 0.0
        self._ones, self._labels = (
            0.5,
            1.0,
        )  # Krichevsky and Trofimov's estimate, with older labels discounted
        self._count, self._champion, self._base = 0, 0.0, 0.0  # since the sum was zero: log losses

    def restart(self) -> None:
        """Another version is the champion."""
        self.sum = 0.0

    def update(self, score: float, label: int) -> bool:
        """Adds a row; whether the model has collapsed.

        Args:
          score: the probability of the label 1.
          label: 0 or 1.
        """
        rate = self._ones / self._labels
        base = rate if label else 1 - rate
        mixed = (1 - SHARE) * (score if label else 1 - score) + SHARE * base
        if self.sum <= 0:
            self.sum = 0.0
            self._count, self._champion, self._base = 0, 0.0, 0.0
        self.sum += math.log(base / mixed)
        self._count += 1
        self._champion -= math.log(mixed)
        self._base -= math.log(base)
        self._ones, self._labels = self._ones + label, self._labels + 1
        if self._labels > 2 * MEMORY:
            self._ones, self._labels = self._ones / 2, self._labels / 2
        return self.sum >= math.log(RUN_LENGTH)

    def __str__(self) -> str:
        count = max(self._count, 1)
        return (
            f"on the last {self._count:,} labels its log loss is {self._champion / count:.3f}, "
            f"that of the base rate {self._base / count:.3f}"
        )
