"""Files that grew: how many rows of a file were ingested before, where no time column shows it."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from noria.ingestion.duplicates import row_hashes
from noria.ingestion.formats import Rows, Table
from noria.ingestion.ledger import Beginning


class GrownFiles:
    """Recognises the rows of earlier sources at the beginning of new ones, by the values of all these rows.

    A row is known by its place: rows that repeat within a file, or between files, are never taken for one.

    Args:
      beginnings: the sources that were read before.

    Attributes:
      found: by the sha256 of a new source, the earlier ones that it begins with, those that are read before it in
        the same ingestion among them; `rows` is the number of the last of these rows in the new one.
    """

    def __init__(self, beginnings: Iterable[Beginning]):
        self._before = sorted(beginnings, key=lambda each: each.rows)
        self._beginnings = self._before
        self._digests: dict[str, _RowDigest] = {}
        self.found: dict[str, list[Beginning]] = {}

    def watch(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        """Passes on the rows of all tables as they are read, and computes their digests."""
        last: Table | None = None
        for part in rows:
            if last is not None and last.digest != part.table.digest:
                self._finish(last)
            last = part.table
            mine = self._digests.setdefault(part.table.digest, _RowDigest())
            before = mine.count
            hashes = row_hashes(part.batch)
            for each in () if part.table.only_new else self._beginnings:
                if before < each.rows <= before + len(hashes) and each.digest != part.table.digest:
                    done = each.rows - before
                    if mine.after(hashes[:done]) == each.rows_sha256:
                        number = int(part.numbers[done - 1])
                        known = Beginning(each.name, each.digest, number, each.rows_sha256)
                        self.found.setdefault(part.table.digest, []).append(known)
            mine.add(hashes)
            yield part

    def rows_read(self, table: Table) -> dict[str, int | str]:
        """What the ledger keeps of a table, so that it is recognised when it has grown."""
        mine = self._digests.get(table.digest, _RowDigest())
        return {"rows_read": mine.count, "rows_sha256": mine.after(np.zeros(0, np.uint64))}

    def changed(self, table: Table) -> bool:
        """Whether a source of this name, but with another content, was read before, and never this one."""
        known = {each.digest for each in self._before if each.name == table.name}
        return bool(known) and table.digest not in known

    def _finish(self, table: Table) -> None:
        """A table that was read to its end: those that follow may begin with it, as if it had come before them."""
        digest = self._digests[table.digest]
        mine = Beginning(table.name, table.digest, digest.count, digest.after(np.zeros(0, np.uint64)))
        others = [each for each in self._beginnings if each.digest != table.digest]
        self._beginnings = sorted([*others, mine], key=lambda each: each.rows)


class _RowDigest:
    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, hashes: np.ndarray) -> None:
        self.count += len(hashes)
        self._digest.update(np.ascontiguousarray(hashes).tobytes())

    def after(self, hashes: np.ndarray) -> str:
        """The digest with these further rows."""
        digest = self._digest.copy()
        digest.update(np.ascontiguousarray(hashes).tobytes())
        return digest.hexdigest()
