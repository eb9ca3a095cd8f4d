"""Jensen-Shannon divergence, base 2 (J. Lin, Divergence measures based on the Shannon entropy, 1991)."""

import math
from collections.abc import Sequence

from noria.components.data_gate.measures.base import Measure, shares
from noria.components.data_gate.measures.psi import PopulationStability


class JensenShannon(Measure):
    """KL2(p‖m) / 2 + KL2(q‖m) / 2 with m = (p + q) / 2, between the deciles of the reference.

    >>> JensenShannon().value([50, 50], [50, 50])
    0.0
    >>> JensenShannon().value([50, 0], [0, 50])
    1.0
    """

    label = "JS"
    definition = (
        "Jensen-Shannon divergence, 0 to 1: ½ Σ p log₂(p / m) + ½ Σ q log₂(q / m) with m = (p + q) / 2"
    )
    bounds = (0.0, 1.0)
    applies_to = ("numeric",)
    # The flights of 2013, 53 weeks, each against the week before: features that a timetable fixes reach 0.04, and
    # weather 0.7.
    threshold = 0.2
    comparator = "jensen_shannon_divergence"

    def value(self, current: Sequence[float], reference: Sequence[float]) -> float:
        total = 0.0
        for p, q in zip(shares(current), shares(reference), strict=True):
            for share in (p, q):
                if share > 0:
                    total += share * math.log2(2 * share / (p + q))
        return min(max(total / 2, 0.0), 1.0)

    def chance(self, current_rows: float, reference_rows: float, bins: int) -> float:
        """What two samples of one distribution reach once in a thousand times.

        For shares that hardly differ JS is Σ (p - q)² / m / (8 ln 2), and PSI is Σ (p - q)² / m.

        >>> round(JensenShannon().chance(100, 100, 11), 3)
        0.107
        """
        return PopulationStability().chance(current_rows, reference_rows, bins) / (8 * math.log(2))
