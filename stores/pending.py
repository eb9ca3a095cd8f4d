"""Which spans wait for a turn: one rule for every runner."""

from pathlib import Path

from noria.stores.registry import Registry, Turn
from noria.stores.spans import SpanStore


def pending(home: Path | str, first: int) -> list[int]:
    """Spans that wait for a turn, oldest first.

    The first turn is a cold run on the first spans; until there are that many, nothing waits. From the first
    turned span on, each one waits that had no turn; again where its last turn found it broken and it is not in
    quarantine any more (it was released or corrected), where its last turn found it thin and it has grown since,
    or where nothing came of its turns because another version had taken over meanwhile (`Turn.withheld`). What is
    in quarantine does not wait.

    Args:
      home: the project's home folder.
      first: how many spans the first run takes (`window.first`).
    """
    store, turns = SpanStore(home), Registry(home).turns()
    ids, quarantined = store.ids(), store.quarantined()
    if not turns and len(ids) < first:
        return []
    begun = min(turn.span for turn in turns) if turns else ids[first - 1]
    last = _last(turns)
    return [
        span
        for span in ids
        if span >= begun
        and span not in quarantined
        and (span not in last or last[span].data_verdict == "broken" or _grown(store, last[span]))
    ]


def once_more(home: Path | str) -> list[int]:
    """The newest span that a run can be made on once more: not in quarantine, and not known to be thin."""
    store, last = SpanStore(home), _last(Registry(home).turns())
    quarantined = store.quarantined()
    for span in reversed(store.ids()):
        thin = span in last and last[span].data_verdict == "thin" and not _grown(store, last[span])
        if span not in quarantined and not thin:
            return [span]
    return []


def _last(turns: list[Turn]) -> dict[int, Turn]:
    return {turn.span: turn for turn in turns if turn.withheld is None}


def _grown(store: SpanStore, turn: Turn) -> bool:
    """Whether a turn found its span thin, and late rows or labels have come since."""
    return turn.data_verdict == "thin" and store.manifest(turn.span).version > (turn.span_version or 0)
