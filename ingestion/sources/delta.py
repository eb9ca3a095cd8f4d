"""Delta: the rows that are appended to a table of Delta Lake, each read once.

Needs deltalake: `pip install "noria[delta]"`. Whatever writes the table (Spark, Flink, Kafka Connect) may run on many
machines; a version of the table is one of its commits.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from noria.core import files
from noria.core.errors import ConfigError, DataError, NoriaError
from noria.ingestion import source_secrets
from noria.ingestion.sources.base import FoundFile, Source

_KEYS = {"url", "options", "skip_change_commits"}
_POSITION = "delta.json"  # the table's id, and the version up to which its rows are here
CHUNK = 4 << 20
# The types of columns that may have one value for all rows of a file, as Arrow calls them.
_TYPES = {
    "string": "string",
    "long": "int64",
    "integer": "int32",
    "short": "int16",
    "byte": "int8",
    "float": "float32",
    "double": "float64",
    "boolean": "bool",
    "date": "date32",
    "timestamp": "timestamp[us]",
    "timestamp_ntz": "timestamp[us]",
}


class Delta(Source):
    """A table; `given` is its path or URL, or has `url` and

    - `options`: of the object store, as delta-rs has them, such as `AWS_REGION`. `${NAME}` comes from the environment,
      `${file:PATH}` from a file;
    - `skip_change_commits`: whether versions that change or replace rows are passed over. Else they are refused.

    The first run reads the table as it is. Each later one reads the files that the versions since have added, and
    copies them into the home folder. A version that only writes the same rows into other files (OPTIMIZE) adds nothing.
    One that deletes rows adds nothing either: the spans keep them.
    """

    @property
    def name(self) -> str:
        return source_secrets.shown(self._checked()["url"])

    def find(self) -> Any:
        given = self._checked()
        try:
            from deltalake import DeltaTable
            from deltalake.fs import DeltaStorageHandler
        except ImportError as error:
            raise ConfigError(
                f"a source of kind delta needs a package that is not installed: {error}",
                where="config key data.source",
                next_step="install it with: pip install 'noria[delta]'",
            ) from error
        options = {
            str(key): source_secrets.filled(str(value), self.folder)
            for key, value in given.get("options", {}).items()
        }
        url = given["url"] if "://" in given["url"] else str(self.folder / Path(given["url"]).expanduser())
        try:
            table = DeltaTable(url, storage_options=options)
            self._check(table)
            self._read(table, DeltaStorageHandler(url, options), bool(given.get("skip_change_commits")))
        except NoriaError:
            raise
        except Exception as error:  # delta-rs has several kinds, some of them of its own
            said = source_secrets.hidden(error, options.values()) or type(error).__name__
            raise DataError(
                f"the table cannot be read: {re.sub(chr(27) + '[[][0-9;]*m', '', said)}",
                where=self.name,
                next_step="correct `url` or `options` in data.source, then run again",
            ) from None
        paths = sorted(self.landing.glob("[0-9]*.parquet"))
        if not paths:
            raise DataError(
                "the table has no rows yet", where=self.name, next_step="add rows, then run again"
            )
        return [
            FoundFile(
                path, f"{self.name}, version {int(path.stem[:20])}, file {int(path.stem[21:])}", only_new=True
            )
            for path in paths
        ]

    def _read(self, table: Any, store: Any, skip: bool) -> None:
        """Copies what the versions since the last one have added; a run that is killed continues after the last one."""
        files.sweep(files.fetched(self.landing))
        columns = {
            each["name"]: _TYPES[each["type"]]
            for each in json.loads(table.schema().to_json())["fields"]
            if isinstance(each["type"], str) and each["type"] in _TYPES
        }
        identity, newest = str(table.metadata().id), table.version()
        known = self._position()
        if known is None:
            for path in self.landing.glob("[0-9]*.parquet"):  # of a first reading that was killed
                files.remove_tree(path)
            self._copy(store, newest, _snapshot(table, self.name), columns)
            self._move(identity, newest)
            return
        if known["table"] != identity or known["version"] > newest:
            was = f"{known['table']}, version {known['version']}"
            raise DataError(
                f"this is another table than before, or it was created again: it was {was}, and is {identity}, version "
                f"{newest}",
                where=self.name,
                next_step="correct `url` in data.source, or name a new folder in `home`",
            )
        for version in range(known["version"] + 1, newest + 1):
            self._copy(store, version, self._added(store, version, skip), columns)
            self._move(identity, version)

    def _added(self, store: Any, version: int, skip: bool) -> list[dict[str, Any]]:
        """The files that a version has added, with new rows."""
        try:
            with store.open_input_file(f"_delta_log/{version:020d}.json") as file:
                actions = [json.loads(line) for line in file.read().splitlines() if line.strip()]
        except FileNotFoundError:
            raise self._lost(f"the log of the table no longer has version {version}") from None
        added, removed = (
            [each[kind] for each in actions if kind in each and each[kind].get("dataChange", True)]
            for kind in ("add", "remove")
        )
        operation = next(
            (each["commitInfo"].get("operation") for each in actions if "commitInfo" in each), None
        )
        if not added or operation == "DELETE":  # it adds the rows that stay
            return []
        if removed or operation == "RESTORE":
            if skip:
                return []
            raise DataError(
                f"version {version} ({operation or 'unknown operation'}) changes or replaces rows that were read",
                where=self.name,
                next_step="only append to the table; `skip_change_commits: true` in data.source passes over such "
                "versions, and a new folder in `home` reads the table as it is now",
            )
        return added

    def _copy(
        self, store: Any, version: int, added: list[dict[str, Any]], columns: Mapping[str, str]
    ) -> None:
        for number, each in enumerate(added):
            if each.get("deletionVector"):
                raise _deletion_vectors(self.name)
            target = self.landing / f"{version:020d}-{number:05d}.parquet"
            if target.exists():
                continue
            path = unquote(each["path"])
            raw = files.staging(self.landing)
            raw.parent.mkdir(parents=True, exist_ok=True)
            try:
                try:
                    with store.open_input_file(path) as file, raw.open("wb") as copy:
                        while chunk := file.read(CHUNK):
                            copy.write(chunk)
                except FileNotFoundError:
                    raise self._lost(f"a file of version {version} was deleted (VACUUM): {path}") from None
                from noria.ingestion.landing import commit_columns

                # The version too: two commits may add files of the same bytes, which are two deliveries.
                origin = {"table": self.name, "version": version, "path": path}
                commit_columns(raw, target, columns, each.get("partitionValues") or {}, origin)
            finally:
                raw.unlink(missing_ok=True)

    def _position(self) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError):
            found = json.loads((self.landing / _POSITION).read_text(encoding="utf-8"))
            return {"table": found["table"], "version": found["version"]}
        return None

    def _move(self, identity: str, version: int) -> None:
        files.write_json(self.landing / _POSITION, {"table": identity, "version": version})

    def _check(self, table: Any) -> None:
        mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mode != "none":
            raise DataError(
                f"the table maps its columns (delta.columnMapping.mode is {mode}), which is not supported",
                where=self.name,
                next_step="let a job append the rows to a table without it, and read that one",
            )

    def _lost(self, what: str) -> DataError:
        return DataError(
            f"{what}; rows that were not read are lost",
            where=self.name,
            next_step="read the table as it is now into a new `home`; then run more often than the table keeps its log "
            "and its files (delta.logRetentionDuration, delta.deletedFileRetentionDuration)",
        )

    def _checked(self) -> dict[str, Any]:
        given = {"url": self.given} if isinstance(self.given, str) else self.given
        if (
            not isinstance(given, dict)
            or not {"url"} <= set(given) <= _KEYS
            or not isinstance(given["url"], str)
            or not isinstance(given.get("options", {}), dict)
            or not isinstance(given.get("skip_change_commits", False), bool)
        ):
            raise ConfigError(
                "a source of kind delta needs a path or a URL, or `url`, `options` and `skip_change_commits`",
                where="config key data.source",
                next_step="write it like data: {source: {delta: {url: 's3://bucket/rides', options: {...}}}}",
            )
        return given


def _snapshot(table: Any, name: str) -> list[dict[str, Any]]:
    """The files of the table as it is, as the log has them."""
    if any(len(batch) for batch in table.deletion_vectors()):
        raise _deletion_vectors(name)
    found = table.get_add_actions()
    paths = found.column("path").to_pylist()
    if "partition" not in found.schema.names:
        return [{"path": path} for path in paths]
    values = found.column("partition").to_pylist()
    return [{"path": path, "partitionValues": each} for path, each in zip(paths, values, strict=True)]


def _deletion_vectors(name: str) -> DataError:
    return DataError(
        "the table has deletion vectors, which are not supported",
        where=name,
        next_step="set delta.enableDeletionVectors to false, and run REORG TABLE ... APPLY (PURGE)",
    )
