"""Hours, days and weeks of the calendar (UTC), and lengths of time as people write them."""

import datetime
import re
from typing import Any

from noria.core.errors import ConfigError

HOUR, DAY, WEEK = 3_600, 86_400, 604_800
# Seconds of each period.
LENGTHS = {"hour": HOUR, "day": DAY, "week": WEEK}
DEFAULT_LENGTH = "week"  # of a span
# Epoch seconds at which period 0 begins. Weeks begin on Monday, and 1970-01-01 was a Thursday.
_BEGINNINGS = {"hour": 0, "day": 0, "week": -3 * DAY}
_UNITS = {"d": DAY, "h": HOUR, "m": 60, "s": 1}


def number(every: str, seconds: Any) -> Any:
    """The number of the period that holds a time; period 0 holds 1970-01-01.

    Args:
      every: `hour`, `day` or `week` (from Monday, UTC).
      seconds: epoch seconds, a number or an array of them.

    >>> number("week", 0), number("week", 4 * DAY - 1), number("week", 4 * DAY)
    (0, 0, 1)
    """
    return (seconds - _BEGINNINGS[every]) // LENGTHS[every]


def start(every: str, period: int) -> str:
    """When a period begins: a date, or for hours ISO 8601 (UTC).

    >>> start("week", 0), start("day", 15712), start("hour", 24 * 15712 + 6)
    ('1969-12-29', '2013-01-07', '2013-01-07T06')
    """
    since_1970 = datetime.timedelta(seconds=int(period) * LENGTHS[every] + _BEGINNINGS[every])
    moment = datetime.datetime(1970, 1, 1) + since_1970
    return moment.isoformat(timespec="hours") if every == "hour" else moment.date().isoformat()


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
