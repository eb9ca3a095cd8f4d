"""Periods of the calendar (UTC), from a second to a week, and lengths of time as people write them."""

import datetime
import functools
import math
import re
from typing import Any

from noria.core.errors import ConfigError

HOUR, DAY, WEEK = 3_600, 86_400, 604_800
DEFAULT_LENGTH = "week"  # of a span
CHOICES = "hour, day, week, or a part of an hour such as 10s or 15m"
_NAMED = {"hour": HOUR, "day": DAY, "week": WEEK}
_UNITS = {"d": DAY, "h": HOUR, "m": 60, "s": 1}


@functools.cache
def length(every: str) -> int | None:
    """Seconds of a period.

    Args:
      every: `hour`, `day`, `week`, or seconds or minutes that divide an hour evenly, such as `10s` or `15m`.

    Returns:
      The seconds; None for a text of another form, such as `rows:N`.

    Raises:
      ConfigError: seconds or minutes that do not divide an hour, or that are written in another way elsewhere (`60s`).

    >>> length("day"), length("10s"), length("15m"), length("rows:10")
    (86400, 10, 900, None)
    """
    if every in _NAMED:
        return _NAMED[every]
    found = re.fullmatch(r"(\d+)([ms])", every)
    if found is None:
        return None
    unit = _UNITS[found[2]]
    given = int(found[1]) * unit
    nearest = min(
        (part for part in range(unit, HOUR + 1, unit) if HOUR % part == 0),
        key=lambda part: abs(math.log(part / max(given, 1))),
    )
    # One way to write each: span stores compare the text.
    written = "hour" if nearest == HOUR else f"{nearest}s" if nearest % 60 else f"{nearest // 60}m"
    if written != every:
        why = (
            f"{every} does not divide an hour evenly, {written} does"
            if nearest != given
            else f"write {written}"
        )
        raise ConfigError(
            f"must be {CHOICES}, got {every!r}: {why}", where="span.every", next_step=f"`every: {written}`"
        )
    return nearest


def number(every: str, seconds: Any) -> Any:
    """The number of the period that holds a time; period 0 holds 1970-01-01T00:00.

    Args:
      every: the period, see `length`; weeks begin on Monday.
      seconds: epoch seconds, a number or an array of them.

    >>> number("week", 0), number("week", 4 * DAY - 1), number("week", 4 * DAY), number("10s", 25)
    (0, 0, 1, 2)
    """
    return (seconds - _beginning(every)) // _length(every)


def start(every: str, period: int) -> str:
    """When a period begins: a date; for an hour or a part of it, ISO 8601 up to the hour, minute or second (UTC).

    >>> start("week", 0), start("day", 15712), start("hour", 24 * 15712 + 6)
    ('1969-12-29', '2013-01-07', '2013-01-07T06')
    >>> start("15m", 1), start("10s", 1)
    ('1970-01-01T00:15', '1970-01-01T00:00:10')
    """
    unit = _length(every)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(
        seconds=int(period) * unit + _beginning(every)
    )
    if unit >= DAY:
        return moment.date().isoformat()
    return moment.isoformat(timespec="seconds" if unit % 60 else "minutes" if unit % HOUR else "hours")


def in_words(seconds: float) -> str:
    """A length of time in the largest unit that leaves at least 1: seconds, minutes or hours.

    >>> in_words(8), in_words(90), in_words(7200), in_words(604800)
    ('8 s', '2 min', '2 h', '168 h')
    """
    unit, name = (HOUR, "h") if abs(seconds) >= HOUR else (60, "min") if abs(seconds) >= 60 else (1, "s")
    return f"{seconds / unit:.0f} {name}"


def _length(every: str) -> int:
    found = length(every)
    assert found is not None, f"{every} is not a period of time"
    return found


def _beginning(every: str) -> int:
    """Epoch seconds at which period 0 begins: 1970-01-01 was a Thursday."""
    return -3 * DAY if every == "week" else 0


def seconds(text: str) -> int:
    """Seconds of `90s`, `15m`, `1h`, `2d` or `1h30m`.

    Raises:
      ConfigError: any other text.
    """
    parts = re.findall(r"(\d+)([dhms])", text)
    total = sum(int(count) * _UNITS[unit] for count, unit in parts)
    if not total or "".join(count + unit for count, unit in parts) != text:
        raise ConfigError(
            f"an interval must be such as 90s, 15m, 1h, 2d or 1h30m, got {text!r}",
            where="--every",
            next_step="--every 1h",
        )
    return total
