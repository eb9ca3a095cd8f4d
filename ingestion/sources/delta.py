"""Delta: the rows that are appended to a table of Delta Lake, each read once.

Needs deltalake: `pip install "noria[delta]"`. Whatever writes the table (Spark, Flink, Kafka Connect) may run on many
machines; a version of the table is one of its commits.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from noria.core import files
from noria.core.errors import ConfigError, DataError
from noria.ingestion import source_secrets
from noria.ingestion.sources._committed_table import CommittedTable

_KEYS = {"url", "options", "skip_change_commits"}
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


class Delta(CommittedTable):
    """A table; `given` is its path or URL, or has `url` and

    - `options`: of the object store, as delta-rs has them, such as `AWS_REGION`. `${NAME}` comes from the environment,
      `${file:PATH}` from a file;
    - `skip_change_commits`: whether versions that change or replace rows are passed over. Else they are refused.

    The first run reads the table as it is. Each later one reads the files that the versions since have added, and
    copies them into the home folder. A version that only writes the same rows into other files (OPTIMIZE) adds nothing.
    One that deletes rows adds nothing either: the spans keep them.
    """

    kind, library, at = "delta", "deltalake.fs", "`url` or `options`"
    retention = "delta.logRetentionDuration, delta.deletedFileRetentionDuration"

    @property
    def name(self) -> str:
        return source_secrets.shown(self._checked()["url"])

    def _options(self, given: dict[str, Any]) -> Mapping[str, Any]:
        options: dict[str, Any] = given.get("options", {})
        return options

    def _shown(self, path: Path) -> str:
        return f"version {int(path.stem[:20])}, file {int(path.stem[21:])}"

    def _read(self, given: dict[str, Any], options: dict[str, str]) -> None:
        from deltalake import DeltaTable
        from deltalake.fs import DeltaStorageHandler

        url = given["url"] if "://" in given["url"] else str(self.folder / Path(given["url"]).expanduser())
        table, store = DeltaTable(url, storage_options=options), DeltaStorageHandler(url, options)
        self._check(table)
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
            self._move(table=identity, version=newest)
            return
        if known["table"] != identity or known["version"] > newest:
            raise self._other_table(
                f"{known['table']}, version {known['version']}", f"{identity}, version {newest}"
            )
        for version in range(known["version"] + 1, newest + 1):
            added = self._added(store, version, bool(given.get("skip_change_commits")))
            self._copy(store, version, added, columns)
            self._move(table=identity, version=version)

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
            raise self._changes_rows(
                f"version {version}", operation or "unknown operation", "skip_change_commits"
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
            path, keys = unquote(each["path"]), each.get("partitionValues") or {}
            self._copy_file(
                partial(store.open_input_file, path), f"version {version}", path, target, columns, keys
            )

    def _check(self, table: Any) -> None:
        mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mode != "none":
            raise DataError(
                f"the table maps its columns (delta.columnMapping.mode is {mode}), which is not supported",
                where=self.name,
                next_step="let a job append the rows to a table without it, and read that one",
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
