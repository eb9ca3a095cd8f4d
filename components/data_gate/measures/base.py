"""What a drift measure is: a number for the distance of two distributions of one feature.

The config reads this folder at every start of the command line, so it imports neither numpy nor TensorFlow.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

__all__ = ["PRIOR", "Measure", "shares"]

# Rows that are added to each bin of each side (Jeffreys' prior): an empty bin costs a finite amount, and the more rows
# there are, the less it changes.
PRIOR = 0.5


class Measure:
    """The base of all drift measures. A subclass gives the class attributes and `value`.

    Attributes:
      label: short name for people.
      definition: full name, a comma or a colon, and the formula, with p for a bin's share in the span and q for that
        in the reference.
      bounds: smallest and largest value; the smallest is that of equal distributions.
      applies_to: kinds of features that are measured.
      bins: how both sides are put into bins, a key of `binning.BINNINGS`: `reference` (deciles or the most frequent
        values of the reference, with a bin for missing values) or `values` (each category).
      threshold: above this value a feature is `drifted`; None: reported, but does not judge.
      comparator: field of TFDV's `FeatureComparator` whose threshold in the schema replaces `threshold`; may be
        empty.
    """

    label: ClassVar[str]
    definition: ClassVar[str]
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    applies_to: ClassVar[tuple[Literal["numeric", "categorical"], ...]] = ("numeric", "categorical")
    bins: ClassVar[Literal["reference", "values"]] = "reference"
    threshold: ClassVar[float | None] = None
    comparator: ClassVar[str] = ""

    def value(self, current: Sequence[float], reference: Sequence[float]) -> float:
        """The distance of two distributions.

        Args:
          current: rows of the span in each bin, `[bins]`; at least one is above 0.
          reference: rows of the reference in the same bins, `[bins]`; at least one is above 0.
        """
        raise NotImplementedError

    def chance(self, current_rows: float, reference_rows: float, bins: int) -> float:
        """What two samples of one distribution may reach by chance; it is added to the threshold. 0 if unknown."""
        return 0.0


def shares(counts: Sequence[float], prior: float = 0.0) -> list[float]:
    """Shares of the bins, with `prior` rows added to each bin.

    >>> shares([3, 1])
    [0.75, 0.25]
    """
    total = sum(counts) + prior * len(counts)
    return [(count + prior) / total for count in counts]
