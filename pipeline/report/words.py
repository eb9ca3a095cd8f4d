"""Numbers, times and ranges as text."""

import datetime
import math
from collections.abc import Iterable
from typing import Any, TypeGuard

MISSING = "–"


def number(value: Any, digits: int = 4) -> str:
    """A number with at most `digits` significant digits; anything else as text.

    >>> [number(x) for x in (0.123456, 26398, 1.0, 1234567.8, 0.0000123, None, "3.1")]
    ['0.1235', '26,398', '1', '1,234,568', '1.23e-05', '–', '3.1']
    """
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:.{digits}g}"
    return ("−" + text[1:]) if text.startswith("-") else text


def fixed(value: Any, digits: int = 4) -> str:
    """A number with a fixed count of decimals, so that a column of a table lines up.

    >>> fixed(0.7), fixed(-0.00123, 4), fixed(None)
    ('0.7000', '−0.0012', '–')
    """
    if not is_number(value):
        return number(value)
    return f"{value:.{digits}f}".replace("-", "−")


def change(value: float | None, digits: int = 4) -> str:
    """A signed difference.

    >>> change(0.0123), change(-0.5), change(0.00001), change(None)
    ('+0.0123', '−0.5000', '±0.0000', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return "±" + text
    return ("+" if value > 0 else "−") + text


def percent(share: Any) -> str:
    """A share in percent.

    >>> percent(0.1234), percent(1.0), percent(0.0004), percent(0.0)
    ('12.3 %', '100 %', '0.04 %', '0 %')
    """
    if not is_number(share):
        return number(share)
    value = 100 * share
    if value == 0 or abs(value) >= 99.95:
        text = f"{value:.0f} %"
    elif abs(value) >= 0.1:
        text = f"{value:.1f} %"
    else:
        text = f"{value:.2g} %" if abs(value) >= 0.001 else "< 0.001 %"
    return text.replace("-", "−")


def seconds(value: Any) -> str:
    """A duration.

    >>> seconds(0.0421), seconds(3.14159), seconds(125)
    ('0.04 s', '3.1 s', '2 min 5 s')
    """
    if not is_number(value):
        return number(value)
    if value >= 100:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"


def moment(value: Any) -> str:
    """A point in time: epoch seconds become UTC text, text stays.

    >>> moment(1357016400), moment("2013-01-07T10:00:00+02:00"), moment("week 2")
    ('2013-01-01 05:00 UTC', '2013-01-07 08:00 UTC', 'week 2')
    """
    utc = datetime.timezone.utc
    if is_number(value):
        found = datetime.datetime.fromtimestamp(value, utc)
    else:
        try:
            found = datetime.datetime.fromisoformat(str(value))
        except ValueError:
            return number(value)
        # A time without a zone is shown unchanged: the zone is not known.
        if found.tzinfo is None:
            return f"{found:%Y-%m-%d %H:%M}"
    return f"{found.astimezone(utc):%Y-%m-%d %H:%M} UTC"


def ranges(numbers: Iterable[Any]) -> str:
    """Whole numbers, such as ids of spans, with runs drawn together.

    >>> ranges([1, 2, 3, 5, 7, 8]), ranges([])
    ('1-3, 5, 7-8', '–')
    """
    parts: list[list[int]] = []
    for each in sorted(int(number) for number in numbers):
        if parts and each == parts[-1][-1] + 1:
            parts[-1].append(each)
        else:
            parts.append([each])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts) or MISSING


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a finite number (a bool is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def or_zero(value: Any) -> float:
    """A number unchanged, anything else as 0, so that rows without a value are last."""
    return float(value) if is_number(value) else 0.0
