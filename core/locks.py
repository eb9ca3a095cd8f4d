"""One writer at a time: a lock that the operating system frees when its holder dies.

`filelock` (flock) does the locking. A note beside the lock file says who holds it, for the message to others.
"""

import contextlib
import datetime
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock

from noria.core import files
from noria.core.errors import LockedError


class _Held:
    """This process's use of one lock file. One thread at a time; the same thread may enter again."""

    def __init__(self) -> None:
        self.thread = threading.RLock()
        self.depth = 0
        self.read = False


_held: dict[str, _Held] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def hold(
    folder: Path, *, wait: float = 0, name: str = "lock", command: str | None = None, read: bool = False
) -> Iterator[None]:
    """Holds `<folder>/<name>` while the block runs; per process and thread, and re-entrant within a thread.

    Args:
      folder: the folder that has one writer at a time; made if it is missing.
      wait: seconds to wait for another holder; 0 does not wait, a negative number waits forever.
      name: file name of the lock.
      command: what the holder is doing, for the message; the command line by default.
      read: the block only reads. In an object store it then costs one request, as other machines are not excluded:
        their changes become visible after the block.

    Raises:
      LockedError: another process or thread holds it; says which, where, since when.
    """
    with files.explained("cannot lock the folder", folder, LockedError):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder.resolve() / name
    # A forked child does not hold what its parent holds, so the process id is in the key.
    with _guard:
        held = _held.setdefault(f"{os.getpid()}:{path}", _Held())
    if not held.thread.acquire(timeout=wait if wait >= 0 else -1):
        raise refusal(holder(path.parent, name=path.name), path, wait)
    try:
        if held.depth:
            assert read or not held.read, f"{path} is held for reading only"
            held.depth += 1
            try:
                yield
            finally:
                held.depth -= 1
            return
        lock = filelock.FileLock(str(path))
        with files.explained("cannot lock the folder", path, LockedError):
            try:
                lock.acquire(timeout=wait, poll_interval=0.05)
            except filelock.Timeout as error:  # an OSError too
                raise refusal(holder(path.parent, name=path.name), path, wait) from error
        held.depth, held.read = 1, read
        try:
            _write_note(path, command)
            with _lease(path, wait, command, read):
                yield
        finally:
            held.depth = 0
            _note(path).unlink(missing_ok=True)
            lock.release()
    finally:
        held.thread.release()


def holder(folder: Path, *, name: str = "lock") -> dict[str, str] | None:
    """The last holder that has not released the lock: `pid`, `host`, `since`, `command`; or None.

    The note of a killed holder remains until the next one.
    """
    home = files.home_of(folder)
    if home is not None:
        return home.holder(home.name(folder.absolute() / name))
    try:
        return json.loads(_note(folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _lease(path: Path, wait: float, command: str | None, read: bool) -> AbstractContextManager[None]:
    """The same lock in the object store that the path belongs to, if any: it excludes other machines."""
    home = files.home_of(path)
    if home is None:
        return contextlib.nullcontext()
    if read:
        return home.reading()
    return home.lease(home.name(path), wait, command or " ".join(sys.argv))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _write_note(path: Path, command: str | None) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    note = {
        "pid": str(os.getpid()),
        "host": socket.gethostname(),
        "since": now.isoformat(timespec="seconds"),
        "command": command or " ".join(sys.argv),
    }
    with files.explained("cannot lock the folder", path, LockedError):
        # Not atomic and not synced: only people read it.
        _note(path).write_text(json.dumps(note), encoding="utf-8")


def refusal(who: Mapping[str, Any] | None, where: object, wait: float) -> LockedError:
    """That another one holds a lock; `who` is its note, `wait` how many seconds it was waited for."""
    by = "another process"
    if who is not None:
        by = f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    waited = f"; waited {wait:g} s" if wait > 0 else ""
    return LockedError(
        f"another run uses the project: {by}{waited}",
        where=where,
        next_step="wait for it to end, or run again with --wait and the seconds to wait",
    )
