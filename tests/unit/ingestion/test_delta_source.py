"""Tables of Delta Lake, written by delta-rs: each row in one span, whatever rewrites files meanwhile."""

import json
import os
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
from noria.ingestion.sources.delta import Delta
from noria.ingestion.sources.files import Files
from noria.stores.spans import SpanStore
from tests.unit.ingestion.streams.scripted import ids

deltalake: Any = pytest.importorskip("deltalake")
from tests.unit.ingestion.killed_delta import Writer  # noqa: E402

ROOT = Path(__file__).parents[3]
SETTINGS = EventSettings(label="y", task="binary", classes=(0, 1), time=None, every="rows:10")


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def _source(folder: Path, **more: Any) -> Delta:
    return Delta({"url": "table", **more}, folder, folder / "landing")


def _ingest(folder: Path, **more: Any) -> IngestReport:
    return ingest(_source(folder, **more), SETTINGS, SpanStore(folder))


def test_keeps_the_contract(tmp_path: Path, writer: Writer) -> None:
    """A table is an event source."""
    writer.write(0, 10)
    writer.write(10, 20)
    check_source(_source(tmp_path))


def test_each_version_is_read_once(tmp_path: Path, writer: Writer) -> None:
    """The table as it is, then what is appended, with the columns of its partitions; equal rows twice are two rows."""
    writer.write(0, 10)
    writer.write(10, 20)
    assert 20 == _ingest(tmp_path).rows
    assert 0 == _ingest(tmp_path).rows
    writer.write(20, 30)
    writer.write(20, 30)
    assert 20 == _ingest(tmp_path).rows
    assert sorted([*range(30), *range(20, 30)]) == ids(tmp_path)
    rows = [row for span in SpanStore(tmp_path).ids() for row in SpanStore(tmp_path).table(span).to_pylist()]
    assert all(f"day {row['id'] // 5}%" == row["day"] for row in rows)


def test_files_that_are_written_again(tmp_path: Path, writer: Writer) -> None:
    """Compaction doubles no row, before or after the rows are read; deleted rows stay in their spans."""
    for first in range(0, 30, 3):
        writer.write(first, first + 3)
    writer.table.optimize.compact()
    assert 30 == _ingest(tmp_path).rows
    writer.write(30, 32)
    writer.write(32, 34)
    writer.table.optimize.compact()
    writer.table.optimize.z_order(["id"])
    writer.table.delete("id = 1 or id = 33")
    writer.write(34, 40)
    _ingest(tmp_path)
    assert [*range(40)] == ids(tmp_path)


def test_rows_that_change_are_refused(tmp_path: Path, writer: Writer) -> None:
    """An update, a merge or an overwritten table says so, and can be passed over."""
    writer.write(0, 10)
    _ingest(tmp_path)
    writer.table.update(updates={"y": "1"}, predicate="id = 3")
    with pytest.raises(DataError, match=r"version 1 \(UPDATE\) changes or replaces rows") as refused:
        _ingest(tmp_path)
    assert "skip_change_commits" in str(refused.value.next_step)
    writer.write(100, 120, mode="overwrite")
    writer.table.restore(0)
    writer.write(10, 20)
    with pytest.raises(DataError, match="version 1"):
        _ingest(tmp_path)
    assert 10 == _ingest(tmp_path, skip_change_commits=True).rows
    assert [*range(20)] == ids(tmp_path)


def test_a_new_column(tmp_path: Path, writer: Writer) -> None:
    """Rows from before have no value of it."""
    writer.write(0, 10)
    writer.write(10, 20, price=7)
    _ingest(tmp_path)
    found = pa.concat_tables([SpanStore(tmp_path).table(span) for span in SpanStore(tmp_path).ids()])
    assert [None] * 10 + [7] * 10 == [
        row["price"] for row in sorted(found.to_pylist(), key=lambda row: row["id"])
    ]


def test_what_is_gone(tmp_path: Path, writer: Writer) -> None:
    """A log that was cleaned, a file that was vacuumed, and another table are refusals; nothing is read twice."""
    writer.write(0, 10)
    _ingest(tmp_path)
    writer.write(10, 20)
    writer.write(20, 30)
    log = writer.folder / "_delta_log" / f"{1:020d}.json"
    [added, *_] = [
        json.loads(line)["add"]["path"] for line in log.read_text().splitlines() if '"add"' in line
    ]
    file = next(path for path in writer.folder.rglob("*.parquet") if path.name == Path(added).name)
    os.rename(file, tmp_path / "away")
    with pytest.raises(DataError, match=r"a file of version 1 was deleted: day="):
        _ingest(tmp_path)
    os.rename(tmp_path / "away", file)
    os.rename(writer.folder, tmp_path / "first")
    for i in range(5):
        writer.write(i, i + 1)
    with pytest.raises(DataError, match="this is another table than before"):
        _ingest(tmp_path)
    os.rename(writer.folder, tmp_path / "other")
    os.rename(tmp_path / "first", writer.folder)
    writer.table.create_checkpoint()
    text = log.read_text()
    log.unlink()
    with pytest.raises(DataError, match="the log of the table no longer has version 1"):
        _ingest(tmp_path)
    log.write_text(text)
    _ingest(tmp_path)
    assert [*range(30)] == ids(tmp_path)


def test_a_kill_anywhere(tmp_path: Path) -> None:
    """Whatever step of the copying it is killed at, the next run has each row once."""
    # delta-rs does not work in a process that is forked from one that has used it.
    program = [sys.executable, "-m", "tests.unit.ingestion.killed_delta", str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    kills, found = json.loads(done.stdout)
    assert kills > 10 and [*range(18)] == found


def test_settings(tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is not there, is empty or maps its columns is refused; no message has a secret."""
    with pytest.raises(DataError, match="the table cannot be read: .*does not exist") as refused:
        _source(tmp_path).find()
    assert "\x1b" not in str(refused.value)
    for given in ({"url": 7}, {"table": "x"}, {"url": "x", "skip_change_commits": 1}):
        with pytest.raises(ConfigError, match="needs a path or a URL"):
            Delta(given, tmp_path).find()
    monkeypatch.setenv("KEY", "hunter2")
    keys = {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "${KEY}",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    remote = {
        "url": "s3://b/t",
        "options": {**keys, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x", "max_retries": "0"},
    }
    with pytest.raises(DataError, match="the table cannot be read") as refused:
        Delta(remote, tmp_path, tmp_path / "landing").find()
    assert "hunter2" not in str(refused.value) and "s3://b/t" == refused.value.where
    fields = [deltalake.Field("id", "long")]
    deltalake.DeltaTable.create(str(writer.folder), deltalake.Schema(fields))
    with pytest.raises(DataError, match="has no rows yet"):
        _source(tmp_path).find()
    with pytest.raises(DataError, match="is a table of Delta Lake"):
        Files("table", tmp_path).find()
    properties = {"delta.columnMapping.mode": "name"}
    log = writer.folder / "_delta_log" / f"{0:020d}.json"
    log.write_text(log.read_text().replace('"configuration":{}', f'"configuration":{json.dumps(properties)}'))
    with pytest.raises(DataError, match="maps its columns"):
        _source(tmp_path).find()
