"""Cron expressions as Kubeflow's scheduler (robfig/cron 1.2.0) reads them, checked before they are sent.

Libraries accept expressions that it refuses, and refuse some that it accepts: docs/decisions/0014-libraries.md.
"""

import re

from noria.core.periods import DAY, HOUR

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# The field's name, its range, and words for numbers from the range's begin on.
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("second", 0, 59, []),
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),  # 7 for Sunday is not known there
)

_YEAR = 365 * DAY
_WORDS = {"yearly": _YEAR, "annually": _YEAR, "monthly": _YEAR // 12, "weekly": 7 * DAY}
_WORDS |= {"daily": DAY, "midnight": DAY, "hourly": HOUR}


def problem(fields: list[str]) -> str | None:
    """What is wrong with six fields, seconds first; None where nothing is.

    >>> problem("0 0 6 * * mon-fri".split())
    >>> problem("0 99 6 * * *".split())
    "the minute must be 0 to 59, got '99'"
    """
    for (name, low, high, words), text in zip(_FIELDS, fields, strict=True):
        numbers = {word: low + i for i, word in enumerate(words)}
        for part in text.split(","):
            if _values(part.lower(), low, high, numbers) is None:
                also = f" or {words[0]} to {words[-1]}" if words else ""
                return f"the {name} must be {low} to {high}{also}, got {text!r}"
    return None


def seconds_between(expression: str) -> float:
    """Seconds from one run to the next, on average over the year, of an expression without a `problem`.

    >>> round(seconds_between("0 0 6 * * *")), round(seconds_between("0 */15 * * * *")), seconds_between("@weekly")
    (86400, 900, 604800)
    """
    if expression.startswith("@"):
        return _WORDS[expression[1:]]
    shares = []
    for (_, low, high, words), text in zip(_FIELDS, expression.split(), strict=True):
        numbers = {word: low + i for i, word in enumerate(words)}
        parts = [_values(part.lower(), low, high, numbers) or () for part in text.split(",")]
        shares.append(len({value for part in parts for value in part}) / (high - low + 1))
    second, minute, hour, day, month, weekday = shares
    days = day * weekday
    if not any(expression.split()[i].startswith(("*", "?")) for i in (3, 5)):
        days = 1 - (1 - day) * (1 - weekday)  # both days are named: either will do
    return 1 / (second * minute * hour * days * month)


def _values(part: str, low: int, high: int, words: dict[str, int]) -> range | None:
    """The numbers that `*`, `?`, `a` or `a-b`, with or without `/step`, mean; None if one is out of the range."""
    found = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part, re.ASCII)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        return None
    begin, end, step = found[1], found[2], int(found[3] or 1)
    if begin is None:
        return range(low, high + 1, step)
    numbers = [words.get(each, int(each) if each.isdecimal() else -1) for each in (begin, end or begin)]
    if not low <= numbers[0] <= numbers[1] <= high:
        return None
    last = high if end is None and found[3] else numbers[1]  # `5/10` is 5, 15, 25 and so on
    return range(numbers[0], last + 1, step)
