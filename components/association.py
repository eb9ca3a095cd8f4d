"""Association of two categorical features, with what chance alone gives."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

# Rows for each cell below which chi-squared says nothing.
ROWS_PER_CELL = 1.0


@dataclasses.dataclass(frozen=True)
class Association:
    """A contingency table's chi-squared.

    Attributes:
      chi2: Pearson's statistic.
      rows: of the table's sum.
      left, right: number of values of either feature, 2 at least.

    >>> round(Association(100.0, 100, 2, 2).v, 2)
    1.0
    >>> Association(0.5, 100, 2, 2).v
    0.0
    """

    chi2: float
    rows: int
    left: int
    right: int

    @property
    def degrees(self) -> int:
        """Degrees of freedom."""
        return (self.left - 1) * (self.right - 1)

    @property
    def v(self) -> float:
        """Cramér's V without its bias, 0 to 1 (W. Bergsma, J. Korean Stat. Soc. 42, 2013): 0 where chance explains it.

        The plain V of 100 independent rows is 0.1 to 0.3.
        """
        n = max(self.rows, 2)
        left, right = (k - (k - 1) ** 2 / (n - 1) for k in (self.left, self.right))
        return math.sqrt(min(1.0, self.phi2 / max(min(left, right) - 1, 1e-9)))

    @property
    def phi2(self) -> float:
        """Mean squared contingency without its bias: (chi² - degrees) / (n - 1), 0 at least."""
        return max(0.0, (self.chi2 - self.degrees) / max(self.rows - 1, 1))

    @property
    def variance(self) -> float:
        """Of `phi2`, 2 (degrees + 2 n phi2) / n²: chi² is noncentral (M. Smithson, Confidence Intervals, 2003)."""
        return 2 * (self.degrees + 2 * self.rows * self.phi2) / max(self.rows, 1) ** 2

    @property
    def testable(self) -> bool:
        """Whether the table has enough rows for its cells."""
        return self.rows >= ROWS_PER_CELL * self.left * self.right


def associate(table: Mapping[tuple[str, str], int], most: int) -> Association | None:
    """The association in a table of (value, other's value) → rows.

    Args:
      table: the counts.
      most: values of either feature above which there is none.

    Returns:
      The association, or None if a feature has one value only, or too many.

    >>> associate({("EWR", "UA"): 50, ("JFK", "B6"): 50}, 200).chi2
    100.0
    >>> associate({("EWR", "UA"): 25, ("EWR", "B6"): 25, ("JFK", "UA"): 25, ("JFK", "B6"): 25}, 200).chi2
    0.0
    """
    left, right = (sorted({pair[side] for pair in table}) for side in (0, 1))
    if not 2 <= len(left) <= most or not 2 <= len(right) <= most:
        return None
    counts = np.zeros((len(left), len(right)))
    rows, columns = {v: i for i, v in enumerate(left)}, {v: i for i, v in enumerate(right)}
    for (value, other), count in table.items():
        counts[rows[value], columns[other]] = count
    total = counts.sum()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / total
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return Association(chi2, int(total), len(left), len(right))
