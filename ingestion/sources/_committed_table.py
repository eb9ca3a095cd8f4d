"""What the tables of Delta Lake and of Iceberg have in common: each of their commits adds files, which are copied."""

import contextlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError, DataError, NoriaError
from noria.ingestion import source_secrets
from noria.ingestion.sources.base import FoundFile, Source

CHUNK = 4 << 20
_COLOURS = re.compile(chr(27) + "[[][0-9;]*m")


class CommittedTable(Source):
    """A table whose commits add files of rows. Each run copies what the commits since the last one have added.

    A copied file is `<number>-<...>.parquet` in the landing folder, in the order of the commits. The position is the
    commit up to which all files are there; it moves after they are.

    Attributes:
      kind: the name of the kind, and of the extra that installs its library.
      library: what is imported from it.
      at: the keys of `data.source` that say where the table is.
      retention: the settings of the table that say how long it keeps its files.
    """

    kind: str
    library: str
    at: str
    retention: str

    def find(self) -> Any:
        given = self._checked()
        try:
            importlib.import_module(self.library)
        except ImportError as error:
            raise ConfigError(
                f"a source of kind {self.kind} needs a package that is not installed: {error}",
                where="config key data.source",
                next_step=f"install it with: pip install 'noria[{self.kind}]'",
            ) from error
        options = {
            str(key): source_secrets.filled(str(value), self.folder)
            for key, value in self._options(given).items()
        }
        try:
            self._read(given, options)
        except NoriaError:
            raise
        except Exception as error:  # each library, catalog and store has its own kinds
            secrets = [value for key, value in options.items() if key not in ("name", "type")]
            reason = source_secrets.hidden(error, secrets) or type(error).__name__
            raise DataError(
                f"the table cannot be read: {_COLOURS.sub('', reason)}",
                where=self.name,
                next_step=f"correct {self.at} in data.source, then run again",
            ) from None
        paths = sorted(self.landing.glob("[0-9]*.parquet"))
        if not paths:
            raise DataError(
                "the table has no rows yet", where=self.name, next_step="add rows, then run again"
            )
        return [FoundFile(path, f"{self.name}, {self._shown(path)}", only_new=True) for path in paths]

    def _checked(self) -> dict[str, Any]:
        """What the config gives, as a dict.

        Raises:
          ConfigError: it is not what the kind needs.
        """
        raise NotImplementedError

    def _options(self, given: dict[str, Any]) -> Mapping[str, Any]:
        """The settings that may hold secrets."""
        raise NotImplementedError

    def _read(self, given: dict[str, Any], options: dict[str, str]) -> None:
        """Copies what the commits since the last one have added."""
        raise NotImplementedError

    def _shown(self, path: Path) -> str:
        """What people know a copied file by."""
        raise NotImplementedError

    def _copy_file(
        self,
        source: Callable[[], Any],
        commit: str,
        path: str,
        target: Path,
        columns: Mapping[str, str],
        keys: Mapping[str, Any],
        names: Mapping[int | str, str] | None = None,
    ) -> None:
        """Copies one file of rows.

        Args:
          source: opens it.
          commit: what added it, such as `version 7`. Two commits may add files of the same bytes, which are two
            deliveries.
          path: its path in the table.
          target: where it goes, complete.
          columns: as `commit_columns` has them, and so are `keys` and `names`.
        """
        from noria.ingestion.landing import commit_columns

        raw = files.staging(self.landing)
        raw.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                with source() as file, raw.open("wb") as copy:
                    while chunk := file.read(CHUNK):
                        copy.write(chunk)
            except FileNotFoundError:
                raise self._lost(f"a file of {commit} was deleted: {path}") from None
            origin = {"table": self.name, "commit": commit, "path": path}
            commit_columns(raw, target, columns, keys, origin, names)
        finally:
            raw.unlink(missing_ok=True)

    def _position(self) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(self._mark.read_text(encoding="utf-8"))
            return found
        return None

    def _move(self, **position: Any) -> None:
        files.write_json(self._mark, position)

    @property
    def _mark(self) -> Path:
        return self.landing / f"{self.kind}.json"

    def _other_table(self, was: str, now: str) -> DataError:
        return DataError(
            f"this is another table than before, or it was created again: it was {was}, and is {now}",
            where=self.name,
            next_step=f"correct {self.at} in data.source, or name a new folder in `home`",
        )

    def _changes_rows(self, commit: str, operation: str, key: str) -> DataError:
        return DataError(
            f"{commit} ({operation}) changes or replaces rows that were read",
            where=self.name,
            next_step=f"only append to the table; `{key}: true` in data.source passes over such commits, and a new "
            "folder in `home` reads the table as it is now",
        )

    def _lost(self, what: str) -> DataError:
        return DataError(
            f"{what}; rows that were not read are lost",
            where=self.name,
            next_step="read the table as it is now into a new `home`; then run more often than the table deletes its "
            f"files ({self.retention})",
        )
