"""Which spans wait for a turn: one rule for every runner."""

from pathlib import Path

from noria.stores.registry import Registry
from noria.stores.spans import SpanStore


def pending(home: Path | str, first: int) -> list[int]:
    """Spans that wait for a turn, oldest first.

    The first turn is a cold run on the first spans; until there are that many, nothing waits. From the first
    turned span on, each one waits that had no turn; again where its last turn found it broken and it is not in
    quarantine any more (it was released or corrected), or where nothing came of its turns because another
    version had taken over meanwhile (`Turn.withheld`). What is in quarantine does not wait.

    Args:
      home: the project's home folder.
      first: how many spans the first run takes (`window.first`).
    """
    store, turns = SpanStore(home), Registry(home).turns()
    ids, quarantined = store.ids(), store.quarantined()
    if not turns and len(ids) < first:
        return []
    begun = min(turn.span for turn in turns) if turns else ids[first - 1]
    last = {turn.span: turn.data_verdict for turn in turns if turn.withheld is None}
    return [
        span
        for span in ids
        if span >= begun and span not in quarantined and last.get(span, "broken") == "broken"
    ]
