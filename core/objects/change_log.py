"""The log of a home in an object store: numbered entries that nobody changes. They say which files the home has.

    log/<number:012d>.json            one change: files that appear or go, a lock that is taken or freed
    checkpoints/<number:012d>.json    the state after an entry, from which a reader starts

An entry is written on the condition that its number is free, and is the commit of its change: the change of several
files is there as a whole or not at all. A writer knows all entries before its own. So a writer that has lost a lock, or
that works from an old state, gets the number of an entry that it has not read, and nothing of it becomes visible. Delta
Lake's transaction log works the same way (Armbrust et al., VLDB 2020, section 3.1).
"""

import concurrent.futures
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from noria.core.errors import StoreError
from noria.core.objects.store import ObjectStore

EVERY = 128  # entries from one checkpoint to the next
THREADS = 16  # requests at a time


class Log:
    """The entries of one home, and the state after them.

    Attributes:
      head: number of the last entry that was read; 0 for none.
      files: path in the home -> `key` of its object, `bytes`.
      locks: name -> `fence` (number of the entry that took it) and what is known of the holder.
      changed: paths that entries of other writers have changed, for the working copy to follow and to empty.
    """

    def __init__(self, store: ObjectStore):
        self._store = store
        self.head = 0
        self.files: dict[str, dict[str, Any]] = {}
        self.locks: dict[str, dict[str, Any]] = {}
        self.changed: set[str] = set()

    def refresh(self) -> None:
        """Reads the entries that are new."""
        self._read()

    def append(self, change: dict[str, Any], check: Callable[[set[str]], None]) -> int:
        """Writes an entry.

        Args:
          change: `put` (path -> `key`, `bytes`), `remove` (paths), `take` (a lock: `name` and its holder),
            `free` (`name` and `fence`).
          check: called before each try with the paths that other writers have changed since the last one; an error
            that it raises ends the writing.

        Returns:
          The entry's number.
        """
        entry = {"id": uuid.uuid4().hex, **change}
        data = json.dumps(entry, ensure_ascii=False).encode()
        check(set())
        while True:
            number = self.head + 1
            if self._store.put_new(_key(number), data):
                self._apply(number, entry)
                if number % EVERY == 0:
                    self._checkpoint()
                return number
            before = self.head
            changed, ids = self._read()
            if entry["id"] in ids:  # the answer to the first try was lost on its way
                return ids[entry["id"]]
            if self.head == before:
                raise StoreError(
                    f"entry {number} of the home's log exists, and cannot be found",
                    where=f"{self._store.url}/{_key(number)}",
                    next_step="the object store must list what it has stored; see docs/object-store.md",
                )
            check(changed)

    def _read(self) -> tuple[set[str], dict[str, int]]:
        changed: set[str] = set()
        if self.head == 0:
            self.changed |= self._start()
        keys = [key for key, _ in self._store.list("log/", after=_key(self.head))]
        expected = [_key(self.head + place) for place in range(1, len(keys) + 1)]
        if sorted(keys) != expected:
            missing = next(each for each in expected if each not in keys)
            raise StoreError(
                f"an entry of the home's log is missing: {missing}",
                where=self._store.url,
                next_step="restore this object from a backup or an older version of it; "
                "without it the home's state is unknown",
            )
        ids: dict[str, int] = {}
        for number, entry in self._entries(expected):
            changed |= self._apply(number, entry)
            ids[entry["id"]] = number
        self.changed |= changed
        return changed, ids

    def _start(self) -> set[str]:
        """Reads the newest checkpoint; returns the home's paths in it."""
        while checkpoints := [key for key, _ in self._store.list("checkpoints/")]:
            try:
                state = json.loads(self._store.get(max(checkpoints)))
            except FileNotFoundError:  # deleted meanwhile: there is a newer one
                continue
            self.head, self.files, self.locks = state["head"], state["files"], state["locks"]
            break
        return set(self.files)

    def _entries(self, keys: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        if not keys:
            return
        with concurrent.futures.ThreadPoolExecutor(min(THREADS, len(keys))) as pool:
            for data in pool.map(self._store.get, keys):
                yield self.head + 1, json.loads(data)

    def _apply(self, number: int, entry: dict[str, Any]) -> set[str]:
        for path in entry.get("remove", ()):
            self.files.pop(path, None)
        self.files.update(entry.get("put", {}))
        if "take" in entry:
            self.locks[entry["take"]["name"]] = {**entry["take"], "fence": number}
        if "free" in entry:
            name, fence = entry["free"]["name"], entry["free"]["fence"]
            if self.locks.get(name, {}).get("fence") == fence:
                del self.locks[name]
        self.head = number
        return {*entry.get("remove", ()), *entry.get("put", {})}

    def _checkpoint(self) -> None:
        state = {"head": self.head, "files": self.files, "locks": self.locks}
        self._store.put(f"checkpoints/{self.head:012d}.json", json.dumps(state).encode())
        old = sorted(key for key, _ in self._store.list("checkpoints/"))[:-2]
        self._store.delete(old)


def _key(number: int) -> str:
    return f"log/{number:012d}.json"
