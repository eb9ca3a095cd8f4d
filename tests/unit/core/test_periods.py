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


def test_intervals() -> None:
    """Seconds, minutes, hours and days, also together."""
    assert [90, 900, 3600, 172800, 5400] == [
        periods.seconds(said) for said in ("90s", "15m", "1h", "2d", "1h30m")
    ]
    for wrong in ("", "0h", "1", "h", "1 h", "1.5h", "1w"):
        with pytest.raises(ConfigError, match="an interval must"):
            periods.seconds(wrong)
