"""The ledger: which sources were ingested whole, so that none is ingested twice.

It is a shortcut, not the truth: every span's manifest names the sources of its rows, and an ingestion that
was killed before the ledger was written finds in them what is there already.
"""

import datetime
import json
from pathlib import Path
from typing import Any

from noria.stores import files
from noria.stores.spans import SpanStore
from noria.streaming.tables import Table


class Ledger:
    """Entries in `spans/sources/<sha256>.json`."""

    def __init__(self, store: SpanStore):
        self._store = store
        self._folder = store.folder / "sources"

    def holds(self, table: Table, ids: set[int]) -> bool:
        """Whether the source was ingested whole and all its spans are still there.

        A person who deletes a damaged span gets it back by ingesting its source again.
        """
        path = self._path(table.digest)
        if not path.exists():
            return False
        try:
            spans = json.loads(path.read_text(encoding="utf-8"))["spans"]
        except (ValueError, KeyError):
            return False
        return set(spans) <= ids

    def write(self, table: Table, **facts: Any) -> None:
        """Enters a source whose last span is committed."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        files.write_json(
            self._path(table.digest), {"name": table.name, "sha256": table.digest, "ingested": now, **facts}
        )

    def committed(self) -> dict[tuple[str, int], int]:
        """Rows that the spans hold, by sha256 of the source and span id; from the manifests."""
        rows: dict[tuple[str, int], int] = {}
        for span in self._store.ids():
            for source in self._store.manifest(span).sources:
                key = (source.get("sha256") or "", span)
                rows[key] = rows.get(key, 0) + int(source.get("rows", 0))
        return rows

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"
