"""Tables of Iceberg in a catalog in SQLite: each row in one span, whatever rewrites files meanwhile."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noria.core.errors import ConfigError, DataError
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import IngestReport, ingest
from noria.ingestion.source_contract import check_source
from noria.ingestion.sources.iceberg import Iceberg
from noria.stores.spans import SpanStore
from tests.unit.ingestion.streams.scripted import ids

pytest.importorskip("pyiceberg")
from tests.unit.ingestion.killed_iceberg import TABLE, Writer, catalog

ROOT = Path(__file__).parents[3]
SETTINGS = EventSettings(label="y", task="binary", classes=(0, 1), time=None, every="rows:10")


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(tmp_path)
    made.create()
    return made


def _source(folder: Path, **more: Any) -> Iceberg:
    return Iceberg({"table": TABLE, "catalog": catalog(folder), **more}, folder, folder / "landing")


def _ingest(folder: Path, **more: Any) -> IngestReport:
    return ingest(_source(folder, **more), SETTINGS, SpanStore(folder))


def _rows(folder: Path) -> list[dict[str, Any]]:
    tables = [SpanStore(folder).table(span) for span in SpanStore(folder).ids()]
    return sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["id"])


def test_keeps_the_contract(tmp_path: Path, writer: Writer) -> None:
    """A table is an event source."""
    writer.write(0, 10)
    writer.write(10, 20)
    check_source(_source(tmp_path))


def test_each_snapshot_is_read_once(tmp_path: Path, writer: Writer) -> None:
    """The table as it is, then what is appended; equal rows twice are two rows.

    The files do not have the column of their partition, as those that were imported from Hive; the table has its value.
    """
    writer.write(0, 10)
    writer.write(10, 20)
    assert 20 == _ingest(tmp_path).rows
    assert 0 == _ingest(tmp_path).rows
    writer.write(20, 30)
    writer.write(20, 30)
    assert 20 == _ingest(tmp_path).rows
    assert sorted([*range(30), *range(20, 30)]) == ids(tmp_path)
    days = {row["id"]: row["day"] for row in _rows(tmp_path)}
    assert {each: (20_000 + each // 10) * 86_400 for each in range(30)} == days  # seconds since 1970


def test_files_that_are_written_again(tmp_path: Path, writer: Writer) -> None:
    """Compaction doubles no row, before or after the rows are read; deleted rows stay in their spans."""
    for first in (0, 10):
        writer.write(first, first + 5)
        writer.write(first + 5, first + 10)
    writer.compact(writer.files[:2], writer.file(0, 10))
    assert 20 == _ingest(tmp_path).rows
    writer.write(20, 30)
    writer.compact(writer.files[2:4], writer.file(10, 20))
    writer.replace(writer.files[-1:], [])  # deletes them
    writer.write(30, 40)
    assert 20 == _ingest(tmp_path).rows
    assert [*range(40)] == ids(tmp_path)


def test_rows_that_change_are_refused(tmp_path: Path, writer: Writer) -> None:
    """An overwrite says so, and can be passed over; one that removes nothing is an append."""
    writer.write(0, 10)
    _ingest(tmp_path)
    writer.replace(writer.files[:1], [writer.file(0, 10, y=1)])
    changed = writer.table.current_snapshot().snapshot_id
    with pytest.raises(
        DataError, match=rf"snapshot {changed} \(overwrite\) changes or replaces rows"
    ) as refused:
        _ingest(tmp_path)
    assert "skip_overwrites" in str(refused.value.next_step)
    writer.replace([], [writer.file(10, 20)])
    assert 10 == _ingest(tmp_path, skip_overwrites=True).rows
    assert [*range(20)] == ids(tmp_path)


def test_columns_that_change(tmp_path: Path, writer: Writer) -> None:
    """Columns are those of the table, by their ids: one that is new, one with another name, one that is dropped."""
    writer.write(0, 10)
    with writer.table.update_schema() as schema:
        from pyiceberg.types import LongType

        schema.add_column("price", LongType())
        schema.rename_column("city", "town")
    writer.write(10, 20, price=7, city=None, town="x")
    with writer.table.update_schema() as schema:
        schema.delete_column("price")
        schema.add_column("note", LongType())
    with writer.table.update_schema() as schema:
        schema.rename_column("note", "price")  # another column with the name of the old one
    writer.write(20, 30, city=None, town="y", price=9)
    assert 30 == _ingest(tmp_path).rows
    found = _rows(tmp_path)
    assert {"id", "y", "town", "day", "price"} == set(found[0])
    assert [f"city {each % 3}" for each in range(10)] + ["x"] * 10 + ["y"] * 10 == [
        row["town"] for row in found
    ]
    assert [None] * 20 + [9] * 10 == [row["price"] for row in found]


def test_files_without_ids(tmp_path: Path, writer: Writer) -> None:
    """Their columns are found by the names, also by the older ones that the table's name mapping has."""
    writer.write(0, 10, with_ids=False)
    mapping = [
        {"field-id": 1, "names": ["id"]},
        {"field-id": 2, "names": ["y"]},
        {"field-id": 3, "names": ["city", "town"]},
        {"field-id": 9, "names": ["gone"]},
    ]
    with writer.table.transaction() as one:
        one.set_properties({"schema.name-mapping.default": json.dumps(mapping)})
    with writer.table.update_schema() as schema:
        schema.rename_column("city", "town")
    writer.write(10, 20, with_ids=False, city=None, town="x")
    assert 20 == _ingest(tmp_path).rows
    found = _rows(tmp_path)
    assert [*range(20)] == [row["id"] for row in found]
    assert [f"city {each % 3}" for each in range(10)] + ["x"] * 10 == [row["town"] for row in found]


def test_what_is_gone(tmp_path: Path, writer: Writer) -> None:
    """Expired snapshots, a deleted file, a table that was set back, and another table are refusals."""
    writer.write(0, 5)
    writer.write(5, 10)
    _ingest(tmp_path)
    writer.write(10, 20)
    writer.write(20, 30)
    history = [each.snapshot_id for each in writer.table.snapshots()]
    path = Path(writer.files[2].file_path.removeprefix("file://"))
    path.rename(tmp_path / "away")
    with pytest.raises(DataError, match=rf"a file of snapshot {history[2]} was deleted: .*rows-10"):
        _ingest(tmp_path)
    (tmp_path / "away").rename(path)
    writer.table.maintenance.expire_snapshots().by_id(history[0]).commit()
    assert 20 == _ingest(tmp_path).rows  # what is older than the last that was read may expire
    assert [*range(30)] == ids(tmp_path)
    writer.table.manage_snapshots().rollback_to_snapshot(history[2]).commit()
    with pytest.raises(DataError, match=f"set back or replaced: snapshot {history[3]}"):
        _ingest(tmp_path)
    writer.table.manage_snapshots().set_current_snapshot(history[3]).commit()
    writer.write(30, 40)
    writer.write(40, 50)
    lost = [each.snapshot_id for each in writer.table.snapshots()][:-1]
    writer.table.maintenance.expire_snapshots().by_ids(lost).commit()
    with pytest.raises(
        DataError, match=f"no longer has all snapshots since {history[3]}.*expired"
    ) as refused:
        _ingest(tmp_path)
    assert "a new `home`" in str(refused.value.next_step)
    writer.catalog.drop_table(TABLE)
    writer.create()
    with pytest.raises(DataError, match="this is another table than before"):
        _ingest(tmp_path)
    assert [*range(30)] == ids(tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path, writer: Writer) -> None:
    """Delete files of merge-on-read, and other formats than Parquet, are refused before rows are read from them."""
    from pyiceberg.manifest import DataFileContent, FileFormat

    made = writer.file(0, 10)
    made._data[2] = FileFormat.ORC
    writer.replace([], [made])
    with pytest.raises(DataError, match="files of the format ORC, and only Parquet"):
        _ingest(tmp_path)
    made = writer.file(0, 10)
    made._data[0] = DataFileContent.POSITION_DELETES
    writer.replace([], [made])
    with pytest.raises(DataError, match="has delete files"):
        _ingest(tmp_path)


def test_a_kill_anywhere(tmp_path: Path) -> None:
    """Whatever step of the copying it is killed at, the next run has each row once."""
    program = [sys.executable, "-m", "tests.unit.ingestion.killed_iceberg", str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    kills, found = json.loads(done.stdout)
    assert kills > 10 and [*range(18)] == found


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is not there or is empty is refused; no message has a secret."""
    made = Writer(tmp_path)
    with pytest.raises(DataError, match="the table cannot be read: .*streams.rides"):
        _source(tmp_path).find()
    made.create()
    with pytest.raises(DataError, match="has no rows yet"):
        _source(tmp_path).find()
    for given in ("x", {"catalog": "x"}, {"table": "x", "url": "y"}, {"table": "x", "skip_overwrites": 1}):
        with pytest.raises(ConfigError, match="needs `table`"):
            Iceberg(given, tmp_path).find()
    with pytest.raises(DataError, match="the table cannot be read: .*NOWHERE"):
        Iceberg({"table": TABLE, "catalog": "nowhere"}, tmp_path, tmp_path / "landing").find()
    monkeypatch.setenv("KEY", "hunter2")
    remote = {"type": "rest", "uri": "http://127.0.0.1:1/${KEY}", "token": "${KEY}"}
    with pytest.raises(DataError, match="the table cannot be read") as refused:
        Iceberg({"table": TABLE, "catalog": remote}, tmp_path, tmp_path / "landing").find()
    assert "hunter2" not in str(refused.value)


@pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 18, reason="PyIceberg's writer needs pyarrow 18")
def test_what_pyiceberg_writes(tmp_path: Path) -> None:
    """Appends, a partition that is deleted, and rows that are deleted within a file."""
    made = Writer(tmp_path)
    made.create()

    def rows(first: int, end: int) -> pa.Table:
        columns = {"id": range(first, end), "y": [i % 2 for i in range(first, end)]}
        days = pa.array([20_000 + i // 10 for i in range(first, end)], pa.int32()).cast(pa.date32())
        return pa.table({**columns, "city": ["x"] * (end - first), "day": days})

    made.table.append(rows(0, 15))
    made.table.append(rows(15, 30))
    assert 30 == _ingest(tmp_path).rows
    made.table.append(rows(30, 40))
    made.table.delete("day = '2024-10-04'")
    assert "delete" == made.table.current_snapshot().summary.operation.value
    made.table.append(rows(40, 50))
    assert 20 == _ingest(tmp_path).rows
    assert [*range(50)] == ids(tmp_path)
    assert {(20_000 + each // 10) * 86_400 for each in range(50)} == {row["day"] for row in _rows(tmp_path)}
    made.table.delete("id = 33")
    with pytest.raises(DataError, match=r"\(overwrite\) changes or replaces rows"):
        _ingest(tmp_path)
