"""Which spans wait for a run: one rule for every runner."""

from pathlib import Path

from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

__all__ = ["once_more", "pending"]


def pending(home: Path | str, first: int) -> list[int]:
    """Spans that wait for a run, oldest first.

    The first run is a cold run on the first spans; until there are that many, nothing waits. From the first trained
    span on, a span waits if it had no run. It waits again if

    - its last run found it broken, and it has left quarantine (a person decided so, or it was corrected);
    - its last run found it thin, and it has more rows since;
    - its model was withheld, because another version had become champion (`RunRecord.withheld`).

    A span in quarantine does not wait.

    Args:
      home: the project's home folder.
      first: how many spans the first run takes (`window.first`).
    """
    store, runs = SpanStore(home), Registry(home).runs()
    ids, quarantined = store.ids(), store.quarantined()
    if not runs and len(ids) < first:
        return []
    begun = min(run.span for run in runs) if runs else ids[first - 1]
    last = _last(runs)
    return [
        span
        for span in ids
        if span >= begun
        and span not in quarantined
        and (span not in last or last[span].data_verdict == "broken" or _grown(store, last[span]))
    ]


def once_more(home: Path | str) -> list[int]:
    """The newest span for one more run: not in quarantine, and not known to be thin."""
    store, last = SpanStore(home), _last(Registry(home).runs())
    quarantined = store.quarantined()
    for span in reversed(store.ids()):
        thin = span in last and last[span].data_verdict == "thin" and not _grown(store, last[span])
        if span not in quarantined and not thin:
            return [span]
    return []


def _last(runs: list[RunRecord]) -> dict[int, RunRecord]:
    return {run.span: run for run in runs if run.withheld is None}


def _grown(store: SpanStore, run: RunRecord) -> bool:
    """Whether a run found its span thin, and late rows or labels have arrived since."""
    return run.data_verdict == "thin" and store.manifest(run.span).version > (run.span_version or 0)
