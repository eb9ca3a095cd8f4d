"""What an event source is: a place that is asked in each run which events it has.

The config reads this folder at every start of the command line, so it imports neither numpy nor pyarrow.
"""

from pathlib import Path
from typing import Any

__all__ = ["Source"]


class Source:
    """The base of all event sources. A subclass gives `find`.

    A source may bring the same rows again in each run. Noria reads each row once: a piece (a file or a table) is
    identified by the sha256 of its content, and a piece that is in the spans is skipped. Of a new piece, rows that an
    earlier piece had are skipped: spans of time compare the values of rows, spans of `rows:N` compare the first
    rows of a piece with the whole earlier piece. So old rows must come back in the same order with the same values.

    Args:
      given: what the user writes in `data.source`: the value behind the name of the kind.
      folder: the project's folder; relative paths start there.
    """

    def __init__(self, given: Any, folder: Path):
        self.given = given
        self.folder = folder

    @property
    def name(self) -> str:
        """What dead letters and messages call a table in memory."""
        return "table"

    def find(self) -> Any:
        """The data that the source has now: a path, a folder, a glob, an Arrow or pandas table, or a list of these.

        Each file and each table is one piece.

        Raises:
          DataError: there is no data, or it cannot be reached.
        """
        raise NotImplementedError
