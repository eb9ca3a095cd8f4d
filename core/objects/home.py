"""A home in an object store, with a working copy on this machine.

    <url>/log, <url>/checkpoints     what is in the home (`log.py`)
    <url>/files/<path>/<random>      the files; a changed file gets a new object
    <url>/models/<name>/<version>/   the TF Serving model directory, under its own names
    <url>/locks/<fence>              when the holder of a lock was last seen (`lease.py`)

All stores of Noria work on the working copy, which is a folder like any other home. A change goes into the log first
and becomes visible in the working copy then (`noria.core.files` calls `change`), so that a process that is killed
leaves nothing there that the log does not know.
"""

import contextlib
import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from noria.core import files, locks
from noria.core.errors import StoreError
from noria.core.objects.change_log import EVERY, Log
from noria.core.objects.copy import HERE, PRIVATE, WorkingCopy, parallel, walk
from noria.core.objects.lease import Leases, TakenError, clock
from noria.core.objects.store import ObjectStore

POLL = 1.0  # seconds between two looks at a lock that another one holds
# Objects that no entry names are what killed writers left, after so many seconds.
GARBAGE = 24 * 3600
_MODELS = "models/"


def working_copy(url: str) -> Path:
    """The folder of a home's working copy: below `NORIA_CACHE`, by default `~/.cache/noria`."""
    cache = os.environ.get("NORIA_CACHE") or Path("~/.cache/noria").expanduser()
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url.partition("://")[2]).strip("-")
    return Path(cache).resolve() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def mount(url: str, folder: Path | None = None) -> Path:
    """Makes the working copy of a home follow the object store, in this process from now on; returns its folder.

    Args:
      url: `s3://bucket/prefix` or `gs://bucket/prefix`.
      folder: the working copy; default: `working_copy`.

    Raises:
      StoreError: the store cannot be reached, or refuses.
    """
    url = url.rstrip("/")
    place = (folder or working_copy(url)).resolve()
    if files.home_of(place) is None:
        home = ObjectHome(url, place)
        home.pull()
        files.follow(place, home)
    return place


class ObjectHome:
    """One home.

    Args:
      url: where it is.
      folder: its working copy.
    """

    def __init__(self, url: str, folder: Path):
        self.url, self.folder = url, folder
        self._store = ObjectStore(url)
        self._log = Log(self._store)
        self._leases = Leases(self._store, self._log)
        self._copy = WorkingCopy(folder, self._store, self._log)
        self._thread = threading.RLock()
        self._process = filelock.FileLock(str(folder / PRIVATE / "lock"), thread_local=False)

    def name(self, path: Path) -> str:
        """A path of the working copy as a path in the home."""
        return path.relative_to(self.folder).as_posix()

    def owns(self, path: Path) -> bool:
        """Whether a path of the working copy is in the store."""
        return self.name(path).partition("/")[0] not in (*HERE, PRIVATE)

    def pull(self) -> None:
        """Reads what is new in the log, and lets the working copy follow."""
        with self._exclusive():
            self._log.refresh()
            self._copy.follow()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keeps the working copy as the newest entry says while the block runs: one change, or none of it."""
        with self._exclusive():
            self.pull()
            yield

    def fetch(self, path: Path) -> None:
        """Copies the files at or below a path that are not here yet."""
        with self._exclusive():
            name = self.name(path)
            try:
                self._copy.download(self._below(name))
            except FileNotFoundError:  # replaced meanwhile, and deleted
                self.pull()
                self._copy.download(self._below(name))
            self._copy.save()

    def mirror(self, root: Path) -> Path:
        """A folder that has the versions of a model directory, each by one rename: for a server of this machine.

        Returns:
          The folder; it follows with the next call.
        """
        into = self.folder / PRIVATE / "served" / root.name
        into.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            self.pull()
            versions = (*root.glob("[0-9]*"), *root.glob(".twin-[0-9]*"))  # see noria.stores.model_directory
            there = {path.name: f".{path.name.rpartition('-')[2]}.sig" for path in versions}
            for name in there.keys() - {path.name for path in into.iterdir()}:
                self.fetch(root / name)
                signature = files.fetched(root / there[name])
                if signature.is_file():
                    files.copy_tree(signature, into / signature.name)
                beside = files.staging(into)
                files.copy_tree(root / name, beside)
                os.rename(beside, into / name)
            for path in into.iterdir():
                if path.name not in {*there, *there.values()}:
                    files.remove_tree(path)
        return into

    @contextlib.contextmanager
    def change(self, path: Path, content: Path | None, new: bool = False) -> Iterator[None]:
        """Commits a change of the home; the block makes the same change in the working copy.

        Args:
          path: the file or folder that appears, is replaced, or goes.
          content: where its new content is; None if it goes.
          new: it must not exist yet.

        Raises:
          FileExistsError: it exists.
          LockedError: this process has lost one of its locks.
        """
        name, begun = self.name(path), time.time()
        with self._exclusive():
            self._copy.follow()
            before = self._below(name)
            if new and before:
                raise FileExistsError(f"{self.url}/{name} exists")
            if content is None and not before:
                yield
                return

            def check(changed: set[str]) -> None:
                self._leases.check()
                if any(_is_at(name, each) for each in changed):
                    if new:
                        raise FileExistsError(f"{self.url}/{name} exists")
                    raise self._refusal(name, "another process has changed the same file of the home")
                if time.time() - begun > GARBAGE / 2:
                    raise self._refusal(name, "the upload took so long that its objects may count as garbage")

            if name.startswith(_MODELS):
                self._log.refresh()  # a process that has lost the lock must not change what is served
                self._leases.check()
            put = self._upload(name, content) if content is not None else {}
            removed = [each for each in before if each not in put]
            if removed and name.startswith(_MODELS):
                self._delete_served(removed)
            try:
                number = self._log.append({"put": put, "remove": removed}, check)
            except FileExistsError:
                self._copy.follow()  # the caller then finds the file of the other process
                raise
            self._log.changed -= {*put, *removed}
            try:
                self._copy.follow()
                yield
            except BaseException:
                self._copy.forget()
                raise
            self._copy.note(put, removed)
            if replaced := [stored["key"] for each, stored in before.items() if stored != put.get(each)]:
                self._store.delete(replaced)
            if number % EVERY == 0:
                self._collect_garbage()

    @contextlib.contextmanager
    def lease(self, name: str, wait: float, command: str) -> Iterator[None]:
        """Holds one of the home's locks while the block runs; the working copy is up to date when it begins.

        Raises:
          LockedError: another one holds it.
        """
        fence = self._take(name, wait, command)
        try:
            with self._leases.beating(fence):
                yield
        finally:
            with self._exclusive():
                self._copy.save()
                self._leases.free(name)

    def holder(self, name: str) -> dict[str, Any] | None:
        """Who holds a lock, as of the last `pull`."""
        return self._log.locks.get(name)

    def _take(self, name: str, wait: float, command: str) -> int:
        deadline = time.monotonic() + wait
        while True:
            try:
                with self._exclusive():
                    fence = self._leases.take(name, command)
                    self._copy.follow()
                    return fence
            except TakenError as error:
                if wait >= 0 and time.monotonic() >= deadline:
                    raise locks.refusal(error.holder, f"{self.url}, lock {name}", wait) from None
            time.sleep(POLL if wait < 0 else min(POLL, max(0.0, deadline - time.monotonic())))

    def _upload(self, name: str, content: Path) -> dict[str, dict[str, Any]]:
        """Writes the objects of a file, or of all files below a folder; the served model's own file is the last."""
        if content.is_dir():
            found = {f"{name}/{path.relative_to(content).as_posix()}": path for path in walk(content)}
        else:
            found = {name: content}
        token = uuid.uuid4().hex[:12]
        put: dict[str, dict[str, Any]] = {
            path: {
                "key": path if path.startswith(_MODELS) else f"files/{path}/{token}",
                "bytes": file.stat().st_size,
            }
            for path, file in found.items()
        }
        last = [path for path in put if path.startswith(_MODELS) and path.endswith("/saved_model.pb")]

        def write(path: str) -> None:
            self._store.put(put[path]["key"], found[path])

        parallel(write, [path for path in put if path not in last])
        parallel(write, last)
        return put

    def _delete_served(self, names: list[str]) -> None:
        """Deletes served files before the log says so; a killed withdrawal is finished by `recover`."""
        first = [name for name in names if name.endswith("/saved_model.pb")]
        self._store.delete(first)
        self._store.delete([name for name in names if name not in first])

    def _collect_garbage(self) -> None:
        known = {*self._leases.signs(), *(stored["key"] for stored in self._log.files.values())}
        now = clock(self._store)
        for prefix in ("files/", _MODELS, "locks/"):
            old = [
                key
                for key, changed in self._store.list(prefix)
                if key not in known and (now - changed).total_seconds() > GARBAGE
            ]
            self._store.delete(old)

    def _refusal(self, name: str, what: str) -> StoreError:
        return StoreError(what, where=f"{self.url}/{name}", next_step="run again")

    def _below(self, name: str) -> dict[str, dict[str, Any]]:
        return {path: stored for path, stored in self._log.files.items() if _is_at(name, path)}

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._thread, self._process:
            yield


def _is_at(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}/") or name == "."
