"""How `noria init` finds out how a column of times is written."""

import collections
import datetime
import re
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError
from noria.ingestion import times
from noria.ingestion.column_types import EXCEL
from noria.ingestion.month_names import english

_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
_DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y")
_NAMED = (
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d/%b/%Y", "%d. %b %Y", "%b %d, %Y", "%b %d %Y"),
    *("%d-%B-%Y", "%d %B %Y", "%d. %B %Y", "%B %d, %Y", "%B %d %Y", "%a, %d %b %Y", "%A, %B %d, %Y"),
)
_YEAR_FIRST = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y. %m. %d.",
    "%Y:%m:%d",
    "%Y年%m月%d日",
    "%Y%m%d",
    "%y/%m/%d",
)
_CLOCKS = (
    *("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p", "%H:%M:%S.%f", "%H:%M:%S %z"),
    *("%Hh%M", "%H.%M", "%H.%M.%S", "%H"),
)
# The usual ones first: where several fit all rows and mean other times, the first is used, and a note names another.
FORMATS = (
    *(
        date + clock
        for dates in (_MONTH_FIRST, _DAY_FIRST, _NAMED, _YEAR_FIRST)
        for date in dates
        for clock in ("", *(f" {clock}" for clock in _CLOCKS), *(f", {clock}" for clock in _CLOCKS[:4]))
    ),
    *(f"%a, %d %b %Y %H:%M:%S {zone}" for zone in ("GMT", "UTC")),
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y", "%a %b %d %H:%M:%S %Y"),
    *("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S", "[%d/%b/%Y:%H:%M:%S %z]"),
    *("%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M", "%Y%m%dT%H%M%S%z", "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S"),
    *(
        "%Y-%m-%d_%H:%M:%S",
        "%Y-%m-%d_%H-%M-%S",
        "%Y-%m-%d-%H.%M.%S",
        "%Y-%m-%d-%H.%M.%S.%f",
        "%d%b%Y:%H:%M:%S",
    ),
    *("%H:%M %d/%m/%Y", "%H:%M:%S %d/%m/%Y", "%H:%M %d.%m.%Y", "%H:%M %m/%d/%Y"),
    *("%d-%b-%y %I.%M.%S.%f %p", "%d-%b-%Y %I.%M.%S.%f %p", "%d%b%Y", "%d%b%y"),
    *("%Y-%j", "%Y-%m", "%Y/%m", "%m/%Y", "%b-%Y", "%b %Y", "%B %Y", "%b-%y", "%Y年%m月"),
)
YEAR = 365.2425 * 86_400  # mean seconds of a year
# A time whose parts are all of two digits (or four).
_ANY = datetime.datetime(2011, 12, 12, 12, 12, 12, tzinfo=datetime.timezone.utc)
# Times written as whole numbers, and their digits. (YYYYMMDD needs no format.)
DIGIT_FORMATS = {
    "%Y": 4,
    "%Y%m": 6,
    "%y%m%d": 6,
    "%Y%j": 7,
    "%y%m%d%H": 8,
    "%Y%m%d%H": 10,
    "%y%m%d%H%M": 10,
    "%Y%m%d%H%M": 12,
    "%Y%m%d%H%M%S": 14,
}
# Different numbers that decide; 20 where none is named here. Of seconds since 1970 none would be a month for long.
FEWEST = {"%Y": 2, "%Y%m": 6}
# The range of a number that is read so, 1990 to 2100; days and months from 1900 on, years from 1500 on.
WRITTEN = (631_152_000, 4_102_444_800)
FIRST_DAY = -2_208_988_800
FIRST_YEAR = -14_831_769_600
FROM = {"%Y": FIRST_YEAR, "%Y%m": FIRST_DAY}
# The range, as seconds since 1970, of numbers in a column that was not named as a time: 2000 to 2040.
LIKELY = (946_684_800, 2_208_988_800)
# The range of days that Excel has counted, 1950 to 2100.
EXCEL_DAYS = (18_264, 73_051)
# Different texts that decide which formats are tried on all, and the share of them that one must fit.
SAMPLE, FITTING = 60, 0.6


def event_times(
    values: pa.ChunkedArray, name: str, form: str | None = None, day_first: bool | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Epoch seconds of the rows that have a time, and the formats that fit, where one was needed.

    All rows decide. There are several formats where days and months cannot be distinguished: the first one was used.

    Args:
      values: the column.
      name: its name, for messages.
      form: its format, as the user gave it; None to find it.
      day_first: whether other columns have the day before the month; None if they do not tell.

    Raises:
      DataError: the column holds no times.
    """
    array = values.combine_chunks()
    if form is not None:
        seconds, bad = times.parse(array, form)
        if not bad.any() or bad.mean() <= 0.01:
            return _present(seconds, name), (form,)
        raise _no_times(array, bad, name, f"times of the format {form}")
    if pa.types.is_floating(array.type) and _decimal_years(array):
        raise DataError(
            "the time column holds years with decimals, which are not read",
            where=f"{name}: {next(year for year in array.to_pylist() if year and year % 1)}",
            next_step="write dates, such as 2000-02; or omit --time to use the row order",
        )
    if forms := _digit_formats(_whole(array)):
        return _present(times.parse(_whole(array), forms[0])[0], name), forms
    if _excel(array):
        return _present(times.parse(array, EXCEL)[0], name), (EXCEL,)
    seconds, bad = times.parse(array)
    if not bad.any():
        return _present(seconds, name), ()
    if pa.types.is_string(array.type):
        counts = formats(array)
        if counts.best and (1 - counts.fits[counts.best[0]] / counts.present) <= min(bad.mean(), 0.01):
            readings = _readings(array, counts.best, day_first)
            return _present(next(iter(readings.values())), name), tuple(readings)
        usual = max(counts.fits, key=lambda each: counts.fits[each], default="")
        if usual and counts.fits[usual] > 0.5 * counts.present and bad.mean() > 0.01:
            bad = times.parse(array, usual)[1]
            said = f"times of the format {usual}, as {1 - bad.sum() / counts.present:.0%} of its values are"
            raise _no_times(array, bad, name, said, usual)
    if bad.mean() <= 0.01:
        return _present(seconds, name), ()  # single bad rows become dead letters
    raise _no_times(array, bad, name, "ISO 8601 times or numbers since 1970")


def varies(seconds: np.ndarray) -> bool:
    """Whether the hours or the weekdays of times differ, which are the features that come from them."""
    return len(np.unique(seconds % (7 * 86_400))) > 1


def covers_a_year(seconds: pa.ChunkedArray, share: float) -> bool:
    """Whether the first rows hold each season: with less, the time of the year would be a trend to the model.

    Args:
      seconds: epoch seconds, in the order of the rows.
      share: of the rows that the first model is trained on.
    """
    extremes = pc.min_max(seconds.slice(0, round(len(seconds) * share)))
    if not extremes["min"].is_valid:
        return False
    return extremes["max"].as_py() - extremes["min"].as_py() >= YEAR


def formats(texts: pa.Array) -> times.FormatCounts:
    """Which of FORMATS texts are in."""
    different = texts.drop_null().unique()
    different = different.filter(
        pa.array(~times.looks_like_time(different))
    )  # ISO 8601 is read beside each format
    # Drawn, because formats may alternate: each nth text would be in one of them.
    some = different.take(pa.array(np.random.default_rng(0).permutation(len(different))[:SAMPLE]))
    shapes = collections.Counter(
        _shape(text) for text in english(times.halves(some), short=False).to_pylist()
    )
    usual = max(shapes, key=lambda shape: shapes[shape], default="")
    # Python takes the 02 of 2024-02 for a day of the year, too.
    days = all(re.search(r"(?<!\d)\d{3}(?!\d)", text) for text in some.to_pylist())
    sample = times.FormatCounts(
        tuple(form for form in FORMATS if _shape(_ANY.strftime(form)) == usual and (days or "%j" not in form))
    )
    sample.add(some)
    counts = times.FormatCounts(
        tuple(form for form in sample.forms if sample.fits[form] >= max(1, FITTING * sample.present))
    )
    counts.add(texts)
    return counts


def day_first(forms: Sequence[tuple[str, ...]]) -> bool | None:
    """Whether the formats of a table's columns have the day before the month; None if they do not tell, or differ.

    Args:
      forms: those that fit each column; only a column that one format fits tells.
    """
    found = {_day_first(each[0]) for each in forms if len(each) == 1} - {None}
    return found.pop() if len(found) == 1 else None


def written(values: pa.Array) -> tuple[str, ...]:
    """The formats of a column whose values are times, but neither ISO 8601 nor seconds since 1970; () if they are not.

    There are several where days and months cannot be distinguished, as in `event_times`.
    """
    if pa.types.is_integer(values.type):
        return tuple(form for form in _digit_formats(values) if "%d" in form)
    if not pa.types.is_string(values.type):
        return ()
    different = values.drop_null().unique()
    some = different.slice(0, 200)
    likely = pc.and_(pc.match_substring_regex(some, "\\d"), pc.less(pc.utf8_length(some), 40))
    if len(different) < 5 or pc.sum(likely).as_py() < 0.9 * len(some):
        return ()
    return tuple(_readings(values, formats(values).best, None))


def _readings(texts: pa.Array, forms: Sequence[str], day_first: bool | None) -> dict[str, pa.Array]:
    """The formats that read texts as different plausible times, and these; the first of them if none is plausible."""
    readings: dict[str, pa.Array] = {}
    for form in preferred(forms, day_first):
        read = times.parse(texts, form)[0]
        # Most further ones are only another way to write the first one.
        if not readings or _plausible(read) and not any(map(read.equals, readings.values())):
            readings[form] = read
    return readings


def preferred(forms: Sequence[str], day_first: bool | None) -> tuple[str, ...]:
    """Formats, first those with the day before the month, or behind it; in their own order if None."""
    return tuple(sorted(forms, key=lambda form: day_first is not None and _day_first(form) != day_first))


def _day_first(form: str) -> bool | None:
    """Whether a format has the day before the month, where both are numbers; None if the year is before them."""
    day, month, year = form.find("%d"), form.find("%m"), max(form.find("%Y"), form.find("%y"))
    return None if min(day, month) < 0 or year < max(day, month) else day < month


def is_time(values: pa.Array) -> bool:
    """Whether all numbers of a column are seconds (or milliseconds, ...) since 1970, or days written YYYYMMDD.

    Such a column only grows: as a number it would lie beyond all that a model has learnt. Only where the numbers leave
    little doubt: in this century, and at least 20 different ones.
    """
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        return False
    different = pc.unique(values.drop_null())
    if len(different) < 20:
        return False
    smallest, largest = pc.min(different).as_py(), pc.max(different).as_py()
    if largest < LIKELY[0] and not 19_000_101 <= smallest <= largest <= 21_001_231:
        return False
    seconds, bad = times.parse(different)
    days = largest < LIKELY[0]
    low, high = (FIRST_DAY, WRITTEN[1]) if days else LIKELY
    first, last = pc.min(seconds).as_py(), pc.max(seconds).as_py()
    if bad.any() or not low <= first <= last < high or first > time.time():
        return False
    # A number of that size that is read as seconds is itself; one that is a day is not.
    return (
        not days
        or pc.min(pc.abs(pc.subtract(seconds.cast(pa.float64()), different.cast(pa.float64())))).as_py() > 0
    )


def _shape(text: str) -> str:
    """A text with all numbers and all words alike: Python needs a millisecond to find that a text has another shape."""
    text = re.sub(r"(?<= )[+-](?=\d{4}\b)", "+", text.strip())
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", text))


def _plausible(seconds: pa.Array) -> bool:
    """Whether times may be meant: from 1900 to 2100."""
    low, high = pc.min(seconds).as_py(), pc.max(seconds).as_py()
    return low is not None and FIRST_DAY <= low <= high < WRITTEN[1]


def _digit_formats(values: pa.Array) -> tuple[str, ...]:
    """The format of whole numbers that are written times, such as 24030400 for 4 March 2024, 00 o'clock.

    Only where every number fits, and there are enough different ones: seconds since 1970 never do all.
    """
    different = pc.unique(values.drop_null())
    if len(different) < 2:
        return ()
    width = len(str(pc.max(different).as_py()))
    some = different.take(pa.array(np.random.default_rng(0).permutation(len(different))[:SAMPLE]))
    for form, digits in DIGIT_FORMATS.items():
        if len(different) < FEWEST.get(form, 20):
            continue
        if width in (digits, digits - 1 if form.startswith("%y") else digits):
            if times.parse(some, form)[1].any():
                continue  # Python reads what may be no date, a million a dozen seconds
            seconds, bad = times.parse(different, form)
            low = FROM.get(form, WRITTEN[0])
            if not bad.any() and low <= pc.min(seconds).as_py() <= pc.max(seconds).as_py() < WRITTEN[1]:
                return (form,)
    return ()


def _whole(values: pa.Array) -> pa.Array:
    """Whole numbers, and floats that are; none where a value is not."""
    values = times.whole(values) if pa.types.is_floating(values.type) else values
    return values if pa.types.is_integer(values.type) else pa.array([], pa.int64())


def _decimal_years(values: pa.Array) -> bool:
    """Whether numbers are such as 2000.083 for February 2000. As seconds they would be in one minute of 1970."""
    extremes = pc.min_max(values)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    return low is not None and 1_500 <= low <= high < 2_100 and not len(_whole(values))


def _excel(values: pa.Array) -> bool:
    """Whether a column of times has days as Excel counts them. As seconds they would all be in one day of 1970."""
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        return False
    extremes = pc.min_max(values)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    return low is not None and EXCEL_DAYS[0] <= low <= high < EXCEL_DAYS[1]


def _present(seconds: pa.Array, name: str) -> np.ndarray:
    found = np.asarray(seconds.drop_null(), dtype=np.int64)
    if not len(found):
        raise DataError(
            "the time column holds no value", where=name, next_step="omit --time to use the row order"
        )
    return found


def _no_times(
    values: pa.Array, bad: np.ndarray, name: str, expected: str, usual: str | None = None
) -> DataError:
    first = int(np.flatnonzero(bad)[0])
    return DataError(
        f"the time column must hold {expected}, got {values[first].as_py()!r}",
        where=f"{name}, row {first + 1}",
        next_step="write all of them in one format, or some in ISO 8601; or name another column with --time, or omit "
        "--time to use the row order"
        if usual
        else "give its format with --time-format, such as '%d/%m/%Y %H:%M' (the directives of Python's strptime); "
        "or name another column with --time, or omit --time to use the row order",
    )
