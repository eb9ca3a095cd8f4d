"""When a champion that fails is no longer trusted, and its fallback takes over."""

import math

# What a collapse means: half of the requests fail. What is not one: 5 % of them.
BROKEN, TOLERATED = 0.5, 0.05
# Requests, on average at least, between two false alarms at the tolerated rate.
RUN_LENGTH = 1e6


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
