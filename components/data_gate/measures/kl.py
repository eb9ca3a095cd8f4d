"""Kullback-Leibler divergence (S. Kullback and R. Leibler, On information and sufficiency, 1951)."""

import math
from collections.abc import Sequence

from noria.components.data_gate.measures.base import PRIOR, Measure, shares
from noria.components.data_gate.measures.psi import PopulationStability


class KullbackLeibler(Measure):
    """Sum of p ln(p / q), in nats, with half a row added to each bin.

    >>> KullbackLeibler().value([50, 50], [50, 50])
    0.0
    >>> round(KullbackLeibler().value([90, 10], [50, 50]), 4)
    0.3594
    """

    label = "KL"
    definition = "Kullback-Leibler divergence, in nats, with half a row added to each bin: Σ p ln(p / q)"
    # It does not judge: PSI is the sum of this measure in both directions.
    threshold = None

    def value(self, current: Sequence[float], reference: Sequence[float]) -> float:
        pairs = zip(shares(current, PRIOR), shares(reference, PRIOR), strict=True)
        return sum(p * math.log(p / q) for p, q in pairs)

    def chance(self, current_rows: float, reference_rows: float, bins: int) -> float:
        return PopulationStability().chance(current_rows, reference_rows, bins) / 2
