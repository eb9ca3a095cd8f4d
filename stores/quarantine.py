"""Spans enter and leave quarantine in span store and registry, in an order that is safe against kills."""

from pathlib import Path
from typing import Any

from noria.core.errors import SpanError
from noria.stores.registry import Registry, Unquarantine
from noria.stores.spans import SpanStore
from noria.stores.versions import broken_run

__all__ = ["hold_back", "unquarantine", "unquarantine_all"]


def hold_back(home: Path | str, span: int, version: int, verdict: dict[str, Any], run_id: str) -> None:
    """Puts a broken span in quarantine and records its run; after a kill `recover` does the rest.

    If the span has a newer version now, that one waits for another run and is not in quarantine.

    Args:
      home: the project's home folder.
      span: id of the span; `version`: the version that was judged.
      verdict: `verdict`, `reasons` and `file` of the data verdict; `broken`: its [check, feature].
      run_id: the run.
    """
    store = SpanStore(home)
    with store.hold():
        if store.manifest(span).version == version:
            # The note first: it has all that the record of the run needs.
            store.quarantine(span, verdict, version, run_id)
    note = {"span": span, "version": version, "run_id": run_id, "verdict": verdict}
    Registry(home).record_run(broken_run(note))


def unquarantine(
    home: Path | str, span: int, reason: str, actor: str, *, forced: bool = False
) -> Unquarantine:
    """Takes a span out of quarantine, so that it waits for a run again; the log records who did it and why.

    A second call after a kill finishes the first, and records nothing twice.

    Args:
      home: the project's home folder.
      span: its id.
      reason: why; `actor`: who.
      forced: True if the DataGate's `broken` counts as `drifted` for this version; otherwise the gate judges it again.

    Raises:
      SpanError: no reason, there is no such span, or it is not in quarantine.
    """
    if not reason.strip():
        raise SpanError("taking a span out of quarantine needs a reason", next_step='add --reason "..."')
    store, registry = SpanStore(home), Registry(home)
    with store.hold():  # a corrected delivery must come before or after
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


def unquarantine_all(
    home: Path | str, reason: str, actor: str, *, forced: bool = False, normal: bool = False
) -> list[Unquarantine]:
    """Takes every span out of quarantine.

    Args:
      home: the project's home folder.
      reason: why; `actor`: who.
      forced: as of `unquarantine`.
      normal: True if their state is the new normal: the data gate passes them, compares with nothing older from then
        on, and lets the schema's findings about them pass.

    Raises:
      SpanError: no reason, or no span is in quarantine.
    """
    store = SpanStore(home)
    with store.hold():
        notes = store.quarantined()
        if not notes:
            raise SpanError(
                "no span is in quarantine",
                where=store.folder,
                next_step="`noria status` says which spans are in quarantine and which wait for a run",
            )
        made = []
        for number, span in enumerate(notes):
            made.append(unquarantine(home, span, reason, actor, forced=forced or normal))
            if normal and not number:  # the reason has been checked; the other spans may follow after a kill
                Registry(home).record_normal(span, _accepted(notes), reason, actor)
        return made


def _accepted(notes: dict[int, dict[str, Any]]) -> set[tuple[str, str]]:
    verdicts = [note["verdict"] for note in notes.values() if isinstance(note["verdict"], dict)]
    return {(check, feature) for verdict in verdicts for check, feature in verdict.get("broken", [])}
