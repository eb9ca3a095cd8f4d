"""Files: a path, a folder, a glob, or a list of these."""

from pathlib import Path
from typing import Any

from noria.core.errors import DataError
from noria.ingestion.sources.base import Source


class Files(Source):
    """CSV, JSON lines and Parquet files; `given` is a path or a list of paths."""

    def find(self) -> Any:
        if isinstance(self.given, list | tuple):
            return [self._path(each) for each in self.given]
        return self._path(self.given)

    def _path(self, given: Any) -> Any:
        if not isinstance(given, str | Path):
            return given
        path = self.folder / Path(given).expanduser()
        if (path / "_delta_log").is_dir():  # some of its files may have the rows of others, or deleted ones
            raise DataError(
                "this folder is a table of Delta Lake, not a folder of files",
                where=path,
                next_step=f"write data: {{source: {{delta: {given}}}}} (docs/reading.md)",
            )
        return path
