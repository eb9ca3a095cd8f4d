"""How far this process has read each event log.

Every stage of a run opens a registry of its own; a history of thousands of events is still folded once in a process.
"""

import threading
from pathlib import Path

from noria.core import files
from noria.stores.event_log import EventLog
from noria.stores.versions import State

_known: dict[Path, tuple[int, files.Mark, State]] = {}
_lock = threading.Lock()


def resume(log: EventLog) -> tuple[int, State] | None:
    """The number of the last event that was folded, and a copy of the state behind it.

    Returns:
      None where nothing was, or where that event is not the one on the disk: another log took the folder's place.

    Raises:
      RegistryError: an event is missing.
    """
    with _lock:
        known = _known.get(log.folder)
    if known is None:
        return None
    seen, mark, state = known
    if seen > log.last() or log.mark(seen) != mark:
        return None
    return seen, state.copy()


def remember(log: EventLog, seen: int, state: State) -> None:
    """Keeps a copy of the state behind an event for the next registry of this process."""
    mark = log.mark(seen)
    if mark is not None:
        with _lock:
            _known[log.folder] = (seen, mark, state.copy())
