"""Times as people write them -> int64 epoch seconds."""

import collections
import dataclasses
import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion.arrow_values import blank, matches
from noria.ingestion.column_types import EXCEL
from noria.ingestion.month_names import english

# Absolute values up to here are seconds, milliseconds, microseconds; above, nanoseconds. 1e11 s is the year
# 5138, and 1e11 ms is March 1973.
_SCALES = ((1e11, 1), (1e14, 10**3), (1e17, 10**6), (np.inf, 10**9))
# Where most numbers are days, written YYYYMMDD, a number below this is an invalid date (as seconds all of them would
# be in the early seventies). Of any such numbers one in 27 is a day: seconds since the start of a recording.
_NO_DAY = 10**8
# Zones that people name, and hours from UTC (RFC 822, and those of Europe and Japan). Other names have no one meaning.
_ZONES = {
    **{
        "UTC": 0,
        "GMT": 0,
        "EST": -5,
        "EDT": -4,
        "CST": -6,
        "CDT": -5,
        "MST": -7,
        "MDT": -6,
        "PST": -8,
        "PDT": -7,
    },
    **{
        "WET": 0,
        "WEST": 1,
        "CET": 1,
        "CEST": 2,
        "MEZ": 1,
        "MESZ": 2,
        "EET": 2,
        "EEST": 3,
        "JST": 9,
        "KST": 9,
    },
}
_ISO = (
    r"^\s*(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?)?"
    rf"\s*(?:(?P<zone>[Zz]|{'|'.join(_ZONES)}|[+-]\d{{2}}(?::?\d{{2}})?)(?:\[[\w/+-]+\])?)?\s*$"
)
# Weeks of ISO 8601, which begin on Monday, and quarters.
_WEEK = r"^\s*(?P<year>\d{4})[- /]?[Ww](?P<part>\d{1,2})(?:-(?P<day>[1-7]))?\s*$"
_QUARTER = r"^\s*(?P<year>\d{4})[- /]?[Qq](?P<part>[1-4])\s*$"
_QUARTER_FIRST = r"^\s*[Qq](?P<part>[1-4])[- /]?(?P<year>\d{4})\s*$"
# Excel's day of 1 January 1970, and the first one that it has no date for. From March 1900 on its day 0 is 30 December
# 1899, because it has a 29 February 1900.
_EXCEL_1970, _EXCEL_10000 = 25_569, 2_958_466
# The end of a day, as some write it, where a format has hours and minutes.
_MIDNIGHT = r"\b24([:.]00)([:.]00)?\b"
_DOTTED_HALF = r"([aApP])\.\s?[mM]\.?"
# A format with a day, and not only with months or years.
NAMES_DAY = re.compile("%[dejcDFx]")
_DAYS = r"^\s*[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?\s*$"
_NUMBER = r"^\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*$"


def parse(values: pa.Array, form: str | None = None) -> tuple[pa.Array, np.ndarray]:
    """Reads times.

    Args:
      values: timestamps, dates, numbers or text, `[rows]`. Numbers are seconds, milliseconds, microseconds or
        nanoseconds since 1970 by their size, or days written YYYYMMDD, where at least half of those of that
        size are days.
        Text is ISO 8601 with or without a zone, a week (2024-W05), a quarter (2024 Q1), or such a number. Without a
        zone it is UTC; a week and a quarter begin with their first day.
      form: `strptime` format of text that is none of these; EXCEL for days as Excel counts them.

    Returns:
      int64 epoch seconds `[rows]`, null where missing, and a mask of the rows that cannot be read.
    """
    arrow_type = values.type
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type):
        return _from_arrow(values), np.zeros(len(values), bool)
    if form == EXCEL and (pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type)):
        return _from_excel(values)
    if form is not None and pa.types.is_floating(arrow_type):
        values = whole(values)
        arrow_type = values.type
    if form is not None and pa.types.is_integer(arrow_type):
        width = len(datetime.datetime(2001, 12, 12, 12, 12, 12).strftime(form))  # 09... became 9...
        values = pc.utf8_lpad(values.cast(pa.string()), width=width, padding="0")
        arrow_type = values.type
    if pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type):
        return _from_numbers(values)
    if pa.types.is_null(arrow_type):
        return values.cast(pa.int64()), np.zeros(len(values), bool)
    if not (pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)):
        return pa.nulls(len(values), pa.int64()), np.asarray(values.is_valid())
    # Times repeat within a batch (a bucket's hour): read each once.
    coded = values.dictionary_encode()
    times, bad = _from_text(coded.dictionary.cast(pa.string()), form)
    indices = np.asarray(coded.indices.fill_null(0)) if len(coded.dictionary) else np.zeros(len(values), int)
    valid = np.asarray(values.is_valid())
    if not len(coded.dictionary):
        return pa.nulls(len(values), pa.int64()), ~valid & False
    bad_rows = bad[indices] & valid
    return pa.array(times[indices], pa.int64(), mask=~valid | bad_rows), bad_rows


def halves(texts: pa.Array) -> pa.Array:
    """The halves of the day as AM and PM, where people write a.m. or p. m., and behind a plain blank."""
    return pc.replace_substring_regex(pc.replace_substring_regex(texts, r"\p{Z}+", " "), _DOTTED_HALF, r"\1M")


def looks_like_time(values: pa.Array) -> np.ndarray:
    """Which texts are ISO 8601 times; numbers are not."""
    return np.asarray(pc.match_substring_regex(values, _ISO).fill_null(False))


def _from_arrow(values: pa.Array) -> pa.Array:
    if pa.types.is_date32(values.type):
        values = values.cast(pa.timestamp("s"))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    unit = "ms" if pa.types.is_date64(values.type) else values.type.unit
    ticks = values.cast(pa.int64())
    valid = np.asarray(ticks.is_valid())
    seconds = np.floor_divide(np.asarray(ticks.fill_null(0)), per_second[unit])
    return pa.array(seconds, pa.int64(), mask=~valid)


def whole(values: pa.Array) -> pa.Array:
    """Whole numbers that a gap has made floats, as pandas does; other floats as they are."""
    try:
        return blank(values, pc.is_nan(values).fill_null(False)).cast(pa.int64())
    except pa.ArrowInvalid:
        return values


def _from_excel(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    valid = np.asarray(values.is_valid())
    days = np.asarray(values.fill_null(0)).astype(np.float64)
    valid &= ~np.isnan(days)
    bad = valid & ~((days >= 0) & (days < _EXCEL_10000))
    seconds = np.rint((np.where(valid & ~bad, days, 0.0) - _EXCEL_1970) * 86_400).astype(np.int64)
    return pa.array(seconds, pa.int64(), mask=~valid | bad), bad


def _from_numbers(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    valid = np.asarray(values.is_valid())
    filled = np.asarray(values.fill_null(0))
    if filled.dtype.kind == "f":
        valid &= ~np.isnan(filled)
    # Beyond 2^63 nothing is a time.
    bad = valid & ~(np.abs(filled.astype(float)) < 9.2e18)
    times, impossible = _scale(np.where(valid & ~bad, filled, 0), valid & ~bad)
    bad |= impossible
    return pa.array(times, pa.int64(), mask=~valid | bad), bad


def _scale(numbers: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, and which numbers are no times."""
    exact = numbers.astype(np.int64) if numbers.dtype.kind == "f" else numbers.astype(np.int64, copy=False)
    size = np.abs(exact.astype(float))
    times = exact.copy()
    below = 0.0
    for limit, per_second in _SCALES:
        chosen = (size >= below) & (size < limit)
        times[chosen] = np.floor_divide(exact[chosen], per_second)
        below = limit
    days, possible = _written_days(exact)
    small = present & (size < _NO_DAY)
    if 2 * (possible & present).sum() < max(int((small & (exact != 0)).sum()), 1):
        return times, np.zeros(len(times), bool)
    return np.where(possible, days, times), small & ~possible


def _written_days(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """20130131 means a day: its seconds, and which numbers may be meant so."""
    possible = (numbers >= 19000101) & (numbers <= 21001231)
    written = np.where(possible, numbers, 19700101)
    times, bad = _seconds(written // 10_000, written // 100 % 100, written % 100)
    return times, possible & ~bad


def _from_text(texts: pa.Array, form: str | None) -> tuple[np.ndarray, np.ndarray]:
    if form == EXCEL:
        return _from_excel_text(texts)
    if form is not None:
        # As pandas writes whole numbers with gaps.
        return _from_format(pc.replace_substring_regex(texts, r"^\s*(\d+)\.0\s*$", r"\1"), form)
    try:  # a tenth of the time; Arrow reads other lengths in its own way
        lengths = np.asarray(pc.utf8_length(texts).fill_null(19))
        if np.isin(lengths, (10, 16, 19)).all():
            read = pc.cast(texts, pa.timestamp("s")).cast(pa.int64())
            return np.asarray(read.fill_null(0)), np.zeros(len(texts), bool)
    except pa.ArrowInvalid:
        pass
    times = np.zeros(len(texts), np.int64)
    beyond = np.zeros(len(texts), bool)
    number = np.asarray(pc.match_substring_regex(texts, _NUMBER).fill_null(False))
    if number.any():
        chosen = texts.filter(pa.array(number))
        # Arrow reads no leading plus.
        trimmed = pc.replace_substring_regex(pc.utf8_trim_whitespace(chosen), r"^\+", "")
        try:
            numeric: pa.Array = pc.cast(trimmed, pa.int64())
        except pa.ArrowInvalid:
            numeric = pc.cast(trimmed, pa.float64())
        parsed, beyond[number] = _from_numbers(numeric)
        times[number] = np.asarray(parsed.fill_null(0))
    if number.all():
        return times, beyond
    found = pc.extract_regex(texts, _ISO)
    matched = np.asarray(found.is_valid()) & ~number
    parts = {name: found.field(i) for i, name in enumerate(_names(found.type))}
    year, month, day, hour, minute, second = (
        _integers(parts[name], matched) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    seconds, impossible = _seconds(year, month, day)
    midnight = (hour == 24) & (minute == 0) & (second == 0)  # ISO 8601: the end of the day
    impossible |= ((hour > 23) & ~midnight) | (minute > 59) | (second > 60)
    seconds += hour * 3600 + minute * 60 + second - _offset(parts["zone"])
    good = matched & ~impossible
    times[good] = seconds[good]
    for pattern, first_day in ((_WEEK, _monday), (_QUARTER, _quarter), (_QUARTER_FIRST, _quarter)):
        rest = ~(number | good)
        if not rest.any():
            break
        found = pc.extract_regex(texts, pattern)
        matched = np.asarray(found.is_valid()) & rest
        parts = {name: _integers(found.field(i), matched) for i, name in enumerate(_names(found.type))}
        seconds, impossible = first_day(parts)
        good |= matched & ~impossible
        times[matched] = seconds[matched]
    return times, beyond | ~(number | good)


def _from_excel_text(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    number = matches(texts, _DAYS)
    times, bad = map(np.copy, _from_text(blank(texts, number), None))  # a later file may be in ISO 8601
    days = pc.utf8_ltrim(pc.utf8_trim_whitespace(texts.filter(pa.array(number))), "+")
    seconds, beyond = _from_excel(pc.replace_substring(days, ",", ".").cast(pa.float64()))
    times[number], bad[number] = np.asarray(seconds.fill_null(0)), beyond
    return times, bad


def _monday(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The days of ISO weeks; week 1 has 4 January. A week 53 that a year does not have is bad."""
    fourth, _ = _seconds(parts["year"], np.ones_like(parts["year"]), np.full_like(parts["year"], 4))
    monday = fourth - (fourth // 86_400 + 3) % 7 * 86_400  # 1 January 1970 was a Thursday
    week = monday + (parts["part"] - 1) * 7 * 86_400
    # The year of a week is that of its Thursday.
    years = (week + 3 * 86_400).astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    bad = (parts["part"] < 1) | (years != parts["year"])
    return week + (np.maximum(parts["day"], 1) - 1) * 86_400, bad


def _quarter(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return _seconds(parts["year"], 3 * parts["part"] - 2, np.ones_like(parts["year"]))


def _from_format(texts: pa.Array, form: str) -> tuple[np.ndarray, np.ndarray]:
    texts = pc.utf8_trim_whitespace(texts)
    if "%b" in form or "%B" in form:
        texts = english(texts, short="%b" in form)
    if "%p" in form:
        texts = halves(texts)
    if "%H" in form and (late := matches(texts, _MIDNIGHT)).any():
        starts = pc.replace_substring_regex(texts.filter(pa.array(late)), _MIDNIGHT, r"00\1\2")
        texts = pc.replace_with_mask(texts, pa.array(late), starts)
        times, bad = _from_format(texts, form)
        return times + 86_400 * late, bad
    try:
        if not NAMES_DAY.search(form):
            raise pa.ArrowInvalid("the C library takes the day before the first one where no day is written")
        fast = pc.strptime(texts, format=form, unit="s", error_is_null=True).cast(pa.int64())
    except pa.ArrowInvalid:  # a directive that the C library has none for
        fast = pa.nulls(len(texts), pa.int64())
    times = np.asarray(fast.fill_null(0)).copy()
    # Arrow knows no %f and %z, and takes 31 February for 3 March: Python reads the few that may be so.
    days = (times // 86_400).astype("datetime64[D]")
    day = (days - days.astype("datetime64[M]")).astype(int)
    again = ~np.asarray(fast.is_valid()) | (day < 3)
    bad = np.zeros(len(texts), bool)
    for i in np.flatnonzero(again & np.asarray(texts.is_valid())):
        try:
            moment = datetime.datetime.strptime(texts[int(i)].as_py(), form)
        except ValueError:
            bad[i] = True
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        times[i] = int(moment.timestamp() // 1)
    if (
        iso := bad & looks_like_time(texts)
    ).any():  # a later file may be written so; it can mean nothing else
        times[iso], bad[iso] = _from_text(texts.filter(pa.array(iso)), None)
    return times, bad


@dataclasses.dataclass
class FormatCounts:
    """Which of some formats a column's texts are in: found by all rows. Add all batches first, then read the results.

    Args:
      forms: `strptime` formats, the preferred ones first.
    """

    forms: tuple[str, ...]
    present: int = 0
    fits: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    words: set[str] = dataclasses.field(default_factory=set)

    def add(self, texts: pa.Array) -> None:
        coded = texts.dictionary_encode()
        weights = np.bincount(np.asarray(coded.indices.drop_null()), minlength=len(coded.dictionary))
        before = self.present
        self.present += int(weights.sum())
        for form in self.forms:
            # A format that few of the first rows are in is none: the rest is not tried.
            if before < 10_000 or self.fits[form] > 0.5 * before:
                self.fits[form] += int(weights[~_from_format(coded.dictionary, form)[1]].sum())

    @property
    def best(self) -> tuple[str, ...]:
        """The formats that the most rows are in: two if days and months cannot be distinguished; none below 90 %."""
        most = max(self.fits.values(), default=0)
        if not most or most < 0.9 * self.present:
            return ()
        return tuple(form for form in self.forms if self.fits[form] == most)


def _names(arrow_type: pa.DataType) -> list[str]:
    return [arrow_type[i].name for i in range(arrow_type.num_fields)]


def _integers(texts: pa.Array, matched: np.ndarray) -> np.ndarray:
    # A group that took no part is an empty text.
    absent = ~matched | np.asarray(pc.equal(texts.fill_null(""), ""))
    filled = pc.replace_with_mask(texts, pa.array(absent), "0")
    return np.asarray(pc.cast(filled, pa.int64())).copy()


def _offset(zones: pa.Array) -> np.ndarray:
    coded = zones.fill_null("").dictionary_encode()
    seconds = np.zeros(max(len(coded.dictionary), 1), np.int64)
    for i, zone in enumerate(coded.dictionary.to_pylist()):
        if zone in _ZONES:
            seconds[i] = _ZONES[zone] * 3600
        elif zone and zone[0] in "+-":
            digits = zone[1:].replace(":", "").ljust(4, "0")
            seconds[i] = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return seconds[np.asarray(coded.indices)]


def _seconds(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Midnight UTC of the days, and which days there are not."""
    bad = (month < 1) | (month > 12) | (day < 1) | (day > 31)
    months = (year - 1970) * 12 + np.where(bad, 0, month - 1)
    first = months.astype("datetime64[M]")
    days = first.astype("datetime64[D]") + np.where(bad, 0, day - 1).astype("timedelta64[D]")
    bad |= days.astype("datetime64[M]") != first
    return days.astype("datetime64[s]").astype(np.int64), bad
