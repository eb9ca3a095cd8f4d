"""Two means compared while they are counted: does the candidate's exceed the champion's by more than is tolerated?"""

import dataclasses
import math
from collections.abc import Mapping

# Observations of the candidate after which older ones count half: a fault that begins late is soon seen.
MEMORY = 400
# The candidate's mean starts at the champion's, with the weight of so many observations.
PRIOR = 10.0

Counts = Mapping[float, int]  # a value in [0, 1] -> how often it was observed


@dataclasses.dataclass
class Comparison:
    """An e-process for the hypothesis `mean(candidate) - mean(champion) <= tolerance`; values are in [0, 1].

    For a block of outcomes, an alternative (a, b) of the two means, and the point (a0, b0) of the hypothesis that is
    nearest to it in Kullback-Leibler divergence, the likelihood ratio of the block is an E-variable (Turner and
    Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond", 2023, arXiv:2203.09785,
    Theorem 1; Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
    stopping", 2024, arXiv:2106.02693). The alternative is estimated from the blocks before, so the product over blocks
    is a nonnegative supermartingale, also where the common mean changes from block to block. So is the mean of several.
    By Ville's inequality the probability that one ever reaches 1/p is at most p, so 1 / (its maximum) is a p-value that
    is valid at every moment (Johari, Koomen, Pekelis and Walsh, "Always valid inference", 2022, arXiv:1512.04922).

    A value between 0 and 1 counts as the expectation over an outcome that is 1 with this probability: the ratio is
    linear in the value, so that only the mean matters (Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting", 2024, arXiv:2010.09686).

    Args:
      tolerance: in [0, 1).
      log_e: the process' logarithm now.
      champion, candidate: (observations, sum of the values), older ones discounted, for the alternative.
    """

    tolerance: float
    log_e: float = 0.0
    champion: tuple[float, float] = (0.0, 0.0)
    candidate: tuple[float, float] = (0.0, 0.0)

    def update(self, champion: Counts, candidate: Counts) -> None:
        """Adds a block. When it ends must not depend on the values in it."""
        if not champion or not candidate:
            return
        a = (self.champion[1] + 0.5) / (self.champion[0] + 1)
        b = (self.candidate[1] + PRIOR * a) / (self.candidate[0] + PRIOR)
        if b - a > self.tolerance:
            a0, b0 = nearest(a, b, sum(champion.values()), sum(candidate.values()), self.tolerance)
            self.log_e += _log_ratio(champion, a, a0) + _log_ratio(candidate, b, b0)
        self.champion, self.candidate = _add(self.champion, champion), _add(self.candidate, candidate)
        if self.candidate[0] > 2 * MEMORY:
            self.champion = self.champion[0] / 2, self.champion[1] / 2
            self.candidate = self.candidate[0] / 2, self.candidate[1] / 2

    @property
    def e_value(self) -> float:
        """The process now; limited, so that it can be written as JSON."""
        return math.exp(min(self.log_e, 500.0))


def nearest(a: float, b: float, n_a: int, n_b: int, tolerance: float) -> tuple[float, float]:
    """The means (a0, a0 + tolerance) that are nearest to (a, b) for blocks of n_a and n_b outcomes.

    The divergence n_a KL(a, a0) + n_b KL(b, a0 + tolerance) is convex in a0; its derivative is zero between a and
    b - tolerance, and is found by bisection.
    """
    low, high = a, b - tolerance
    for _ in range(40):
        middle = (low + high) / 2
        shifted = middle + tolerance
        pull = n_b * (b - shifted) / (shifted * (1 - shifted)) + n_a * (a - middle) / (middle * (1 - middle))
        if pull > 0:
            low = middle
        else:
            high = middle
    middle = (low + high) / 2
    return middle, middle + tolerance


def _log_ratio(counts: Counts, mean: float, null: float) -> float:
    one, zero = mean / null, (1 - mean) / (1 - null)
    return sum(count * math.log(value * one + (1 - value) * zero) for value, count in counts.items())


def _add(sums: tuple[float, float], counts: Counts) -> tuple[float, float]:
    total = sum(value * count for value, count in counts.items())
    return sums[0] + sum(counts.values()), sums[1] + total
