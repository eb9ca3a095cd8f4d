"""Atomic files and folders: complete or absent, even if the writer is killed.

Everything is written under a temporary name in the same folder, synced, and renamed. A rename within one file system is
atomic, and after a sync of the folder it survives a power cut. Temporary names begin with `.staging-`.

Below the working copy of a home in an object store (`noria.core.objects`), each change is committed there first, and
then made here.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from noria.core.errors import NoriaError

STAGING = ".staging-"
_CHUNK = 1 << 20

# Error of the operating system -> what the user can do.
NEXT_STEPS = {
    errno.ENOSPC: "free some disk space (the last good state is safe), then run again",
    errno.EDQUOT: "free some of your disk quota (the last good state is safe), then run again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), then run again",
    errno.EACCES: "give this user the right to read and write there, then run again",
    errno.EPERM: "give this user the right to read and write there, then run again",
    errno.EROFS: "mount the file system writable, or set `home` to a folder elsewhere",
}


class Home(Protocol):
    """A home in an object store, whose working copy is a folder here (`noria.core.objects.home`)."""

    def name(self, path: Path) -> str: ...

    def owns(self, path: Path) -> bool: ...

    def pull(self) -> None: ...

    def reading(self) -> AbstractContextManager[None]: ...

    def fetch(self, path: Path) -> None: ...

    def mirror(self, root: Path) -> Path: ...

    def change(self, path: Path, content: Path | None, new: bool = False) -> AbstractContextManager[None]: ...

    def lease(self, name: str, wait: float, command: str) -> AbstractContextManager[None]: ...

    def holder(self, name: str) -> dict[str, Any] | None: ...


_homes: dict[Path, Home] = {}


def follow(folder: Path, home: Home) -> None:
    """Lets changes below a folder be committed in an object store first, from now on."""
    _homes[folder] = home


def home_of(path: Path) -> Home | None:
    """The home in an object store that a path belongs to; None for a path that is on this machine only."""
    for folder, home in _homes.items():
        if path.absolute().is_relative_to(folder) and home.owns(path.absolute()):
            return home
    return None


def fetched(path: Path) -> Path:
    """The path, with all files at or below it copied from the object store, if it belongs to one."""
    home = home_of(path)
    if home is not None:
        home.fetch(path.absolute())
    return path


def _change(path: Path, content: Path | None, new: bool = False) -> AbstractContextManager[None]:
    """Commits a change in the object store that a path belongs to, if any; the block makes the same change here."""
    home = home_of(path)
    if home is None or path.name.startswith(STAGING):
        return contextlib.nullcontext()
    return home.change(path.absolute(), content, new)


@contextlib.contextmanager
def explained(what: str, where: Path, kind: type[NoriaError]) -> Iterator[None]:
    """Converts an OSError (a full disk, no permission, a broken device) to an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise refusal(error, what, where, kind) from error


def refusal(error: OSError, what: str, where: object, kind: type[NoriaError]) -> NoriaError:
    """An OSError as an error of Noria: `what` failed, the system's message, and what to do."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    step = NEXT_STEPS.get(error.errno or 0, "check the disk and the path, then run again")
    return kind(f"{what}: {reason}", where=error.filename or where, next_step=step)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync folders; they order their operations on the server.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Syncs every file and folder below `folder`, and itself.

    Several at a time: the disk writes them together, which takes half the time for a model's 20 files.
    """
    paths = [Path(root) / name for root, _, names in os.walk(folder) for name in (*names, "")]
    with concurrent.futures.ThreadPoolExecutor(min(8, len(paths))) as pool:
        for _ in pool.map(sync, paths):
            pass


def staging(folder: Path) -> Path:
    """A new temporary name in `folder`, which `sweep` recognises."""
    return folder / f"{STAGING}{os.getpid()}-{uuid.uuid4().hex[:8]}"


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file in one step: readers see the old bytes or the new ones, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = staging(path.parent)
    try:
        _write_synced(beside, data)
        with _change(path, beside):
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def commit_file(beside: Path, path: Path) -> None:
    """Syncs a staged file and renames it to `path`, in place of an older one."""
    sync(beside)
    with _change(path, beside):
        os.replace(beside, path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_new(path: Path, data: bytes) -> None:
    """Makes a file that must not exist yet. Exactly one of two writers succeeds, and the file is complete.

    Raises:
      FileExistsError: another writer made it first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = staging(path.parent)
    try:
        _write_synced(beside, data)
        with _change(path, beside, new=True):
            try:
                os.link(beside, path)
            except OSError as error:
                if error.errno not in (
                    errno.EPERM,
                    errno.ENOTSUP,
                    errno.EOPNOTSUPP,
                    errno.ENOSYS,
                    errno.EMLINK,
                ):
                    raise
                # Without hard links only the callers' lock separates two writers.
                if path.exists():
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
                os.rename(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def commit_folder(beside: Path, target: Path) -> None:
    """Syncs a staged folder and renames it to `target`, which must not exist.

    Raises:
      FileExistsError: `target` exists.
    """
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    sync_tree(beside)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _change(target, beside, new=True):
        os.rename(beside, target)
    sync(target.parent)


def replace_folder(beside: Path, target: Path) -> None:
    """`commit_folder` that first removes an older `target`.

    A folder cannot be renamed over one with files in it. A crash between the two steps leaves no `target`, so this is
    for what can be made again.
    """
    remove_tree(target)
    commit_folder(beside, target)


def copy_tree(source: Path, target: Path, *, link: bool = True) -> None:
    """Copies a file or a folder; existing folders are filled, existing files replaced.

    Args:
      source: file or folder.
      target: the copy.
      link: use hard links if the file system allows it. Only for files that nobody changes.
    """
    fetched(source)
    if not source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source, target, link)
        return
    for root, folders, names in os.walk(source):
        into = target / Path(root).relative_to(source)
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy_file(Path(root) / name, into / name, link)
        folders.sort()


def remove_tree(path: Path) -> None:
    """Deletes a file or folder, renamed to a temporary name first, so that nobody sees a part of it."""
    doomed = path
    with _change(path, None):
        if not path.exists() and not path.is_symlink():
            return
        if not path.name.startswith(STAGING):
            doomed = staging(path.parent)
            os.rename(path, doomed)
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed)
    else:
        doomed.unlink()


def sweep(folder: Path) -> list[Path]:
    """Deletes what killed writers left in `folder`. The caller must hold the folder's lock.

    Returns:
      The names that were deleted.
    """
    if not folder.is_dir():
        return []
    leftovers = sorted(path for path in folder.iterdir() if path.name.startswith(STAGING))
    for path in leftovers:
        remove_tree(path)
    return leftovers


Mark = tuple[int, int, int]


def mark(path: str | Path) -> Mark | None:
    """Inode, bytes and time of change: distinguishes a file from another one of the same name. None if there is
    none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tree_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below `folder` (or of the file itself, under `.`), by relative path."""
    if not folder.is_dir():
        return {".": sha256(folder)}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def tree_digest(folder: Path) -> str:
    """One sha256 over the names and contents of all files below `folder`."""
    lines = (f"{name}\x00{digest}\n" for name, digest in tree_digests(folder).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy_file(source: Path, target: Path, link: bool) -> None:
    target.unlink(missing_ok=True)
    if link:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
