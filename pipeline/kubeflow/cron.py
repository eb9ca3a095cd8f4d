"""Cron expressions as Kubeflow's scheduler (robfig/cron) reads them, checked before they are sent."""

import re

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


def problem(fields: list[str]) -> str | None:
    """What is wrong with six fields, seconds first; None where nothing is.

    >>> problem("0 0 6 * * mon-fri".split())
    >>> problem("0 99 6 * * *".split())
    "the minute must be 0 to 59, got '99'"
    """
    for (name, low, high, words), text in zip(_FIELDS, fields, strict=True):
        numbers = {word: low + i for i, word in enumerate(words)}
        for part in text.split(","):
            if not _fits(part.lower(), low, high, numbers):
                also = f" or {words[0]} to {words[-1]}" if words else ""
                return f"the {name} must be {low} to {high}{also}, got {text!r}"
    return None


def _fits(part: str, low: int, high: int, words: dict[str, int]) -> bool:
    """Whether `*`, `?`, `a` or `a-b`, each perhaps with `/step`, lies in the range."""
    found = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part, re.ASCII)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        return False
    begin, end = found[1], found[2]
    if begin is None:
        return True
    numbers = [words.get(each, int(each) if each.isdecimal() else -1) for each in (begin, end or begin)]
    return low <= numbers[0] <= numbers[1] <= high
