"""The result of a check: one sentence for a person, and a severity."""

import dataclasses
from collections.abc import Iterable

OK = "ok"
DRIFTED = "drifted"
BROKEN = "broken"
_ORDER = (OK, DRIFTED, BROKEN)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
      severity: `ok` (reported, changes nothing), `drifted` or `broken`.
      check: which check: schema, drift, volume, time, label, stuck, shuffled, replay, ...
      feature: the feature it is about; empty for the span as a whole.
      text: what was found, what was expected, how sure it is.
      effect: how large it is, in the check's own measure; None if there is no number.
      threshold: the effect above which it is a finding.
      rows: that it is based on.
      p: probability of such an effect by chance, after the correction for all of the span's tests; None where chance
        has no part in it: a missing column is missing.
    """

    severity: str
    check: str
    feature: str
    text: str
    effect: float | None = None
    threshold: float | None = None
    rows: int | None = None
    p: float | None = None


def worst(findings: Iterable[Finding]) -> str:
    """The highest severity among the findings; `ok` if there is none.

    >>> worst([Finding("ok", "schema", "a", ""), Finding("drifted", "drift", "b", "")])
    'drifted'
    """
    return max((finding.severity for finding in findings), key=_ORDER.index, default=OK)
