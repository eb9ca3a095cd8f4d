"""The spans before this one, from their manifests: how many rows, over which time, how often."""

import dataclasses
import statistics

import numpy as np

from noria.components.data_gate.finding import BROKEN, DRIFTED, Finding
from noria.components.data_gate.settings import DataGateSettings, Volume
from noria.core import periods

LOOK_BACK = 8
# Spans that a spread, and steps that a cadence, needs before it says anything.
ENOUGH = 3
# Share of a period by which starts and ends may differ from the cadence: 8 hours of a week.
TOLERANCE = 0.05
# Missing rows below which a late start may be chance: of a Poisson stream, one in 10^8.
FEW = 20


@dataclasses.dataclass(frozen=True)
class Past:
    """One span: id, rows, and its first and last event in epoch seconds (None where spans go by row order)."""

    span: int
    rows: int
    event_time: tuple[int, int] | None

    @property
    def density(self) -> float | None:
        """Rows per hour of event time; None without event times.

        One hour is added for the hour of the last event: a span within one hour is an hour long.
        """
        if self.event_time is None:
            return None
        return self.rows / ((self.event_time[1] - self.event_time[0]) / 3600 + 1)


def check_volume(
    span: Past, past: list[Past], every: str, thresholds: Volume | None
) -> tuple[list[Finding], dict]:
    """Compares rows per hour of event time with the median of the last 8 accepted spans.

    Per hour, because the first and the last span of a stream are partial: the last days of 2013 are two days with
    the traffic of two days. Where a stream's own spread is large (MAD of the log over at least 3 spans), `broken`
    needs four standard deviations as well. Spans of `rows:N` have N rows by definition; without event times there is
    nothing to compare then.

    Returns:
      The findings, and the numbers for the verdict's `volume`.
    """
    numbers: dict = {"rows": span.rows, "per_hour": span.density, "median_rows": None, "ratio": None}
    recent = past[-LOOK_BACK:]
    if not recent:
        return [], numbers
    numbers["median_rows"] = statistics.median(other.rows for other in recent)
    densities = [other.density for other in recent if other.density is not None]
    if span.density is not None and densities:
        numbers["measure"], values, mine = "rows per hour of event time", densities, span.density
    elif not every.startswith("rows:"):
        numbers["measure"], values, mine = "rows", [float(other.rows) for other in recent], float(span.rows)
    else:
        return [], numbers
    middle = statistics.median(values)
    ratio = mine / middle if middle else 1.0
    numbers.update(ratio=ratio, median=middle, value=mine, spans=[other.span for other in recent])
    if thresholds is None:
        return [], numbers
    logs = np.log(np.maximum(values, 1e-9))
    # 1.4826 MAD estimates a normal standard deviation; five percent at least, as few spans can agree by chance.
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs)))) if len(values) >= ENOUGH else 0.0
    far = np.log(max(ratio, 1e-9)) < -4 * max(spread, 0.05)
    text = (
        f"{mine:,.1f} {numbers['measure']}, {ratio:.2f} of the median {middle:,.1f} "
        f"of the last {len(values)} accepted spans"
    )
    if ratio < thresholds.low and far:
        return [
            Finding(BROKEN, "volume", "", f"rows are missing: {text} (broken below {thresholds.low})")
        ], numbers
    if ratio < thresholds.drifted:
        return [
            Finding(DRIFTED, "volume", "", f"few rows: {text} (drifted below {thresholds.drifted})")
        ], numbers
    if ratio > thresholds.high:
        return [
            Finding(DRIFTED, "volume", "", f"many rows: {text} (drifted above {thresholds.high})")
        ], numbers
    return [], numbers


def check_time(span: Past, past: list[Past], every: str, settings: DataGateSettings) -> list[Finding]:
    """Compares the span's time range with its calendar period, with the spans before and with their cadence.

    - Spans cut by hour, day or week (from Monday, UTC) must lie within one: otherwise the clock is wrong. `broken`.
    - A range that an older span covers is a replay. `broken` above the share `overlap`.
    - Start and end both off the cadence of the last spans, in the same direction by more than 5 % of a period: the
      clock is shifted. `broken`. Only one of them: the span is partial. `drifted`. Spans cut by rows have no cadence.
    - A start so late that by the last spans' density at least 20 rows are missing, and that is far outside of how the
      last starts scatter: `broken` above the share `late_start` of a period. Rows were lost, or a clock was shifted
      before the stream was cut. The newest span may end early.
    """
    if span.event_time is None:
        return []
    first, last = span.event_time
    findings = []
    if every in periods.LENGTHS and periods.number(every, first) != periods.number(every, last):
        text = (
            f"events from {_when(first)} to {_when(last)} do not lie within one {every}: the clock is shifted"
        )
        findings.append(Finding(BROKEN, "time", "", text))
    length = last - first
    for other in past:
        if other.event_time is None or settings.overlap is None:
            continue
        shared = min(last, other.event_time[1]) - max(first, other.event_time[0])
        if shared > settings.overlap * max(length, 1):
            text = (
                f"events from {_when(first)} to {_when(last)} lie within span {other.span} "
                f"({_when(other.event_time[0])} to {_when(other.event_time[1])}) by {shared / max(length, 1):.0%}: "
                "a replay, or a shifted clock"
            )
            findings.append(Finding(BROKEN, "time", "", text))
    if every.startswith("rows:"):
        return findings  # N rows may take any time: there is no cadence
    return findings + _cadence(span, past[-LOOK_BACK:], settings.late_start)


def _cadence(span: Past, past: list[Past], tolerated: float | None) -> list[Finding]:
    known = [other for other in past if other.event_time is not None]
    if len(known) <= ENOUGH or span.event_time is None:
        return []
    ids = np.array([other.span for other in known])
    times = np.array([other.event_time for other in known], float)
    # Per id, as a span in quarantine leaves a hole. The first span of a stream may begin late: medians forgive it.
    steps = np.diff(times, axis=0) / np.diff(ids)[:, None]
    spacing = float(np.median(steps))
    regular = np.abs(steps - spacing) < TOLERANCE * abs(spacing)
    if spacing <= 0 or regular.sum(axis=0).min() < ENOUGH - 1:
        return []
    begin, end = np.median(times + spacing * (span.span - ids)[:, None], axis=0)
    late_start, late_end = span.event_time[0] - begin, span.event_time[1] - end
    limit = TOLERANCE * spacing
    cadence = f"the cadence of the last {len(known)} spans (one each {spacing / 3600:.0f} h)"
    if min(abs(late_start), abs(late_end)) > limit and abs(late_start - late_end) < limit:
        text = f"first and last event both lie {late_start / 3600:+.0f} h off {cadence}: the clock is shifted"
        return [Finding(BROKEN, "time", "", text)]
    if late_start > limit:
        text = f"the span begins {late_start / 3600:.0f} h late, by {cadence}: rows are missing, or the clock is off"
        starts = times[:, 0] + spacing * (span.span - ids) - begin
        scatter = 1.4826 * float(np.median(np.abs(starts)))
        missing = late_start / 3600 * statistics.median(other.density or 0.0 for other in known)
        lost = tolerated is not None and late_start > max(tolerated * spacing, 4 * scatter)
        return [Finding(BROKEN if lost and missing >= FEW else DRIFTED, "time", "", text)]
    if late_end < -limit:
        text = f"the span ends {-late_end / 3600:.0f} h early, by {cadence}: it is partial"
        return [Finding(DRIFTED, "time", "", text)]
    return []


def check_replay(mine: dict[str, str], others: dict[int, dict[str, str]]) -> list[Finding]:
    """Compares the fingerprints of the features with those of every kept span.

    Args:
      mine: feature → fingerprint of this span.
      others: span → the same for older spans.

    Returns:
      `broken` where four fifths of the features, and the number of rows, are the same: no two weeks are.
    """
    for span, theirs in others.items():
        same = [name for name in mine if mine[name] == theirs.get(name)]
        if mine.get("") == theirs.get("") and len(same) >= 0.8 * len(mine):
            text = f"the span holds the same rows as span {span}: {len(same)} of {len(mine)} fingerprints are equal"
            return [Finding(BROKEN, "replay", "", text)]
    return []


def _when(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")
