"""In and out of quarantine: what span store and registry learn together, in an order that a kill cannot hurt."""

from pathlib import Path
from typing import Any

from noria.core.errors import SpanError
from noria.stores.registry import Registry, Unquarantine
from noria.stores.spans import SpanStore
from noria.stores.versions import broken_run

__all__ = ["hold_back", "unquarantine"]


def hold_back(home: Path | str, span: int, version: int, verdict: dict[str, Any], run_id: str) -> None:
    """Puts a broken span in quarantine and ends its run; what a kill leaves out, `recover` does.

    Where a later version has come meanwhile, that one waits for a run of its own and is not held back.

    Args:
      home: the project's home folder.
      span: id of the span; `version`: the version that was judged.
      verdict: `verdict`, `reasons` and `file` of the data verdict.
      run_id: the run.
    """
    store = SpanStore(home)
    with store.hold():
        if store.manifest(span).version == version:
            # The note first: it holds all that the run says.
            store.quarantine(span, verdict, version, run_id)
    note = {"span": span, "version": version, "run_id": run_id, "verdict": verdict}
    Registry(home).record_run(broken_run(note))


def unquarantine(
    home: Path | str, span: int, reason: str, actor: str, *, forced: bool = False
) -> Unquarantine:
    """Takes a span out of quarantine, so that it waits for a run again; the log records who did it and why.

    Calling it again after a kill finishes what was begun, and records nothing twice.

    Args:
      home: the project's home folder.
      span: its id.
      reason: why; `actor`: who.
      forced: the DataGate's `broken` counts as `drifted` for this version of the span; else the gate judges it again.

    Raises:
      SpanError: no reason, there is no such span, or it is not in quarantine.
    """
    if not reason.strip():
        raise SpanError("taking a span out of quarantine needs a reason", next_step='add --reason "..."')
    store, registry = SpanStore(home), Registry(home)
    with store.hold():  # a corrected delivery comes before or after, not in between
        version = store.manifest(span).version
        quarantined = store.quarantined()
        known = registry.unquarantine_of(span, version, waiting=True)
        if span not in quarantined and known is None:
            raise SpanError(
                f"span {span} is not in quarantine; these are: {', '.join(map(str, quarantined)) or 'none'}",
                where=store.folder,
                next_step="`noria status` says which spans are in quarantine and which wait for a run",
            )
        # The log first: a span that has left quarantine has an event that says why.
        if known is None or (known.reason, known.actor, known.forced) != (reason, actor, forced):
            known = registry.record_unquarantine(span, version, reason, actor, forced)
        if span in quarantined:
            store.unquarantine(span)
        return known
