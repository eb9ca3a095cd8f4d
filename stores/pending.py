"""Which spans wait for a turn: one rule for every runner."""

from pathlib import Path

from noria.stores.registry import Registry
from noria.stores.spans import SpanStore


def pending(home: Path | str, first: int) -> list[int]:
    """Spans that wait for a turn, oldest first.

    The first turn is a cold run on the first spans; until there are that many, nothing waits.

    Args:
      home: the project's home folder.
      first: how many spans the first run takes (`window.first`).
    """
    ids = SpanStore(home).ids()
    turned = [turn.span for turn in Registry(home).turns()]
    return [span for span in ids if span > max(turned)] if turned else ids[first - 1 :]
