"""The state of each event log that this process has read, so that it reads each event once.

Every stage of a run opens a new registry; without this each would read the whole history again.
"""

import threading
from pathlib import Path

from noria.core import files
from noria.stores.event_log import EventLog
from noria.stores.versions import State

_known: dict[Path, tuple[int, files.Mark, State]] = {}
_lock = threading.Lock()


def resume(log: EventLog) -> tuple[int, State] | None:
    """The number of the last event that was read, and a copy of the state after it.

    Returns:
      None if no event was read, or if that event is not the one on the disk: another log has replaced this one.

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
    """Stores a copy of the state after an event for the next registry of this process."""
    mark = log.mark(seen)
    if mark is not None:
        with _lock:
            _known[log.folder] = (seen, mark, state.copy())
