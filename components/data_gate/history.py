"""The spans before this one, from their manifests: how many rows, over which time, how often."""

import dataclasses
import math
import statistics
from collections.abc import Mapping

import numpy as np
from scipy import stats
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.data_gate.finding import BROKEN, DRIFTED, OK, Finding
from noria.components.data_gate.settings import LOOK_BACK, DataGateSettings, Volume
from noria.components.data_gate.significance import Test
from noria.core import periods

# Spans that a spread, and steps that a cadence, needs before it says anything.
ENOUGH = 3
# Smallest standard deviation of the log of a stream's rows per hour: few spans can agree by chance.
SPREAD = 0.05
# Bits that two equal fingerprints must hold in common: chance gives them once in 10^12 pairs of spans.
BITS = 40
# Share of a period by which starts and ends may differ from the cadence: 8 hours of a week.
TOLERANCE = 0.05
# Event times are whole seconds, so in short spans they differ by this many without a reason.
RESOLUTION = 1
# Probability below which a start that late is not chance.
RARE = 1e-3
# Missing rows below which a late start may be chance: of a Poisson stream, one in 10^8.
FEW = 20


@dataclasses.dataclass(frozen=True)
class Past:
    """One span: id, rows, and its first and last event in epoch seconds (None where spans go by row order).

    `grain` are the seconds that count for its last event: an hour, or the length of a shorter span.
    """

    span: int
    rows: int
    event_time: tuple[int, int] | None
    grain: int = periods.HOUR

    @property
    def density(self) -> float | None:
        """Rows per hour of event time; None without event times.

        The grain is added for the last event: a span within one hour is an hour long.
        """
        if self.event_time is None:
            return None
        return self.rows / (self.event_time[1] - self.event_time[0] + self.grain) * periods.HOUR


def usual(past: list[Past], rows: int, thin: int, since: int = 0) -> list[Past]:
    """The spans that are a reference: not thin, and not older than the new normal.

    Args:
      past: the accepted spans.
      rows: of the span that is judged.
      thin: rows below which a span is thin; one with less than a twentieth of `rows` is, too.
      since: the first span of the state that is normal now.
    """
    return [span for span in past if span.span >= since and not is_thin(span.rows, rows, thin)]


def is_thin(reference: int, rows: int, thin: int) -> bool:
    """Whether a span of `reference` rows says too little about one of `rows`.

    >>> is_thin(1, 500, 30), is_thin(40, 500, 30), is_thin(40, 5000, 30)
    (True, False, True)
    """
    return reference < thin or reference < rows / 20


def check_volume(
    span: Past, past: list[Past], every: str, thresholds: Volume | None
) -> tuple[list[Test], dict]:
    """Compares rows per hour of event time with the median of the last accepted spans.

    Per hour, because the first and the last span of a stream are partial: the last days of 2013 are two days with
    the traffic of two days. Days and hours are compared with a whole week, parts of an hour with the last 8 of them,
    and `broken` is measured at the lowest one: a Sunday is not a fault. The test is Student's t of the log ratio, with
    the spread of the stream's own spans (MAD), 5 % at least, which counts as five spans. Below 3 spans nothing is sure.

    Spans of `rows:N` have N rows by definition. With event times their rows per hour may be `drifted`: a stream that
    has more or fewer events is not a fault. Without event times there is nothing to compare.

    Returns:
      The tests, and the numbers for the verdict's `volume`.
    """
    numbers: dict = {"rows": span.rows, "per_hour": span.density, "median_rows": None, "ratio": None}
    recent, known = _peers(span, past, every)
    if not recent:
        return [], numbers
    by_rows = every.startswith("rows:")
    numbers["median_rows"] = statistics.median(other.rows for other in recent)
    densities = [other.density for other in recent if other.density is not None]
    if span.density is not None and densities:
        numbers["measure"], values, mine = "rows per hour of event time", densities, span.density
    elif not by_rows:
        numbers["measure"], values, mine = "rows", [float(other.rows) for other in recent], float(span.rows)
    else:
        return [], numbers
    middle = statistics.median(values)
    ratio = mine / middle if middle else 1.0
    numbers.update(ratio=ratio, median=middle, value=mine, spans=[other.span for other in recent])
    if thresholds is None:
        return [], numbers
    logs = np.log(np.maximum(values, 1e-9))
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs)))) if len(values) >= ENOUGH else 0.0
    spread = math.sqrt(max(spread, SPREAD) ** 2 + 1 / max(span.rows, 1))
    seasonal = (periods.length(every) or periods.WEEK) < periods.WEEK
    lowest = min(values) if seasonal else middle
    text = (
        f"{_amount(mine)} {numbers['measure']}, {ratio:.2f} of the median {_amount(middle)} "
        f"of the last {len(values)} accepted spans"
    )

    def test(what: str, base: float, sign: int, drifted: float, broken: float | None, note: str) -> Test:
        change = sign * math.log(max(mine, 1e-9) / max(base, 1e-9))
        t = change / (spread * math.sqrt(1 + 1 / len(values)))
        return Test(
            "volume",
            "",
            f"{what}: {text} ({note})",
            span.rows,
            float(stats.t.sf(t, len(values) + 4)) if known or broken is None else 1.0,
            change,
            drifted=sign * math.log(max(drifted, 1e-9)),
            broken=None if broken is None else sign * math.log(max(broken, 1e-9)),
            unsure=DRIFTED,
            part=what,
        )

    missing = not by_rows and mine < thresholds.low * lowest
    low = (
        test("rows are missing", lowest, -1, thresholds.low, thresholds.low, f"broken below {thresholds.low}")
        if missing
        else test("few rows", middle, -1, thresholds.drifted, None, f"drifted below {thresholds.drifted}")
    )
    return [
        low,
        test("many rows", middle, 1, thresholds.high, None, f"drifted above {thresholds.high}"),
    ], numbers


def _amount(value: float) -> str:
    """A number of rows; of a slow stream with its first digits."""
    return f"{value:,.1f}" if value >= 1 or not value else f"{value:.2g}"


def _peers(span: Past, past: list[Past], every: str) -> tuple[list[Past], bool]:
    """The spans to compare with, and whether they suffice to be sure.

    The last 8; of days a week; of hours those of the same hour in a week, or the last 8 where these are too few.
    """
    if every == "day":
        return past[-7:], len(past) >= 7
    if every == "hour" and span.event_time is not None:
        hour = span.event_time[0] // 3600 % 24
        same = [one for one in past[-168:] if one.event_time and one.event_time[0] // 3600 % 24 == hour]
        return (same, True) if len(same) >= ENOUGH else (past[-LOOK_BACK:], False)
    return past[-LOOK_BACK:], len(past) >= ENOUGH


def check_time(
    span: Past, past: list[Past], every: str, settings: DataGateSettings, usual: list[Past] | None = None
) -> list[Finding]:
    """Compares the span's time range with its calendar period, with the spans before and with their cadence.

    - Spans cut by a period (a week is from Monday, UTC) must lie within one: otherwise the clock is wrong. `broken`.
    - A range that an older span covers is a replay. `broken` above the share `overlap`.
    - Start and end both off the cadence of the last spans, in the same direction by more than 5 % of a period: the
      clock is shifted. `broken`. Only one of them: the span is partial. `drifted`. Spans cut by rows have no cadence.
    - A start so late that by the last spans' density at least 20 rows are missing, and by how the last spans began it
      happens less than once in 1,000 times: `broken` above the share `late_start` of a period. Rows were lost, or a
      clock was shifted before the stream was cut. The newest span may end early.

    Args:
      span: the one to judge.
      past: all accepted spans before it, which it must not overlap.
      every: what the spans were cut by; may be empty.
      settings: the gate's.
      usual: the spans that give the cadence; None: `past`.
    """
    if span.event_time is None:
        return []
    first, last = span.event_time
    findings = []
    if periods.length(every) and periods.number(every, first) != periods.number(every, last):
        text = f"events from {_when(first)} to {_when(last)} are not within one span ({every}): the clock is shifted"
        findings.append(Finding(BROKEN, "time", "", text))
    length = last - first
    for other in past:
        if other.event_time is None or settings.overlap is None:
            continue
        shared = min(last, other.event_time[1]) - max(first, other.event_time[0])
        if shared > settings.overlap * max(length, 1):
            text = (
                f"events from {_when(first)} to {_when(last)} are within span {other.span} "
                f"({_when(other.event_time[0])} to {_when(other.event_time[1])}) by {shared / max(length, 1):.0%}: "
                "a replay, or a shifted clock"
            )
            findings.append(Finding(BROKEN, "time", "", text))
    if every.startswith("rows:"):
        return findings  # N rows may take any time: there is no cadence
    known = past if usual is None else usual
    return findings + _cadence(span, known[-LOOK_BACK:], settings.late_start)


def _cadence(span: Past, past: list[Past], tolerated: float | None) -> list[Finding]:
    known = [other for other in past if other.event_time is not None]
    if len(known) <= ENOUGH or span.event_time is None:
        return []
    ids = np.array([other.span for other in known])
    times = np.array([other.event_time for other in known], float)
    # Per id, as a span in quarantine leaves a hole. The first span of a stream may begin late: medians forgive it.
    steps = np.diff(times, axis=0) / np.diff(ids)[:, None]
    spacing = float(np.median(steps))
    regular = np.abs(steps - spacing) <= max(TOLERANCE * abs(spacing), RESOLUTION)
    if spacing <= 0 or regular.sum(axis=0).min() < ENOUGH - 1:
        return []
    begin, end = np.median(times + spacing * (span.span - ids)[:, None], axis=0)
    late_start, late_end = span.event_time[0] - begin, span.event_time[1] - end
    limit = max(TOLERANCE * spacing, RESOLUTION)
    cadence = f"the cadence of the last {len(known)} spans (one each {periods.in_words(spacing)})"
    if min(abs(late_start), abs(late_end)) > limit and abs(late_start - late_end) < limit:
        gap = min(abs(late_start), abs(late_end)) / 3600
        empty = gap * statistics.median(other.density or 0.0 for other in known)
        side = "late" if late_start > 0 else "early"
        text = (
            f"first and last event are both {periods.in_words(abs(late_start))} {side}, by {cadence}: the clock is "
            f"shifted (about {empty:,.0f} rows are missing at one end)"
        )
        # A Poisson stream leaves so long a gap with this probability.
        severity = BROKEN if empty >= FEW else DRIFTED
        return [Finding(severity, "time", "", text, effect=gap, threshold=limit / 3600, p=math.exp(-empty))]
    if late_start > limit:
        late = periods.in_words(late_start)
        text = f"the span begins {late} late, by {cadence}: rows are missing, or the clock is wrong"
        starts = times[:, 0] + spacing * (span.span - ids)
        scatter = 1.4826 * float(np.median(np.abs(starts - begin)))
        missing = late_start / 3600 * statistics.median(other.density or 0.0 for other in known)
        chance = _chance_of_start(span.event_time[0], starts)
        lost = tolerated is not None and late_start > max(tolerated * spacing, 4 * scatter) and chance <= RARE
        return [
            Finding(
                BROKEN if lost and missing >= FEW else DRIFTED,
                "time",
                "",
                f"{text} (about {missing:,.0f} of them)",
                effect=late_start / spacing,
                threshold=tolerated,
                p=max(chance, math.exp(-missing)),
            )
        ]
    if late_end < -limit:
        text = f"the span ends {periods.in_words(-late_end)} early, by {cadence}: the span is incomplete"
        return [Finding(DRIFTED, "time", "", text)]
    return []


def _chance_of_start(first: float, starts: np.ndarray) -> float:
    """How likely a span begins as late as this, or later, by how the spans before began.

    A stream with few events at night begins when the first one comes: the starts scatter like an exponential
    distribution above the earliest one. With its mean estimated from k starts, a further one is beyond x with the
    probability (1 + x / S) ** -(k - 2), where S is the sum of the k. The largest one may itself be late, so it counts
    as the second largest does (a type II censored sample; J. Lawless, Statistical Models and Methods for Lifetime
    Data, 2003, section 4.1).

    Args:
      first: the span's first event.
      starts: of at least 3 spans before, moved by their cadence to where the span should begin, `[k]`.

    >>> minutes = np.array([0.0, 1, 1, 2, 2, 3, 4, 6])
    >>> round(_chance_of_start(5, minutes), 2), round(_chance_of_start(60, minutes), 6)
    (0.21, 0.000116)
    """
    beyond = np.sort(starts - starts.min())
    total = float(beyond[:-1].sum() + beyond[-2])
    late = first - float(starts.min())
    return (1 + late / max(total, 1.0)) ** -(len(starts) - 2)


def check_replay(
    mine: dict[str, str], others: dict[int, dict[str, str]], bits: Mapping[str, float] | None = None
) -> list[Finding]:
    """Compares the fingerprints of the features with those of every kept span.

    Args:
      mine: feature → fingerprint of this span.
      others: span → the same for older spans.
      bits: feature → how much its fingerprint says, see `bits_of`; None: enough.

    Returns:
      `broken` where four fifths of the features, and the number of rows, are the same: no two weeks are. Where the
      features say so little that chance can make two spans equal (few rows, two values each), `ok`.
    """
    for span, theirs in others.items():
        same = [name for name in mine if mine[name] == theirs.get(name)]
        if mine.get("") == theirs.get("") and len(same) >= 0.8 * len(mine):
            known = BITS if bits is None else sum(bits.get(name, 0.0) for name in same)
            chance = min(1.0, len(others) * 2.0 ** -min(known, 1000.0))
            text = (
                f"the span holds the same rows as span {span}: {len(same)} of {len(mine)} fingerprints are equal "
                f"(by chance: {chance:.0e})"
            )
            severity = BROKEN if known >= BITS else OK
            return [
                Finding(severity, "replay", "", text, effect=len(same) / len(mine), threshold=0.8, p=chance)
            ]
    return []


def bits_of(features: Mapping[str, statistics_pb2.FeatureNameStatistics]) -> dict[str, float]:
    """How many bits a feature's fingerprint holds: about half of log2(rows) for each value beyond the first.

    A multinomial's counts have an entropy of (values - 1) / 2 · log2(rows) and a constant. A number counts as 20 values
    at most, the edges of its histogram.
    """
    found = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("stats")
        if kind == "string_stats":
            values, common = feature.string_stats.unique, feature.string_stats.common_stats
        elif kind == "num_stats":
            common = feature.num_stats.common_stats
            values = len(
                {bucket.high_value for one in feature.num_stats.histograms for bucket in one.buckets}
            )
            # The standard histogram has 10 edges for all values.
            if feature.num_stats.min in (0, 1) and feature.num_stats.max == 1 and common.num_non_missing:
                mean = feature.num_stats.mean
                spread = mean * (1 - mean)
                values = 2 if abs(feature.num_stats.std_dev**2 - spread) < 1e-3 else values
        else:
            continue
        found[name] = max(values - 1, 0) / 2 * math.log2(max(common.num_non_missing, 2))
    return found


def _when(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")
