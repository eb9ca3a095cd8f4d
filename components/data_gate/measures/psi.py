"""Population stability index (N. Siddiqi, Credit Risk Scorecards, 2006, chapter 8)."""

import math
from collections.abc import Sequence

from noria.components.data_gate.measures.base import PRIOR, Measure, shares


class PopulationStability(Measure):
    """Sum of (p - q) ln(p / q), which is KL(p‖q) + KL(q‖p), with half a row added to each bin.

    >>> PopulationStability().value([50, 50], [50, 50])
    0.0
    >>> round(PopulationStability().value([90, 10], [50, 50]), 4)
    0.8531
    """

    label = "PSI"
    definition = "population stability index, with half a row added to each bin: Σ (p − q) ln(p / q)"
    # Siddiqi: below 0.1 little, above 0.25 a major shift. The flights of 2013, 53 weeks, each against the week before:
    # features that a timetable fixes never passed 0.05; weather has medians of 0.1 to 2.
    threshold = 0.25

    def value(self, current: Sequence[float], reference: Sequence[float]) -> float:
        pairs = zip(shares(current, PRIOR), shares(reference, PRIOR), strict=True)
        return sum((p - q) * math.log(p / q) for p, q in pairs)

    def chance(self, current_rows: float, reference_rows: float, bins: int) -> float:
        """What two samples of one distribution reach once in a thousand times.

        PSI / (1/n + 1/m) is about chi-squared with bins-1 degrees of freedom (B. Yurdakul, Statistical Properties of
        Population Stability Index, 2018); its quantile is Wilson and Hilferty's approximation (1931).

        >>> round(PopulationStability().chance(6000, 6000, 11), 4)
        0.0099
        >>> round(PopulationStability().chance(100, 100, 11), 2)
        0.6
        """
        degrees = max(bins - 1, 1)
        part = 2 / (9 * degrees)
        quantile = degrees * (1 - part + 3.09 * math.sqrt(part)) ** 3
        return quantile * (1 / max(current_rows, 1) + 1 / max(reference_rows, 1))
