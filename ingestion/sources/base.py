"""What an event source is: a place from which each run gets the events that it has.

The config reads this folder at every start of the command line, so it imports neither numpy nor pyarrow.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FoundFile", "Source"]


@dataclasses.dataclass(frozen=True)
class FoundFile:
    """A file with what its bytes do not say. `Source.find` may return it in place of a path.

    Attributes:
      path: where it is.
      name: what people know it by; the path if None.
      keys: further columns, with one value for all rows of the file: the keys of partitioned folders.
      only_new: no row of it was in an earlier file of the source, so its rows are not compared with old ones.
    """

    path: Path
    name: str | None = None
    keys: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    only_new: bool = False


class Source:
    """The base of all event sources. A subclass gives `find`.

    A source may return the same rows again in each run. Noria reads each row once: a piece (a file or a table) is
    identified by the sha256 of its content, and a piece that is in the spans is skipped. Of a new piece, rows that an
    earlier piece had are skipped: spans of time compare the values of rows, spans of `rows:N` compare the first
    rows of a piece with the whole earlier piece. So old rows must come back in the same order with the same values.

    A source that knows which rows are new copies them into files of its `landing` folder, and returns all files there
    as `FoundFile(..., only_new=True)`. What it has read is then in the files: if a run is killed, the next one
    continues after the last complete file.

    Args:
      given: what the user writes in `data.source`: the value behind the name of the kind.
      folder: the project's folder; relative paths start there.
      landing: the folder in which the source may keep files between runs, `<home>/landing`. One run at a time uses it.
    """

    def __init__(self, given: Any, folder: Path, landing: Path | None = None):
        self.given = given
        self.folder = folder
        self.landing = landing or folder / "landing"

    @property
    def name(self) -> str:
        """What dead letters and messages call a table in memory."""
        return "table"

    def find(self) -> Any:
        """The data that the source has now: a path, a folder, a glob, a `FoundFile`, an Arrow or pandas table, or a
        list of these.

        Each file and each table is one piece.

        Raises:
          DataError: there is no data, or it cannot be reached.
        """
        raise NotImplementedError
