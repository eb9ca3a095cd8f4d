"""A table of Iceberg, and a process that is killed at every few steps while it reads one: `python -m ... FOLDER`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noria.ingestion.sources.iceberg import Iceberg
from tests.helpers.killed import killed_at, started

TABLE = "streams.rides"


def catalog(folder: Path) -> dict[str, str]:
    """A catalog in a folder, as `data.source` names it."""
    return {
        "name": "prod",
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": f"file://{folder}/warehouse",
    }


class Writer:
    """A table partitioned by day; what Spark or Flink would write.

    PyIceberg's own writer needs a newer pyarrow than the long-term lane has, so the Parquet files are written here, and
    PyIceberg commits them.
    """

    def __init__(self, folder: Path):
        from pyiceberg.catalog import load_catalog

        self.folder = folder
        self.catalog = load_catalog(**catalog(folder))
        self.files: list[Any] = []

    def create(self) -> None:
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.schema import Schema
        from pyiceberg.transforms import IdentityTransform
        from pyiceberg.types import DateType, LongType, NestedField, StringType

        kinds = {"id": LongType(), "y": LongType(), "city": StringType(), "day": DateType()}
        fields = (NestedField(i + 1, name, kind) for i, (name, kind) in enumerate(kinds.items()))
        spec = PartitionSpec(PartitionField(4, 1000, IdentityTransform(), "day"))
        self.catalog.create_namespace_if_not_exists("streams")
        self.catalog.create_table(TABLE, Schema(*fields), partition_spec=spec)

    @property
    def table(self) -> Any:
        return self.catalog.load_table(TABLE)

    def file(self, first: int, end: int, with_ids: bool = True, **more: Any) -> Any:
        """A file with the rows `first` to `end`; `more` are further columns, or replace its columns of the same names.

        None leaves a column out. Files that were imported from elsewhere have no field ids.
        """
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record

        numbers = range(first, end)
        own = {"id": [*numbers], "y": [i % 2 for i in numbers], "city": [f"city {i % 3}" for i in numbers]}
        values = own | {name: [value] * len(numbers) for name, value in more.items()}
        columns = {name: pa.array(each) for name, each in values.items() if None not in each}
        ids = {field.name: field.field_id for field in self.table.schema().fields}
        fields = [
            pa.field(name, column.type, metadata={"PARQUET:field_id": str(ids[name])} if with_ids else None)
            for name, column in columns.items()
        ]
        path = self.folder / f"rows-{first}-{len(self.files)}.parquet"
        pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), path)
        self.files.append(
            DataFile.from_args(
                content=DataFileContent.DATA,
                file_path=f"file://{path}",
                file_format=FileFormat.PARQUET,
                partition=Record(20_000 + first // 10),
                record_count=len(numbers),
                file_size_in_bytes=path.stat().st_size,
            )
        )
        self.files[-1].spec_id = 0
        return self.files[-1]

    def write(self, first: int, end: int, **more: Any) -> None:
        """Appends rows, as one snapshot."""
        made = self.file(first, end, **more)
        with self.table.transaction() as change, change.update_snapshot().fast_append() as append:
            append.append_data_file(made)

    def replace(self, old: list[Any], new: list[Any]) -> None:
        """Takes files out of the table, and adds others."""
        with self.table.transaction() as one, one.update_snapshot().overwrite() as change:
            for each in old:
                change.delete_data_file(each)
            for each in new:
                change.append_data_file(each)

    def compact(self, old: list[Any], new: Any) -> None:
        """Writes the rows of some files into one: the operation `replace`, which PyIceberg cannot write yet."""
        self.replace(old, [new])
        table = self.table
        path = Path(table.metadata_location.removeprefix("file://"))
        metadata = json.loads(path.read_text())
        for each in metadata["snapshots"]:
            if each["snapshot-id"] == table.metadata.current_snapshot_id:
                each["summary"]["operation"] = "replace"
        path.write_text(json.dumps(metadata))


def main(folder: Path) -> None:
    """Prints the number of kills, and the ids in the files that were copied."""
    import pandas  # noqa: F401
    import pyiceberg.catalog.sql
    import pyiceberg.io.pyarrow  # noqa: F401

    import noria.ingestion.landing  # noqa: F401

    def write(first: int) -> None:
        writer = Writer(folder)
        if not first:
            writer.create()
        writer.write(first, first + 3)
        writer.write(first + 3, first + 6)

    kills = 0
    for first, stride in ((0, 3), (6, 4), (12, 5)):
        _, status = os.waitpid(started(lambda first=first: write(first)), 0)
        assert 0 == status
        n = 1
        while killed_at(n, folder / "landing", lambda: _find(folder)):
            kills, n = kills + 1, n + stride
    rows = [row for path in folder.glob("landing/*.parquet") for row in pq.read_table(path).to_pylist()]
    print(json.dumps([kills, sorted(row["id"] for row in rows)]))


def _find(folder: Path) -> None:
    Iceberg({"table": TABLE, "catalog": catalog(folder)}, folder, folder / "landing").find()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
