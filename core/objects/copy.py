"""The working copy: a folder on this machine that follows the log of a home in an object store.

    .home/lock          one process of this machine at a time changes the working copy
    .home/index.json    path -> key of the object that its file here is a copy of, and the file's mark

Small files are copied when the log is read, large ones when they are asked for. A file whose mark has changed is not
trusted, and copied again.
"""

import concurrent.futures
import fnmatch
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.objects.change_log import THREADS, Log
from noria.core.objects.store import ObjectStore

PRIVATE = ".home"
# Parts of the working copy that stay on this machine: TFX's artifacts, homes of replays.
HERE = ("tfx", "replays")
# Not copied until they are asked for.
_LARGE = (
    "spans/*/v*/*.parquet",
    "stream/segments/*/*.parquet",
    "statistics/*/*.pb",
    "registry/versions/*/*/*",
    "models/*",
    "analyzer_cache/*",
    "landing/*",
    "dead-letters/*",
    "runs/*/tasks/*",
    "training/*",
    "reports/*.html",
)


class WorkingCopy:
    """The files of one home on this machine; only for the holder of its lock."""

    def __init__(self, folder: Path, store: ObjectStore, log: Log):
        self.folder = folder
        self._store = store
        self._log = log
        self._private = folder / PRIVATE
        self._private.mkdir(parents=True, exist_ok=True)
        self._index: dict[str, list[Any]] | None = None
        self._unsaved = False

    def follow(self) -> None:
        """Makes what other writers have changed visible here; at first, or after `forget`, compares all files."""
        if self._index is None:
            self._index = self._load()
            self._log.changed |= {*self._log.files, *self._index, *self._found()}
        wanted = []
        for name in self._log.changed:
            path = self.folder / name
            if name not in self._log.files:
                self._drop(path)
            elif not self._is_here(name):
                if any(fnmatch.fnmatch(name, pattern) for pattern in _LARGE):
                    path.unlink(missing_ok=True)
                    path.parent.mkdir(parents=True, exist_ok=True)
                else:
                    wanted.append(name)
        self.download(wanted)
        self._log.changed.clear()
        self.save()

    def download(self, names: Iterable[str]) -> None:
        """Copies files that are not here.

        Raises:
          FileNotFoundError: the object is not there any more: the log says more by now.
        """
        wanted = [name for name in names if not self._is_here(name)]

        def copy(name: str) -> None:
            beside = files.staging(self._private)
            try:
                self._store.download(self._log.files[name]["key"], beside)
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)

        parallel(copy, wanted)
        self.note(wanted, ())

    def note(self, here: Iterable[str], removed: Iterable[str]) -> None:
        """Notes that files here are copies of what the log names now, or were removed."""
        if self._index is None:
            return
        for name in removed:
            self._index.pop(name, None)
        for name in here:
            mark = files.mark(self.folder / name)
            if mark is not None:
                self._index[name] = [self._log.files[name]["key"], *mark]
        self._unsaved = True

    def forget(self) -> None:
        """Lets the next `follow` compare all files: a change was committed, and could not be made here."""
        self._index = None

    def save(self) -> None:
        """Writes the index; without it, files are copied again."""
        if not self._unsaved:
            return
        beside = files.staging(self._private)
        beside.write_text(json.dumps(self._index), encoding="utf-8")
        os.replace(beside, self._private / "index.json")
        self._unsaved = False

    def _load(self) -> dict[str, list[Any]]:
        try:
            return json.loads((self._private / "index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _is_here(self, name: str) -> bool:
        noted = (self._index or {}).get(name)
        mark = files.mark(self.folder / name)
        return noted is not None and noted == [self._log.files[name]["key"], *(mark or ())]

    def _drop(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == self.folder or not parent.is_dir():
                break
            try:
                parent.rmdir()
            except OSError:  # not empty
                break

    def _found(self) -> list[str]:
        """The files that a change may have made. What a killed process left under a temporary name is deleted."""
        for path in self._private.glob(f"{files.STAGING}*"):
            path.unlink(missing_ok=True)
        found = []
        for folder in self.folder.iterdir():
            # Files of `runs` are written in place, and shared when they are complete.
            if folder.is_dir() and not folder.name.startswith(".") and folder.name not in (*HERE, "runs"):
                found += [path.relative_to(self.folder).as_posix() for path in walk(folder)]
        return [name for name in found if not any(part.startswith(".") for part in name.split("/"))]


def walk(folder: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def parallel(work: Callable[[str], None], names: list[str]) -> None:
    """Calls `work` with each name, several at a time."""
    if not names:
        return
    with concurrent.futures.ThreadPoolExecutor(min(THREADS, len(names))) as pool:
        for _ in pool.map(work, names):
            pass
