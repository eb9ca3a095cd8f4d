"""Iceberg: the rows that are appended to a table of Apache Iceberg, each read once.

Needs pyiceberg: `pip install "noria[iceberg]"`. Whatever writes the table (Spark, Flink, Kafka Connect) may run on many
machines; a snapshot of the table is one of its commits.
"""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError, DataError
from noria.ingestion.sources._committed_table import CommittedTable

_KEYS = {"table", "catalog", "skip_overwrites"}
# The types of columns that may have one value for all rows of a file, as Arrow calls them.
_TYPES = {
    "string": "string",
    "long": "int64",
    "int": "int32",
    "float": "float32",
    "double": "float64",
    "boolean": "bool",
    "date": "date32",
    "timestamp": "timestamp[us]",
    "timestamptz": "timestamp[us]",
}
_EPOCH = datetime.datetime(1970, 1, 1)
Entry = tuple[Any, Any]  # a file of rows, and the manifest that has it


class Iceberg(CommittedTable):
    """A table; `given` has

    - `table`: its name in the catalog, with its namespace, such as `streams.rides`;
    - `catalog`: the name of a catalog that PyIceberg's own configuration has, or the properties of one, such as `uri`,
      and its `name`. `${NAME}` in a property comes from the environment, `${file:PATH}` from a file. Default: the
      catalog `default`;
    - `skip_overwrites`: whether snapshots that change or replace rows are passed over. Else they are refused.

    The first run reads the table as it is. Each later one reads the files that the snapshots since have added, and
    copies them into the home folder. A snapshot that only writes the same rows into other files (compaction) adds
    nothing. One that only deletes rows adds nothing either: the spans keep them.
    """

    kind, library, at = "iceberg", "pyiceberg.catalog", "`table` or `catalog`"
    retention = "history.expire.max-snapshot-age-ms"

    @property
    def name(self) -> str:
        return self._checked()["table"]

    def _options(self, given: dict[str, Any]) -> Mapping[str, Any]:
        catalog = given.get("catalog", "default")
        return {"name": "default", **catalog} if isinstance(catalog, dict) else {"name": catalog}

    def _shown(self, path: Path) -> str:
        _, snapshot, place = path.stem.split("-")
        return f"snapshot {snapshot}, file {int(place)}"

    def _read(self, given: dict[str, Any], options: dict[str, str]) -> None:
        from pyiceberg.catalog import load_catalog

        table = load_catalog(**options).load_table(given["table"])
        files.sweep(files.fetched(self.landing))
        identity, current, known = str(table.metadata.table_uuid), table.current_snapshot(), self._position()
        read = known["read"] if known is not None else 0
        for path in self.landing.glob("[0-9]*.parquet"):  # of a snapshot during which a run was killed
            if int(path.stem.split("-")[0]) > read:
                files.remove_tree(path)
        if known is None:
            if current is not None:
                self._copy(table, 1, current, self._live(table, current))
                self._move(table=identity, snapshot=current.snapshot_id, read=1)
            return
        if known["table"] != identity:
            raise self._other_table(known["table"], identity)
        for number, snapshot in enumerate(self._since(table, known["snapshot"]), read + 1):
            added = self._added(table, snapshot, bool(given.get("skip_overwrites")))
            self._copy(table, number, snapshot, added)
            self._move(table=identity, snapshot=snapshot.snapshot_id, read=number)

    def _since(self, table: Any, known: int) -> list[Any]:
        """The snapshots after a known one, oldest first."""
        found: list[Any] = []
        wanted = table.metadata.current_snapshot_id
        while wanted != known:
            snapshot = table.metadata.snapshot_by_id(wanted) if wanted is not None else None
            if snapshot is not None:
                found.append(snapshot)
                wanted = snapshot.parent_snapshot_id
            elif table.metadata.snapshot_by_id(known) is not None:
                raise DataError(
                    f"the table was set back or replaced: snapshot {known}, up to which it was read, is no longer part "
                    "of it",
                    where=self.name,
                    next_step="set the table to that snapshot or to one that follows it, or read the table as it is "
                    "now into a new `home`",
                )
            else:
                raise self._lost(
                    f"the table no longer has all snapshots since {known}, up to which it was read: they have expired"
                )
        return found[::-1]

    def _live(self, table: Any, snapshot: Any) -> list[Entry]:
        """The files of the table as it is, oldest first."""
        found = []
        for manifest in snapshot.manifests(table.io):
            for entry in manifest.fetch_manifest_entry(table.io):
                if entry.data_file.content.name != "DATA":
                    raise DataError(
                        "the table has delete files, which are not supported: rows of its files are deleted",
                        where=self.name,
                        next_step="rewrite its data files without them (Spark: CALL system.rewrite_data_files with "
                        "`delete-file-threshold` 1), or let the writers use copy-on-write",
                    )
                found.append((entry, manifest))
        found.sort(key=lambda each: (each[0].sequence_number or 0, each[0].data_file.file_path))
        return [(entry.data_file, manifest) for entry, manifest in found]

    def _added(self, table: Any, snapshot: Any, skip: bool) -> list[Entry]:
        """The files that a snapshot has added, with new rows."""
        operation = snapshot.summary.operation.value if snapshot.summary is not None else "unknown"
        if operation == "replace":  # the same rows in other files
            return []
        added: list[Entry] = []
        removed = False
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.snapshot_id != snapshot.snapshot_id or entry.status.name == "EXISTING":
                    continue
                if entry.status.name == "ADDED" and entry.data_file.content.name == "DATA":
                    added.append((entry.data_file, manifest))
                else:
                    removed = True
        if not added or not removed:
            return added
        if skip:
            return []
        raise self._changes_rows(f"snapshot {snapshot.snapshot_id}", operation, "skip_overwrites")

    def _copy(self, table: Any, number: int, snapshot: Any, added: list[Entry]) -> None:
        schema = table.schema()
        columns = {
            field.name: _TYPES[str(field.field_type)]
            for field in schema.fields
            if str(field.field_type) in _TYPES
        }
        names = _names(schema, table.name_mapping())
        for place, (data_file, manifest) in enumerate(added):
            if data_file.file_format.value != "PARQUET":
                raise DataError(
                    f"the table has files of the format {data_file.file_format.value}, and only Parquet is supported",
                    where=self.name,
                    next_step="set write.format.default to parquet, and rewrite its data files",
                )
            commit, path = f"snapshot {snapshot.snapshot_id}", data_file.file_path
            target = self.landing / f"{number:010d}-{snapshot.snapshot_id}-{place:05d}.parquet"
            keys = dict(_keys(table, schema, data_file, manifest))
            self._copy_file(table.io.new_input(path).open, commit, path, target, columns, keys, names)

    def _checked(self) -> dict[str, Any]:
        given = self.given
        if (
            not isinstance(given, dict)
            or not {"table"} <= set(given) <= _KEYS
            or not isinstance(given["table"], str)
            or not isinstance(given.get("catalog", ""), str | dict)
            or not isinstance(given.get("skip_overwrites", False), bool)
        ):
            raise ConfigError(
                "a source of kind iceberg needs `table`, and has `catalog` and `skip_overwrites`",
                where="config key data.source",
                next_step="write it like data: {source: {iceberg: {table: streams.rides, catalog: {uri: 'http://...'}}}}",
            )
        return given


def _names(schema: Any, mapping: Any) -> dict[int | str, str]:
    """The names of the columns by their ids, and by the names in files without ids, such as imported ones."""
    by_id = {field.field_id: field.name for field in schema.fields}
    if mapping is None:
        return {**{name: name for name in by_id.values()}, **by_id}
    known = (each for each in mapping.root if each.field_id in by_id)
    return {**{name: by_id[each.field_id] for each in known for name in each.names}, **by_id}


def _keys(table: Any, schema: Any, data_file: Any, manifest: Any) -> Iterator[tuple[str, Any]]:
    """The columns of which a partition has one value; files that were imported from Hive do not have them."""
    from pyiceberg.transforms import IdentityTransform

    spec = table.specs()[manifest.partition_spec_id]
    names: Mapping[int, str] = {field.field_id: field.name for field in schema.fields}
    for place, field in enumerate(spec.fields):
        if not isinstance(field.transform, IdentityTransform) or field.source_id not in names:
            continue
        value, kind = data_file.partition[place], str(schema.find_field(field.source_id).field_type)
        if isinstance(value, int) and kind in ("date", "timestamp", "timestamptz"):
            unit = datetime.timedelta(days=1) if kind == "date" else datetime.timedelta(microseconds=1)
            value = _EPOCH + value * unit
        yield names[field.source_id], value
