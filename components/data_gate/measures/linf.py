"""L-infinity distance: the largest difference of any category's share."""

from collections.abc import Sequence

from noria.components.data_gate.measures.base import Measure, shares


class LInfinity(Measure):
    """max |p - q| over all categories, as TFDV's comparator computes it.

    TFDV gives 0 for a numeric feature (tensorflow/data-validation issue 147), so only categories are measured.

    >>> LInfinity().value([50, 50, 0], [40, 50, 10])
    0.1
    """

    label = "L∞"
    definition = "L-infinity distance, the largest difference of any category's share: max |p − q|"
    bounds = (0.0, 1.0)
    applies_to = ("categorical",)
    bins = "values"
    # The flights of 2013, 53 weeks, each against the week before: features that a timetable fixes reach 0.024.
    threshold = 0.1
    comparator = "infinity_norm"

    def value(self, current: Sequence[float], reference: Sequence[float]) -> float:
        return max(abs(p - q) for p, q in zip(shares(current), shares(reference), strict=True))
