"""Files: a path, a folder, a glob, or a list of these."""

from pathlib import Path
from typing import Any

from noria.ingestion.sources.base import Source


class Files(Source):
    """CSV, JSON lines and Parquet files; `given` is a path or a list of paths."""

    def find(self) -> Any:
        if isinstance(self.given, list | tuple):
            return [self._path(each) for each in self.given]
        return self._path(self.given)

    def _path(self, given: Any) -> Any:
        return self.folder / Path(given).expanduser() if isinstance(given, str | Path) else given
