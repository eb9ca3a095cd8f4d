"""Periods of the calendar, and lengths of time as people write them."""

import numpy as np
import pytest

from noria.core import periods
from noria.core.errors import ConfigError


def test_periods() -> None:
    """Weeks begin on Monday, UTC, also before 1970."""
    monday = 1357516800  # 2013-01-07
    weeks = periods.number("week", np.array([monday - 1, monday, monday + 604_799, monday + 604_800]))
    assert [0, 1, 1, 2] == (weeks - weeks[0]).tolist()
    assert "2013-01-07" == periods.start("week", weeks[1])
    assert "2013-01-07" == periods.start("day", monday // 86_400)
    assert "2013-01-07T00" == periods.start("hour", monday // 3_600)
    assert "1969-12-29" == periods.start("week", 0)


def test_parts_of_an_hour() -> None:
    """Seconds and minutes that divide an hour are periods; their beginnings have minutes or seconds."""
    assert [1, 10, 90, 60, 900, 1800] == [
        periods.length(every) for every in ("1s", "10s", "90s", "1m", "15m", "30m")
    ]
    noon = 1357560000  # 2013-01-07T12:00
    times = np.array([noon - 1, noon, noon + 9, noon + 10])
    assert [0, 1, 1, 2] == (periods.number("10s", times) - periods.number("10s", noon - 1)).tolist()
    assert "2013-01-07T12:00:10" == periods.start("10s", periods.number("10s", noon + 19))
    assert "2013-01-07T12:15" == periods.start("15m", periods.number("15m", noon + 1_000))
    assert None is periods.length("rows:10") is periods.length("month") is periods.length("")


@pytest.mark.parametrize(
    ("every", "instead"),
    [
        ("7s", "8s"),
        ("7m", "6m"),
        ("50m", "hour"),
        ("0s", "1s"),
        ("60s", "1m"),
        ("60m", "hour"),
        ("010s", "10s"),
    ],
)
def test_what_does_not_divide_an_hour(every: str, instead: str) -> None:
    """A length that does not divide an hour, or has another usual spelling, is refused with one that works."""
    with pytest.raises(ConfigError, match=rf"got '{every}'.* {instead}\b") as caught:
        periods.length(every)
    assert f"`every: {instead}`" == caught.value.next_step


def test_intervals() -> None:
    """Seconds, minutes, hours and days, also together."""
    assert [90, 900, 3600, 172800, 5400] == [
        periods.seconds(said) for said in ("90s", "15m", "1h", "2d", "1h30m")
    ]
    for wrong in ("", "0h", "1", "h", "1 h", "1.5h", "1w"):
        with pytest.raises(ConfigError, match="an interval must"):
            periods.seconds(wrong)
