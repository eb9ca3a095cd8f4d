"""The ledger: which sources were ingested whole, so that none is ingested twice.

It is a shortcut, not the truth: every span's manifest names the sources of its rows, and an ingestion that
was killed before the ledger was written finds in them what is there already.
"""

import dataclasses
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

from noria.stores import files
from noria.stores.spans import SpanStore
from noria.streaming.formats import FileTable, Table

# A file that was changed so short a time before it was looked at may have been changed again within the same
# tick of its file system's clock: its digest is not taken over (git calls such an entry "racily clean").
TICK_NS = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a source begins with: all the rows of one that was read before.

    Attributes:
      name: that source's name.
      digest: its sha256.
      rows: how many rows it had.
      rows_sha256: digest of their values, in their order (`growth.RowDigest`).
    """

    name: str
    digest: str
    rows: int
    rows_sha256: str


class Ledger:
    """Entries in `spans/sources/<sha256>.json`, and the digests of known files in `spans/sources/files.json`."""

    def __init__(self, store: SpanStore):
        self._store = store
        self._folder = store.folder / "sources"
        self._known = _read(self._folder / "files.json") or {}
        self._seen = dict(self._known)

    def holds(self, table: Table, ids: set[int]) -> bool:
        """Whether the source was ingested whole and all its spans are still there.

        A person who deletes a damaged span gets it back by ingesting its source again. A file that is as it
        was (path, size, time, inode) is not read for this.
        """
        if isinstance(table, FileTable):
            self._recall(table)
        return self._holds(table.digest, ids)

    def changed(self, table: Table, ids: set[int]) -> bool:
        """Whether another content of the same file was ingested whole."""
        known = self._known.get(_key(table)) if isinstance(table, FileTable) else None
        return known is not None and known["sha256"] != table.digest and self._holds(known["sha256"], ids)

    def begin(self, table: Table, **facts: Any) -> None:
        """Enters a source that was read and will be committed; it does not count as ingested yet."""
        if not _read(self._path(table.digest)):
            self._write(table, facts)

    def write(self, table: Table, **facts: Any) -> None:
        """Enters a source whose last span is committed."""
        old = _read(self._path(table.digest)) or {}
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._write(table, {**old, "ingested": now, **facts})

    def remember_files(self) -> None:
        """Keeps the digests of the files that were looked at, for the next time."""
        if self._seen != self._known:
            files.write_json(self._folder / "files.json", self._seen)

    def beginnings(self) -> list[Beginning]:
        """The sources that were read before and cut by rows, those of a killed ingestion too."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            entry = _read(path) or {}
            if "rows_sha256" in entry:
                found.append(
                    Beginning(entry["name"], entry["sha256"], entry["rows_read"], entry["rows_sha256"])
                )
        return found

    def committed(self) -> dict[tuple[str, int], int]:
        """Rows that the spans hold, by sha256 of the source and span id; from the manifests."""
        rows: dict[tuple[str, int], int] = {}
        for span in self._store.ids():
            for source in self._store.manifest(span).sources:
                key = (source.get("sha256") or "", span)
                rows[key] = rows.get(key, 0) + int(source.get("rows", 0))
        return rows

    def _holds(self, digest: str, ids: set[int]) -> bool:
        entry = _read(self._path(digest)) or {}
        return "spans" in entry and set(entry["spans"]) <= ids

    def _recall(self, table: FileTable) -> None:
        looked = time.time_ns()
        try:
            facts = os.stat(table.path)
        except OSError:
            return  # who reads it is told what is wrong
        now = {"bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns, "inode": facts.st_ino}
        known = self._known.get(_key(table))
        same = known is not None and all(known[name] == value for name, value in now.items())
        if known is not None and same and facts.st_mtime_ns + TICK_NS < known["looked_ns"]:
            table.recall(known["sha256"])
            return
        self._seen[_key(table)] = {**now, "looked_ns": looked, "sha256": table.digest}

    def _write(self, table: Table, facts: dict[str, Any]) -> None:
        path = self._path(table.digest)
        files.write_json(path, {"name": table.name, "sha256": table.digest, **facts})

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


def _key(table: FileTable) -> str:
    return str(table.path.absolute())


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is no entry, or none that can be read: the ledger is a shortcut."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
