"""The audit log: what happened at the server and who did it, one JSON object a line, with the hash of the line before.

A line that is changed, removed or moved breaks the chain at the next line. The last lines can be cut off without a
trace in the file: who keeps the hash of the newest line elsewhere (`noria audit verify` prints it) sees that too.
A line is appended in one write and synced. What a crash has left of a line stays in the file, and is followed by an
entry `resumed`.
"""

import concurrent.futures
import dataclasses
import datetime
import fcntl
import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import ServingError

__all__ = ["AuditLog", "Chain", "verify"]

START = "0" * 64  # in place of the hash of a line before the first one
LONGEST = 1000  # characters of a value
# Refusals come as often as somebody asks: in each minute the first of a kind is written, and how many were not.
REFUSALS = 60
LOG = logging.getLogger("noria.serving")


@dataclasses.dataclass(frozen=True)
class Chain:
    """A log that holds together.

    Attributes:
      entries: how many.
      head: the newest line's hash.
      torn: bytes after it that a crash has left of a line.
    """

    entries: int
    head: str
    torn: int


class AuditLog:
    """Appends entries; several processes may share a file.

    Raises:
      ServingError: the file cannot be written, or its last line is not an entry.
    """

    def __init__(self, path: Path):
        self.path = path
        self._size, self._head, self._number = -1, START, 0
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "audit")
        self._refused: set[tuple[str, str]] = set()
        self._minute = self._missed = 0
        with files.explained("the audit log cannot be written", path, ServingError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
            files.sync(path.parent)

    def append(self, event: str, **fields: Any) -> str:
        """Writes an entry, and returns its hash when it is on the disk.

        Raises:
          ServingError: it cannot be written.
        """
        with files.explained("the audit log cannot be written", self.path, ServingError):
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                size = os.fstat(self._file).st_size
                if size != self._size:
                    self._read_end(size)
                return self._write(event, fields)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def note(self, event: str, **fields: Any) -> concurrent.futures.Future[str]:
        """`append` in a thread, in the order of the calls; what cannot be written is in the server's log."""
        future = self._thread.submit(self.append, event, **fields)
        future.add_done_callback(_complain)
        return future

    def refused(self, reason: str, client: str, what: str) -> None:
        """A request that was not admitted; `note` for the first of each kind in a minute."""
        minute = int(time.time() // 60)
        if minute != self._minute:
            if self._missed:
                self.note("refused", count=self._missed, reason="more, in the same minute as those before")
            self._refused, self._minute, self._missed = set(), minute, 0
        if (reason, client) in self._refused or len(self._refused) == REFUSALS:
            self._missed += 1
            return
        self._refused.add((reason, client))
        self.note("refused", client=client, what=what, reason=reason)

    def close(self) -> None:
        """Waits until everything is written."""
        self._thread.shutdown()
        os.close(self._file)

    def _write(self, event: str, fields: dict[str, Any]) -> str:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        entry = {"number": self._number + 1, "time": now, "event": event, **fields, "previous": self._head}
        entry = {key: each[:LONGEST] if isinstance(each, str) else each for key, each in entry.items()}
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        self._size = -1  # unknown until the write has succeeded
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError("the disk took a part of an entry only")
        os.fsync(self._file)
        self._size = os.fstat(self._file).st_size
        self._number, self._head = entry["number"], _hash(line)
        return self._head

    def _read_end(self, size: int) -> None:
        """Finds the newest entry; ends a torn line."""
        block = min(size, 1 << 20)
        end = os.pread(self._file, block, size - block)
        if end and not end.endswith(b"\n"):
            os.write(self._file, b"\n")
            end += b"\n"
        lines = end.splitlines(keepends=True)
        entries = list(filter(None, map(_entry, lines[-2:])))
        if len(lines) > 1 and not entries:
            raise ServingError(
                "the end of the audit log is not an entry",
                where=self.path,
                next_step="move the file away and keep it; a new one is begun",
            )
        self._number = entries[-1]["number"] if entries else 0
        self._head = _hash(lines[-1]) if lines else START
        if lines and _entry(lines[-1]) is None:
            self._write("resumed", {"torn_bytes": len(lines[-1]) - 1})


def verify(path: Path, head: str = "") -> Chain:
    """Follows the chain from the first line to the last.

    Args:
      head: the hash of a line that must be in it; any if empty.

    Raises:
      ServingError: the file cannot be read, or the chain is broken; with the line's number.
    """
    previous, entries, torn, number, line = START, 0, False, 0, b""
    seen = not head
    with files.explained("the audit log cannot be read", path, ServingError), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return _chain(path, entries, previous, len(line), seen, head, torn, number)
            entry = _entry(line)
            if entry is None:
                if torn:
                    raise _broken(path, number, "is not an entry")
                torn, previous = True, _hash(line)
                continue
            if torn and entry.get("event") != "resumed":
                raise _broken(path, number - 1, "is not an entry")
            if entry.get("previous") != previous:
                raise _broken(
                    path,
                    number,
                    "does not follow the line before it: one of the two was changed, or one is gone",
                )
            if entry.get("number") != entries + 1:
                raise _broken(path, number, f"must have the number {entries + 1}, got {entry.get('number')}")
            entries, previous, torn = entries + 1, _hash(line), False
            seen = seen or previous == head
    return _chain(path, entries, previous, 0, seen, head, torn, number)


def _chain(
    path: Path, entries: int, previous: str, left: int, seen: bool, head: str, torn: bool, number: int
) -> Chain:
    if torn:
        raise _broken(path, number, "is not an entry")
    if not seen:
        raise ServingError(
            f"no line has the hash {head}: the log was cut off after it, or it is of another log", where=path
        )
    return Chain(entries, previous, left)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("number"), int) else None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _broken(path: Path, number: int, what: str) -> ServingError:
    return ServingError(
        f"line {number} {what}",
        where=path,
        next_step="compare it with a copy; what comes before this line is as it was written",
    )


def _complain(future: concurrent.futures.Future[str]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        LOG.error("%s", error)
