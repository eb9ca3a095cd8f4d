"""Lengths of time as people write them."""

import re

from noria.core.errors import ConfigError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds(text: str) -> int:
    """Seconds of `90s`, `15m`, `1h`, `2d` or `1h30m`.

    Raises:
      ConfigError: anything else, or nothing at all.
    """
    parts = re.findall(r"(\d+)([dhms])", text)
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not total or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(
            f"an interval must be such as 90s, 15m, 1h, 2d or 1h30m, got {text!r}",
            where="--every",
            next_step="--every 1h",
        )
    return total
