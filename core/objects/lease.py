"""The locks of a home in an object store: entries of its log.

The number of the entry that takes a lock is its fence. A process that has lost the lock, because it slept for longer
than `TTL`, cannot write an entry without reading that first.
"""

import contextlib
import datetime
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.core.errors import LockedError, StoreError
from noria.core.objects.change_log import Log
from noria.core.objects.store import ObjectStore

TTL = 30.0  # seconds without a sign of a lock's holder until another one may take the lock
BEAT = 8.0  # seconds between two signs
CLOCK = "locks/clock"  # written to read the store's clock

Holder = Mapping[str, Any]  # `pid`, `host`, `machine`, `since` and `command`


class TakenError(Exception):
    """Another one holds the lock."""

    def __init__(self, holder: Holder):
        super().__init__(holder)
        self.holder = holder


class Leases:
    """The locks that this process holds, and those that it wants; only for the holder of the working copy's lock."""

    def __init__(self, store: ObjectStore, log: Log):
        self._store = store
        self._log = log
        self._held: dict[str, int] = {}  # name -> fence
        self._signed: set[int] = set()  # fences with a sign in the store
        self._checked = False

    def take(self, name: str, command: str) -> int:
        """Takes a lock that is free, or whose holder is dead; returns its fence.

        Raises:
          TakenError: it is not free.
        """
        if not self._checked:
            self._check_store()
        # If nothing is known of a holder, the entry is tried at once: its number is free only if nothing is new.
        if self._log.head == 0 or name in self._log.locks:
            self._log.refresh()

        def check(changed: set[str]) -> None:
            held = self._log.locks.get(name)
            if held is not None and self._alive(held):
                raise TakenError(held)

        since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        holder = {"pid": str(os.getpid()), "host": socket.gethostname(), "since": since, "command": command}
        fence = self._log.append({"take": {"name": name, "machine": _machine(), **holder}}, check)
        self._held[name] = fence
        return fence

    def free(self, name: str) -> None:
        """Frees a lock; if the store cannot be reached, it ends after `TTL`."""
        fence = self._held.pop(name)
        with contextlib.suppress(StoreError):
            self._log.append({"free": {"name": name, "fence": fence}}, lambda changed: None)
            if fence in self._signed:
                self._store.delete([_sign(fence)])
                self._signed.discard(fence)

    @contextlib.contextmanager
    def beating(self, fence: int) -> Iterator[None]:
        """Gives a sign of life for the lock from time to time while the block runs."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                self._signed.add(fence)
                with contextlib.suppress(StoreError):
                    self._store.put(_sign(fence), b"")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def check(self) -> None:
        """Raises LockedError if this process has lost one of its locks."""
        for name, fence in self._held.items():
            now = self._log.locks.get(name)
            if now is None or now["fence"] != fence:
                by = "another process" if now is None else f"process {now['pid']} on {now['host']}"
                raise LockedError(
                    f"this process slept or had no network for more than {TTL:.0f} seconds, and {by} took its lock",
                    where=f"{self._store.url}, lock {name}",
                    next_step="run again: the home has only what this process had committed before",
                )

    def signs(self) -> set[str]:
        """Keys of the signs of all locks that are held, and of the clock."""
        return {CLOCK, *(_sign(held["fence"]) for held in self._log.locks.values())}

    def _check_store(self) -> None:
        """Refuses a store that ignores the condition of a write: there, two writers would both believe to be first."""
        self._store.put(CLOCK, b"")
        if self._store.put_new(CLOCK, b""):
            raise StoreError(
                "the object store ignores the condition of a write (If-None-Match: *)",
                where=self._store.url,
                next_step="use S3, Google Cloud Storage, or a newer release of the server; see docs/object-store.md",
            )
        self._checked = True

    def _alive(self, held: Holder) -> bool:
        """Whether a lock's holder may still be there, by the store's clock alone."""
        if held["machine"] == _machine():
            try:
                os.kill(int(held["pid"]), 0)
            except ProcessLookupError:
                return False
            except OSError:
                pass
        fence = held["fence"]
        signs = dict(self._store.list("locks/"))
        taken = next(time for _, time in self._store.list("log/", after=f"log/{fence - 1:012d}.json"))
        return (clock(self._store) - signs.get(_sign(fence), taken)).total_seconds() < TTL


def clock(store: ObjectStore) -> datetime.datetime:
    """The time by the store's clock."""
    store.put(CLOCK, b"")
    return dict(store.list("locks/"))[CLOCK]


def _sign(fence: int) -> str:
    return f"locks/{fence}"


def _machine() -> str:
    """This machine and its room of process ids: within one, a process that is not there is dead."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{uuid.getnode()}"
