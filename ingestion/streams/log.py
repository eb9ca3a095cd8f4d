"""An append-only log in a folder: events without a broker.

    log.json                      the log's id
    00000000000000000000.log      frames, named by the position of the first one; a new file each FILE_BYTES

A frame is one append: length, CRC-32 and time, then each event with its length. A position is a byte of the log. Each
append holds the log's lock and is synced before it returns. A frame that a killed writer left incomplete was never
acknowledged; the next writer removes it. The reader syncs before it reads, so that it never sees what a power cut takes
away.
"""

import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.core import files, locks
from noria.core.errors import DataError
from noria.ingestion.streams.base import Bounds, Messages, Stream

__all__ = ["Log", "LogWriter"]

FILE_BYTES = 64 << 20
READ_BYTES = 4 << 20
_HEADER = struct.Struct(">IIq")  # bytes of the body, CRC-32 of time and body, epoch milliseconds
_LENGTH = struct.Struct(">I")
_MOST = 256 << 20  # a longer body is not a frame


class LogWriter:
    """Appends to a log. Several processes may append at the same time.

    Args:
      folder: the log's folder; made if it is missing.
      keep_bytes: delete the oldest files while the others hold so much; None keeps all.
      wait: seconds to wait for another writer.
    """

    def __init__(self, folder: Path | str, *, keep_bytes: int | None = None, wait: float = 60):
        self.folder = Path(folder)
        self.keep_bytes = keep_bytes
        self.wait = wait
        self._end: tuple[Path, int, int] | None = None  # file, inode, and where our last append ended

    def append(self, events: Iterable[bytes | str | dict[str, Any]]) -> int:
        """Appends events, all or none.

        Args:
          events: JSON as bytes or text, or dicts.

        Returns:
          The position after them. They are on the disk.

        Raises:
          DataError: the folder cannot be written.
          LockedError: another writer holds the log for longer than `wait`.
        """
        values = [_encoded(event) for event in events]
        body = b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))
        if len(body) > _MOST:
            raise DataError(f"one append must have at most {_MOST >> 20} MiB, got {len(body) >> 20}")
        with (
            files.explained("the event log cannot be written", self.folder, DataError),
            locks.hold(self.folder, wait=self.wait, name=".lock"),
        ):
            self._create()
            path, size = self._tail()
            if not values:
                return int(path.stem) + size
            if size >= FILE_BYTES:
                path, size = self._next_file(path, size)
            stamp = int(time.time() * 1000)
            frame = _HEADER.pack(len(body), _checksum(stamp, body), stamp) + body
            with path.open("r+b") as file:
                file.seek(size)
                file.write(frame)
                file.flush()
                os.fsync(file.fileno())
                inode = os.fstat(file.fileno()).st_ino
            self._end = (path, inode, size + len(frame))
            # Only a shortcut, so it is not synced.
            (self.folder / "tail").write_text(json.dumps([path.name, size + len(frame)]), encoding="utf-8")
            return int(path.stem) + size + len(frame)

    def _create(self) -> None:
        identity = self.folder / "log.json"
        if not identity.exists():
            if _files(self.folder):
                raise _damaged(identity, "log.json is missing")
            files.write_json(identity, {"id": uuid.uuid4().hex})
        if not _files(self.folder):
            self._touch(0)

    def _touch(self, base: int) -> Path:
        path = self.folder / f"{base:020d}.log"
        path.touch()
        files.sync(path)
        files.sync(self.folder)
        return path

    def _tail(self) -> tuple[Path, int]:
        """The last file and the end of its last whole frame; removes what a killed writer left behind it."""
        path = _files(self.folder)[-1]
        status = path.stat()
        if self._end == (path, status.st_ino, status.st_size):
            return path, status.st_size
        end = _whole(path, status.st_size)
        if end < status.st_size:
            if not _is_torn(path, end):
                raise _damaged(path, f"the frame at byte {end:,} is damaged")
            os.truncate(path, end)
            files.sync(path)
        return path, end

    def _next_file(self, path: Path, size: int) -> tuple[Path, int]:
        fresh = self._touch(int(path.stem) + size)
        if self.keep_bytes is not None:
            old = _files(self.folder)[:-1]
            while old and sum(each.stat().st_size for each in old) > self.keep_bytes:
                old.pop(0).unlink()
        return fresh, 0


class Log(Stream):
    """Reads a log: one partition, number 0. `given` is the folder, or `{folder: ..., keep_mib: ...}`."""

    def __init__(self, given: Any, folder: Path, name: str = "noria"):
        super().__init__(given, folder, name)
        values = {"folder": given} if isinstance(given, str) else dict(given or {})
        keep = values.pop("keep_mib", None)
        where = values.pop("folder", None)
        if values or not isinstance(where, str) or not (keep is None or (isinstance(keep, int) and keep > 0)):
            raise DataError(
                f"a log must be a folder, or have `folder` and `keep_mib`, got {given!r}",
                where="config key stream.source",
                next_step="write `source: {log: events}`",
            )
        self.path = folder / Path(where).expanduser()
        self.keep_bytes = None if keep is None else keep << 20
        self._at = 0
        self._end = self._paused = False

    @property
    def name(self) -> str:
        return f"log {self.path.name}"

    def writer(self) -> LogWriter:
        """What appends to it."""
        return LogWriter(self.path, keep_bytes=self.keep_bytes)

    def identity(self) -> dict[str, Any]:
        path = self.path / "log.json"
        try:
            return {"source": "log", "id": json.loads(path.read_text(encoding="utf-8"))["id"]}
        except FileNotFoundError:
            raise DataError(
                "there is no event log", where=self.path, next_step="`noria emit` makes it and appends events"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"log.json cannot be read: {error}") from error

    def bounds(self) -> dict[int, Bounds]:
        found = _files(self.path)
        if not found:
            raise _damaged(self.path, "it has no files")
        last = found[-1]
        return {0: Bounds(int(found[0].stem), int(last.stem) + _whole(last, last.stat().st_size))}

    def open(
        self,
        positions: Callable[[], Mapping[int, int]],
        lost: Callable[[Collection[int]], None] = lambda partitions: None,
    ) -> None:
        stored = positions().get(0)
        self._at = self.bounds()[0].first if stored is None else stored
        self._end = False

    def read(self, limit: int, timeout: float) -> list[Messages]:
        until = time.monotonic() + timeout
        if self._paused:
            time.sleep(timeout)
            return []
        while True:
            with files.explained("the event log cannot be read", self.path, DataError):
                found = self._read(limit)
            self._end = found is None
            if found is not None:
                return [found]
            left = until - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(0.05, left))

    def seek(self, partition: int, position: int) -> None:
        self._at = position

    def assigned(self) -> set[int]:
        return {0}

    def caught_up(self) -> bool:
        return self._end

    def pause(self, paused: bool) -> None:
        self._paused = paused

    def _read(self, limit: int) -> Messages | None:
        paths = _files(self.path)
        older = [path for path in paths if int(path.stem) <= self._at]
        if not older:
            raise DataError(
                f"the log no longer has position {self._at:,}; it begins at {int(paths[0].stem) if paths else 0:,}",
                where=self.path,
                next_step="docs/streams.md says what to do when retention has passed",
            )
        path = older[-1]
        base = int(path.stem)
        size = path.stat().st_size
        if self._at - base >= size:
            if path == paths[-1] or self._at > base + size:
                return None
            self._at = int(paths[paths.index(path) + 1].stem)
            return self._read(limit)
        if path == paths[-1]:
            files.sync(path)
        start = self._at
        offsets: list[int] = []
        times: list[int] = []
        values: list[bytes | None] = []
        for at, stamp, body in self._frames(path, start - base, size):
            position, end, begin, length_at = 0, len(body), base + at + _HEADER.size, _LENGTH.unpack_from
            while position < end:
                after = position + 4 + length_at(body, position)[0]
                offsets.append(begin + position)
                values.append(body[position + 4 : after])
                position = after
            times += [stamp] * (len(values) - len(times))
            self._at = base + at + _HEADER.size + len(body)
            if len(values) >= limit:
                break
        if not values:
            return None
        return Messages(0, start, offsets, times, values, self._at)

    def _frames(self, path: Path, at: int, size: int) -> Iterator[tuple[int, int, bytes]]:
        """Whole frames of a file from byte `at` on: where each begins, its time, its body."""
        for frame in _frames(path, at, size):
            yield frame
            at = frame[0] + _HEADER.size + len(frame[2])
        if at >= size:
            return
        # Something is behind the last whole frame: an append that is under way or was killed, or damage.
        with locks.hold(self.path, wait=60, name=".lock"):
            last = path == _files(self.path)[-1]
            if next(_frames(path, at, path.stat().st_size), None) is None and not (
                last and _is_torn(path, at)
            ):
                raise _damaged(path, f"the frame at byte {at:,} is damaged")


def _frames(path: Path, at: int, size: int) -> Iterator[tuple[int, int, bytes]]:
    with path.open("rb") as file:
        file.seek(at)
        buffer = b""
        begin = at  # of the buffer
        position = 0
        while True:
            if len(buffer) - position >= _HEADER.size:
                length, checksum, stamp = _HEADER.unpack_from(buffer, position)
                if length > _MOST:
                    return
                end = position + _HEADER.size + length
                if end <= len(buffer):
                    body = buffer[position + _HEADER.size : end]
                    if _checksum(stamp, body) != checksum:
                        return
                    yield begin + position, stamp, body
                    position = end
                    continue
            more = file.read(min(READ_BYTES, size - begin - len(buffer)))
            if not more:
                return
            buffer, begin, position = buffer[position:] + more, begin + position, 0


def _is_torn(path: Path, at: int) -> bool:
    """Whether the bytes at the end can be the beginning of a frame whose writer was killed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(at)
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return True
    # After a power cut the length may be there, and bytes of the body not: a frame that ends where the file does.
    return at + _HEADER.size + _HEADER.unpack(header)[0] >= size


def _whole(path: Path, size: int) -> int:
    """Where the last whole frame of a file ends."""
    end = 0
    try:
        name, known = json.loads((path.parent / "tail").read_text(encoding="utf-8"))
        if name == path.name and known <= size:
            end = known
    except (OSError, ValueError, TypeError):
        pass
    for at, _, body in _frames(path, end, size):
        end = at + _HEADER.size + len(body)
    return end


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.log") if path.stem.isdigit())


def _checksum(stamp: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack(">q", stamp)))


def _encoded(event: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(event, dict):
        event = json.dumps(event, ensure_ascii=False)
    return event.encode() if isinstance(event, str) else event


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"the event log is damaged: {what}",
        where=path,
        next_step="restore the folder from a backup, or move it away and continue with --accept-loss",
    )
