"""The ledger: which sources were ingested whole, so that none is ingested twice.

It is a shortcut: every span's manifest names the sources of its rows. If an ingestion is killed before it has written
the ledger, the next one finds in the manifests which rows are in spans. Only the ledger knows the rows of a deleted
span.
"""

import dataclasses
import datetime
import json
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import DataError
from noria.ingestion.formats import FileTable, Table
from noria.stores.manifest import Manifest
from noria.stores.spans import SpanStore

# A file that was changed so short a time before it was looked at may have been changed again within the same
# tick of its file system's clock: its digest is not trusted (git calls such an entry "racily clean").
TICK_NS = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a source begins with: all the rows of one that was read before.

    Attributes:
      name: that source's name.
      digest: its sha256.
      rows: how many rows it had.
      rows_sha256: digest of their values, in their order (`grown_files._RowDigest`).
    """

    name: str
    digest: str
    rows: int
    rows_sha256: str


class Ledger:
    """Entries in `spans/sources/<sha256>.json`, and the digests of known files in `spans/sources/files.json`.

    An entry has `name` and `sha256`; for spans cut by rows `GrownFiles.rows_read`, `begins_with` (the sources
    whose rows are not counted as its own) and `ranges` (`[span, first, rows]` of its own rows); once it was ingested
    whole `ingested`, `rows`, `dead_letters` and `spans`. `replaced` are spans where its rows were in quarantine and
    corrected ones replaced them, `lost` those that were deleted and came back without its rows.
    """

    def __init__(self, store: SpanStore):
        self._store = store
        self._folder = store.folder / "sources"
        self._known = _read(self._folder / "files.json") or {}
        self._seen = dict(self._known)
        self._found: list[dict[str, Any]] | None = None
        self._spans: dict[int, list[str]] | None = None

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

    def entry(self, digest: str) -> dict[str, Any]:
        """What is known of a source; empty where nothing is."""
        return _read(self._path(digest)) or {}

    def begin(self, table: Table, **fields: Any) -> None:
        """Enters a source that was read and will be committed; it does not count as ingested yet."""
        self._write(table.digest, {"name": table.name, **self.entry(table.digest), **fields})

    def write(self, table: Table, **fields: Any) -> None:
        """Enters a source whose last span is committed."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        old = {**self.entry(table.digest), "name": table.name, "ingested": now}
        old.pop("lost", None)
        self._write(table.digest, {**old, **fields})

    def add(self, digest: str, **fields: Any) -> None:
        """Adds to the entry of a source, if there is one."""
        old = self.entry(digest)
        if old and {**old, **fields} != old:
            self._write(digest, {**old, **fields})

    def rename(self, digest: str, new: str) -> None:
        """Enters a source under another sha256, because rows were removed from its file.

        Raises:
          DataError: it was not ingested whole yet, so where it continues would be lost.
        """
        entry = self.entry(digest)
        if not entry:
            return
        if "spans" not in entry:
            raise DataError(
                f"the ingestion of {entry.get('name')} was interrupted, and must end first",
                where=self._path(digest),
                next_step="`noria run` finishes it; then repeat the command",
            )
        self._write(new, {**entry, "sha256": new})

    def remember_files(self) -> None:
        """Keeps the digests of the files that were looked at, for the next time."""
        if self._seen != self._known:
            files.write_json(self._folder / "files.json", self._seen)

    def beginnings(self) -> list[Beginning]:
        """The sources that were read before and cut by rows, those of a killed ingestion too."""
        return [
            Beginning(entry["name"], entry["sha256"], entry["rows_read"], entry["rows_sha256"])
            for entry in self._entries()
            if "rows_sha256" in entry
        ]

    def spans(self) -> dict[int, list[str]]:
        """The spans that have, or had, rows of sources that were ingested whole, and these sources by sha256."""
        if self._spans is None:
            self._spans = {}
            for entry in self._entries():
                for span in entry.get("spans", ()):
                    self._spans.setdefault(span, []).append(entry["sha256"])
        return self._spans

    def restored(self, span: int, sources: Collection[str]) -> None:
        """A deleted span comes back with rows of these sources; the rows of all others are lost there."""
        for digest in self.spans().get(span, ()):
            old = self.entry(digest)
            if digest not in sources and span not in old.get("replaced", ()):
                self.add(digest, lost=sorted({*old.get("lost", ()), span}))

    def replaced(self, manifests: Iterable[Manifest]) -> set[tuple[str, int]]:
        """sha256 of sources and ids of spans: their rows there were in quarantine, and corrected ones replaced them."""
        found = {(entry["sha256"], span) for entry in self._entries() for span in entry.get("replaced", ())}
        return found | {
            (digest, manifest.span) for manifest in manifests for digest in manifest.extra.get("replaced", ())
        }

    def replace(self, manifest: Manifest) -> None:
        """Keeps what a corrected version replaced, also for when its folder is deleted."""
        for digest in manifest.extra.get("replaced", ()):
            self.add(digest, replaced=sorted({*self.entry(digest).get("replaced", ()), manifest.span}))

    def _holds(self, digest: str, ids: set[int]) -> bool:
        entry = self.entry(digest)
        return "spans" in entry and not entry.get("lost") and set(entry["spans"]) <= ids

    def _entries(self) -> list[dict[str, Any]]:
        """All entries, read once: within an ingestion nobody asks for those that it writes."""
        if self._found is None:
            found = [_read(path) or {} for path in sorted(self._folder.glob("*.json"))]
            self._found = [entry for entry in found if isinstance(entry.get("sha256"), str)]
        return self._found

    def _recall(self, table: FileTable) -> None:
        looked = time.time_ns()
        try:
            stat = os.stat(table.path)
        except OSError:
            return  # the reader gets the error
        now = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}
        known = self._known.get(_key(table))
        same = known is not None and all(known[name] == value for name, value in now.items())
        if known is not None and same and stat.st_mtime_ns + TICK_NS < known["looked_ns"]:
            table.recall(known["sha256"])
            return
        self._seen[_key(table)] = {**now, "looked_ns": looked, "sha256": table.digest}

    def _write(self, digest: str, entry: dict[str, Any]) -> None:
        files.write_json(self._path(digest), {"sha256": digest, **entry})

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


def _key(table: FileTable) -> str:
    return str(table.path.absolute())


def _read(path: Path) -> dict[str, Any] | None:
    """None if there is no entry, or none that can be read: the ledger is a shortcut."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
