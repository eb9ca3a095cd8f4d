"""Dead letters: the rows that could not be read, each with its number, its text and the reason."""

import collections
import json
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from noria.core import files
from noria.core.errors import DataError

MAX_BAD_SHARE = 0.01  # of a file's rows


class DeadLetters:
    """Gathers the bad rows of one source in `<home>/dead-letters/<name>-<digest>.jsonl`.

    The file is replaced as a whole when the source has been read, so a source that is read again (after a
    kill) leaves its letters once. Use it as a context manager; without a home the letters are only counted.

    Args:
      home: the project's home folder, or None.
      name: the source's name.
      digest: distinguishes sources with the same name.
      max_bad_share: share of a file's rows above which reading stops with an error (0 to 1).

    Attributes:
      count: bad rows; `columns`: those for which one column is to blame, by column.
      refused: whether `check` has found too many bad rows.
    """

    def __init__(self, home: Path | None, name: str, digest: str, max_bad_share: float = MAX_BAD_SHARE):
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[-80:]
        self.path = None if home is None else Path(home) / "dead-letters" / f"{safe}-{digest[:12]}.jsonl"
        self.max_bad_share = max_bad_share
        self.count = 0
        self.columns: collections.Counter[str] = collections.Counter()
        self.refused = False
        self._counts: collections.Counter[str] = collections.Counter()
        self._firsts: dict[str, dict[str, Any]] = {}
        self._beside: Path | None = None
        self._out: Any = None

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._out is None:
            return
        assert self.path is not None and self._beside is not None, "`add` opens no file without them"
        out, self._out = self._out, None
        # Also after an error: the letters are what a person needs then. They are on the disk before anything
        # says that the source was ingested.
        with files.explained("the dead-letter file cannot be written", self.path, DataError):
            try:
                out.close()
                files.commit_file(self._beside, self.path)
            finally:
                self._beside.unlink(missing_ok=True)

    def add(
        self, file: str, row: int, raw: str, reason: str, column: str | None = None, value: str | None = None
    ) -> None:
        """Writes one bad row down.

        Args:
          file: the file it is in.
          row: its number, from 1, the header not counted.
          raw: its text.
          reason: what is wrong, without row and column.
          column: where, if one column is to blame.
          value: the text that was found.
        """
        letter = {"file": file, "row": row, "column": column, "value": value, "reason": reason, "raw": raw}
        self.count += 1
        self._counts[file] += 1
        if column is not None:
            self.columns[column] += 1
        self._firsts.setdefault(file, letter)
        if self.path is None:
            return
        with files.explained("the dead-letter file cannot be written", self.path, DataError):
            if self._out is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._beside = files.staging(self.path.parent)
                self._out = self._beside.open("w", encoding="utf-8")
            self._out.write(json.dumps(letter, ensure_ascii=False) + "\n")

    def count_of(self, file: str) -> int:
        """Bad rows of one file so far."""
        return self._counts[file]

    def first(self, apart: Collection[str] = ()) -> str | None:
        """The first bad row of the first file that has one, without rows for which one of these columns is to blame."""
        for file, letter in self._firsts.items():
            if letter["column"] not in apart:
                return f"row {letter['row']} of {Path(file).name}: {letter['reason']}"
        return None

    def check(self, file: str, rows: int) -> None:
        """Judges a file that was read to its end.

        Args:
          file: its name.
          rows: all its rows, the bad ones included.

        Raises:
          DataError: more of them are bad than `max_bad_share` allows; names the first one.
        """
        bad = self._counts[file]
        if bad <= self.max_bad_share * rows:
            return
        self.refused = True
        first = self._firsts[file]
        place = f"row {first['row']}" + (f", column {first['column']!r}" if first["column"] else "")
        lies = f"; every bad row is in {self.path}" if self.path else ""
        raise DataError(
            f"{place}: {first['reason']} ({bad:,} of {rows:,} rows cannot be read; "
            f"at most {self.max_bad_share:.0%} may be)",
            where=f"{file} (rows count from 1 after the header)",
            next_step=f"correct the file{lies}",
        )
