"""Lengths of time as people write them."""

import pytest

from noria.core import periods
from noria.core.errors import ConfigError


def test_intervals() -> None:
    """Seconds, minutes, hours and days, also together."""
    assert [90, 900, 3600, 172800, 5400] == [
        periods.seconds(said) for said in ("90s", "15m", "1h", "2d", "1h30m")
    ]
    for wrong in ("", "0h", "1", "h", "1 h", "1.5h", "1w"):
        with pytest.raises(ConfigError, match="an interval must"):
            periods.seconds(wrong)
