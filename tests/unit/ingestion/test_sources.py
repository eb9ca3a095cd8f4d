"""Event sources: Noria's own kinds, and a user's by import path."""

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import ConfigError
from noria.ingestion import tables
from noria.ingestion.source_contract import check_source
from noria.ingestion.sources import SOURCES
from noria.ingestion.sources.base import Source
from noria.ingestion.sources.delta import Delta
from noria.ingestion.sources.files import Files
from noria.ingestion.sources.function import Function
from noria.ingestion.sources.iceberg import Iceberg
from noria.ingestion.sources.remote import Remote
from noria.ingestion.sources.sql import Sql
from noria.pipeline.config import load
from noria.pipeline.runs.ingest import ingest

OWN = """
import sqlite3
import pyarrow as pa
from noria.ingestion.sources.base import Source

class Sqlite(Source):
    def find(self):
        connection = sqlite3.connect(self.folder / self.given)
        rows = connection.execute("SELECT id, fare, tip FROM rides ORDER BY id").fetchall()
        connection.close()
        return pa.Table.from_pylist([dict(zip(("id", "fare", "tip"), row)) for row in rows])
"""


def test_files_keep_the_contract(tmp_path: Path) -> None:
    """Paths are relative to the project's folder; a list of paths is a source too."""
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,1\n")
    (tmp_path / "b.csv").write_text("x,y\n3,0\n")
    for given in ("a.csv", "*.csv", ["a.csv", "b.csv"]):
        check_source(Files(given, tmp_path))


def test_partitioned_folders(tmp_path: Path) -> None:
    """The keys of folders become columns, whole numbers where they look like some; a file's own column wins.

    Equal files of two folders are two pieces.
    """
    for at, text in {
        "year=2024/zone=A%20b": "x,y\n1,0\n2,1\n",
        "year=2025/zone=C": "x,y\n1,0\n2,1\n",
    }.items():
        (tmp_path / at).mkdir(parents=True)
        (tmp_path / at / "part-0.csv").write_text(text)
    (tmp_path / "year=2025" / "zone=D").mkdir()
    table = pa.table({"x": [3], "y": [0], "zone": ["own"]})
    pq.write_table(table, tmp_path / "year=2025" / "zone=D" / "part-0.parquet")
    for given in (".", "year=*/zone=*/part*", "year=*"):
        check_source(Files(given, tmp_path))
        found = tables.read_table(Files(given, tmp_path).find()).to_pydict()
        assert [2024, 2024, 2025, 2025, 2025] == found["year"]
        assert ["A b", "A b", "C", "C", "own"] == found["zone"]
        assert [1, 2, 1, 2, 3] == found["x"]


def test_a_function_keeps_the_contract(tmp_path: Path) -> None:
    """`module:function` is found in the project's folder."""
    (tmp_path / "warehouse_source.py").write_text(
        "import pyarrow as pa\ndef rows():\n    return pa.table({'x': [1, 2]})\n"
    )
    check_source(Function("warehouse_source:rows", tmp_path))


def test_the_contract_refuses_a_source_that_changes(tmp_path: Path) -> None:
    """A source whose rows differ from call to call would deliver rows twice."""
    calls: list[int] = []

    class Restless(Source):
        def find(self) -> pa.Table:
            calls.append(1)
            return pa.table({"x": [len(calls)]})

    with pytest.raises(AssertionError, match="the same rows"):
        check_source(Restless(None, tmp_path))


def test_a_users_source_is_read_once(tmp_path: Path) -> None:
    """A class by import path in noria.yaml: the second run skips all, the third reads the new rows alone."""
    (tmp_path / "own_source.py").write_text(OWN)
    (tmp_path / "noria.yaml").write_text(
        "name: rides\nlabel: tip\nspan: rows:2\ndata: {source: {own_source.Sqlite: rides.db}}\n"
    )
    connection = sqlite3.connect(tmp_path / "rides.db")
    connection.execute("CREATE TABLE rides (id INTEGER PRIMARY KEY, fare REAL, tip INTEGER)")

    def add(*rows: tuple[float, int]) -> None:
        with connection:
            connection.executemany("INSERT INTO rides (fare, tip) VALUES (?, ?)", rows)

    add((1.5, 0), (2.5, 1), (3.5, 0), (4.5, 1))
    config = load(tmp_path)
    records: list[dict[str, Any]] = []
    assert 4 == ingest(config, records.append)["rows"]
    assert "own_source.Sqlite" == records[0]["source"]  # without its settings: a password may be among them
    assert 0 == ingest(config, lambda record: None)["rows"]
    add((5.5, 0), (6.5, 1))
    assert 2 == ingest(config, lambda record: None)["rows"]
    connection.close()


@pytest.mark.parametrize(
    ("source", "words"), [("{fils: a.csv}", "files"), ("{files: a.csv, function: b:c}", "one name")]
)
def test_a_wrong_kind_is_told(tmp_path: Path, source: str, words: str) -> None:
    """The config names the key, the kinds there are, and the nearest name."""
    (tmp_path / "noria.yaml").write_text(
        f"name: rides\nlabel: tip\nspan: rows:2\ndata: {{source: {source}}}\n"
    )
    with pytest.raises(ConfigError, match=words):
        load(tmp_path)


def test_the_kinds_are_the_files_of_the_folder() -> None:
    """The registry is the folder."""
    kinds = {
        "delta": Delta,
        "files": Files,
        "function": Function,
        "iceberg": Iceberg,
        "remote": Remote,
        "sql": Sql,
    }
    assert kinds == SOURCES.all()
