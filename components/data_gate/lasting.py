"""A state that lasts is the new normal: after a few spans with the same finding the reference is replaced."""

import dataclasses
from pathlib import Path

from noria.components.data_gate.data_verdict import Evidence, Statistics, Verdict, judge
from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding
from noria.components.data_gate.history import Past
from noria.components.data_gate.settings import DataGateSettings


@dataclasses.dataclass(frozen=True)
class Held:
    """A span in quarantine.

    Attributes:
      span: its id, rows and times.
      broken: (check, feature) of what was broken in it.
      statistics: of its labelled rows.
    """

    span: Past
    broken: frozenset[tuple[str, str]]
    statistics: Statistics


def accept(
    verdict: Verdict,
    evidence: Evidence,
    held: list[Held],
    settings: DataGateSettings,
    project: Path | str | None = None,
) -> Verdict | None:
    """The verdict of a broken span whose state has lasted, or None where it has not.

    It has if the spans right before it are in quarantine, `settings.lasting` of them with this one, for a finding that
    this one shares, and if this span is not broken when it is compared with them instead of with what came before.
    What is wrong by its structure, such as a missing column or the rows of an older span, never becomes normal.

    Args:
      verdict: of the span, `broken`.
      evidence: what it is based on.
      held: the spans in quarantine since the last accepted one, ascending.
      settings: the gate's.
      project: folder of the project, for the user's own measures.

    Returns:
      A `drifted` verdict with every reason, and one more that names the spans.
    """
    if settings.lasting is None or len(held) < settings.lasting - 1:
        return None
    recent = held[-(settings.lasting - 1) :]
    mine = set(verdict.broken)
    if not all(mine & span.broken for span in recent) or not mine <= set().union(*(s.broken for s in recent)):
        return None
    among_themselves = judge(
        dataclasses.replace(
            evidence,
            references={f"span {span.span.span}": span.statistics for span in recent},
            usual=[span.span for span in recent],
            past_statistics=[span.statistics for span in recent],
        ),
        settings,
        project,
    )
    if any(found.severity == BROKEN and not _share(found) for found in among_themselves.findings):
        return None
    first = recent[0].span.span
    note = (
        f"spans {first} to {verdict.span} are similar and have the same finding: this is the new normal state, and "
        "older spans are no longer references; `noria unquarantine --all --accept-as-normal` takes the quarantined "
        "ones out"
    )
    softened = [
        dataclasses.replace(one, severity=DRIFTED) if one.severity == BROKEN else one
        for one in verdict.findings
    ]
    findings = [Finding(OK, "normal", "", note), *softened]
    return dataclasses.replace(verdict, verdict=DRIFTED, findings=findings)


def _share(found: Finding) -> bool:
    """Whether a finding is about a share of values against the schema, which may be normal."""
    return found.check == "schema" and found.p is not None
