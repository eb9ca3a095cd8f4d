"""Tests: an effect with a threshold, and how likely chance alone gives as much with this number of rows.

A check that can stop the pipeline makes one test for each feature, value or pair that it looks at, also where nothing
is wrong. `conclude` corrects them together, as a span with a thousand tests has a "one in a thousand" by chance.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from scipy import special, stats

from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding


@dataclasses.dataclass(frozen=True)
class Test:
    """One comparison.

    Attributes:
      check, feature: as of a finding.
      text: what was found.
      rows: that it is based on.
      p: probability that chance alone gives such an effect, before the correction.
      effect: its size, in the check's own measure.
      drifted: effect above which the span is `drifted`; None: never.
      broken: effect above which it is `broken`; None: never.
      unsure: severity of an effect above a threshold that may be chance.
      part: what is tested beside the feature, such as a value of it.
    """

    __test__ = False  # no class of pytest's

    check: str
    feature: str
    text: str
    rows: int
    p: float
    effect: float
    drifted: float | None = None
    broken: float | None = None
    unsure: str = OK
    part: str = ""

    def severity(self) -> str:
        """By the effect alone."""
        if self.broken is not None and self.effect > self.broken:
            return BROKEN
        return DRIFTED if self.drifted is not None and self.effect > self.drifted else OK

    def softened(self) -> "Test":
        """The same, `drifted` at most."""
        if self.broken is None:
            return self
        lower = self.broken if self.drifted is None else self.drifted
        return dataclasses.replace(self, drifted=lower, broken=None)


def conclude(tests: Sequence[Test], rate: float) -> list[Finding]:
    """The findings of a span's tests.

    An effect above a threshold is a finding. It is `broken` or `drifted` if its p-value, corrected over all tests of
    the span by Benjamini and Hochberg (J. Royal Stat. Soc. B 57, 1995), is at most `rate`; otherwise it may be chance,
    and is as severe as the test's `unsure` says.

    Args:
      tests: of all checks and features.
      rate: false discovery rate.

    >>> rare = Test("stuck", "x", "x has one value", rows=500, p=1e-9, effect=0.5, broken=0.3)
    >>> found = conclude([rare, dataclasses.replace(rare, p=0.4)], 0.001)
    >>> [one.severity for one in found]
    ['broken', 'ok']
    >>> found[0].text
    'x has one value (500 rows; by chance: 2e-09)'
    """
    if not tests:
        return []
    adjusted = stats.false_discovery_control([min(max(test.p, 0.0), 1.0) for test in tests])
    findings = []
    for test, p in zip(tests, adjusted.tolist(), strict=True):
        severity = test.severity()
        if severity == OK:
            continue
        sure = p <= rate
        how = f"by chance: {p:.0e}" if p >= 1e-99 else "not by chance"
        note = how if sure else f"may be chance: {p:.2g}, limit {rate:g}"
        findings.append(
            Finding(
                severity if sure else test.unsure,
                test.check,
                test.feature,
                f"{test.text} ({test.rows:,} rows; {note})",
                effect=test.effect,
                threshold=test.broken if severity == BROKEN else test.drifted,
                rows=test.rows,
                p=p,
            )
        )
    return findings


def against_all(groups: Iterable[Iterable[Test]]) -> list[Test]:
    """Joins tests of the same thing against several references: of each the one that says least.

    The week before may have been unusual, so an effect counts only if it is one against every reference.

    Args:
      groups: for each reference its tests.
    """
    found: dict[tuple[str, str, str], Test] = {}
    order = {OK: 0, DRIFTED: 1, BROKEN: 2}
    for group in groups:
        for test in group:
            key = (test.check, test.feature, test.part)
            known = found.get(key)
            if known is None:
                found[key] = test
                continue
            least = min(known, test, key=lambda one: (order[one.severity()], -one.p))
            found[key] = dataclasses.replace(least, p=max(known.p, test.p))
    return list(found.values())


def above(count: float, rows: float, share: float) -> float:
    """p-value of at least `count` of `rows` where the share is at most `share`; exact (binomial).

    >>> round(above(1, 100, 0.001), 3)
    0.095
    """
    # A span has some thousand tests; scipy.stats takes a hundred times as long for each as scipy.special.
    rows = max(int(rows), 1)
    return float(special.bdtrc(min(math.ceil(count) - 1, rows), rows, min(share, 1.0)))


def two_shares(share: float, rows: float, other: float, other_rows: float) -> float:
    """Two-sided p-value of two equal shares: chi-squared with one degree of freedom, one row added to each cell.

    >>> round(two_shares(0.5, 100, 0.5, 100), 3)
    1.0
    """
    a, b = share * rows + 1, (1 - share) * rows + 1
    c, d = other * other_rows + 1, (1 - other) * other_rows + 1
    total = a + b + c + d
    chi2 = total * (a * d - b * c) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))
    return float(special.chdtrc(1, chi2))


def same_distribution(current: Sequence[float], reference: Sequence[float]) -> float:
    """p-value of two samples in the same bins being of one distribution: Pearson's chi-squared.

    >>> same_distribution([50, 50], [500, 500])
    1.0
    """
    rows, others = sum(current), sum(reference)
    chi2, bins = 0.0, 0
    for p, q in zip(current, reference, strict=True):
        share = (p + q) / (rows + others)
        if share > 0:
            bins += 1
            chi2 += (p - rows * share) ** 2 / (rows * share) + (q - others * share) ** 2 / (others * share)
    return float(special.chdtrc(max(bins - 1, 1), chi2))


def z_test(z: float) -> float:
    """One-sided p-value of a standard normal."""
    return float(special.ndtr(-z))
