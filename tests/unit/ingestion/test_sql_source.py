"""The source kind `sql`, with real databases: SQLite here, PostgreSQL and MariaDB where servers may be started."""

import datetime
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import ConfigError, DataError, NoriaError
from noria.ingestion import landing
from noria.ingestion.source_contract import check_source
from noria.ingestion.sources.sql import Sql
from noria.pipeline.config import load
from noria.pipeline.runs.ingest import ingest
from noria.stores.spans import SpanStore

URL = "sqlite:///events.db"


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """A table of 4 rides, written in another order than that of their ids."""
    connection = sqlite3.connect(tmp_path / "events.db")
    with connection:
        connection.execute("CREATE TABLE rides (id INTEGER PRIMARY KEY, at TEXT, fare REAL, tip INTEGER)")
    add(connection, (3, "2024-05-06", 3.5, 0), (1, "2024-05-06", 1.5, 0), (4, "2024-05-13", 4.5, 1))
    add(connection, (2, "2024-05-06", 2.5, 1))
    return connection


def add(connection: sqlite3.Connection, *rows: tuple[Any, ...]) -> None:
    with connection:
        connection.executemany("INSERT INTO rides VALUES (?, ?, ?, ?)", rows)


def project(folder: Path, span: str = "rows:2", cursor: str = "id", more: str = "") -> Any:
    """The settings of a project that reads the rides; the cursor is not among its columns."""
    (folder / "noria.yaml").write_text(
        f"name: rides\nlabel: tip\nspan: {span}\n{more}"
        f"data: {{columns: [fare], source: {{sql: {{url: '{URL}', table: rides, cursor: {cursor}}}}}}}\n"
    )
    return load(folder)


def rows_in(folder: Path) -> int:
    store = SpanStore(folder / "home")
    return sum(store.manifest(span).rows for span in store.ids())


@pytest.mark.parametrize(
    "what", [{"table": "rides"}, {"query": "SELECT id, tip FROM rides WHERE fare > 2; "}]
)
def test_it_keeps_the_contract(tmp_path: Path, database: sqlite3.Connection, what: dict[str, str]) -> None:
    """A table and a query are read in the order of the cursor."""
    source = Sql({"url": URL, "cursor": "id", **what}, tmp_path)
    check_source(source)
    ids = pq.read_table(source.find()[0].path)["id"].to_pylist()
    assert sorted(ids) == ids


@pytest.mark.parametrize(("span", "more"), [("rows:2", ""), ("week", "time: at\n")])
def test_each_row_is_read_once(tmp_path: Path, database: sqlite3.Connection, span: str, more: str) -> None:
    """Old rows are not read again; new rows count, though without the cursor their values are those of old ones."""
    config = project(tmp_path, span, more=more)
    assert 4 == ingest(config, lambda record: None)["rows"]
    assert 0 == ingest(config, lambda record: None)["rows"]
    add(database, (5, "2024-05-06", 1.5, 0), (6, "2024-05-06", 1.5, 0))
    assert 2 == ingest(config, lambda record: None)["rows"]
    assert 6 == rows_in(tmp_path)


def test_rows_that_share_the_cursors_value_are_each_read_once(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    """The last value of the cursor is asked for again: its old rows are skipped, its new ones are not."""
    config = project(tmp_path, cursor="at")
    assert 4 == ingest(config, lambda record: None)["rows"]
    add(database, (5, "2024-05-13", 4.5, 1), (6, "2024-05-13", 1.0, 0))
    assert 2 == ingest(config, lambda record: None)["rows"]
    add(database, (7, "2024-05-13", 1.0, 0), (8, "2024-05-14", 1.0, 0))
    assert 2 == ingest(config, lambda record: None)["rows"]
    assert 0 == ingest(config, lambda record: None)["rows"]


def test_a_killed_run_neither_loses_nor_doubles_rows(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it copies, and killed between two spans: in the end each row is there once."""
    add(database, *((i, "2024-05-20", float(i), i % 2) for i in range(5, 25)))
    config = project(tmp_path)
    monkeypatch.setattr(landing, "FILE_ROWS", 4)
    monkeypatch.setattr("noria.ingestion.sources.sql.BATCH_ROWS", 4)

    def killed_after(owner: Any, name: str, calls: int) -> Callable[..., Any]:
        """Replaces a method by one that does nothing more after some calls."""
        whole, left = getattr(owner, name), [calls]

        def method(*args: Any, **given: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return whole(*args, **given)

        return method

    with monkeypatch.context() as patch:
        patch.setattr(landing._File, "commit", killed_after(landing._File, "commit", 3))
        with pytest.raises(KeyboardInterrupt):
            ingest(config, lambda record: None)
    with monkeypatch.context() as patch:
        patch.setattr(SpanStore, "create", killed_after(SpanStore, "create", 3))
        with pytest.raises(KeyboardInterrupt):
            ingest(config, lambda record: None)
    assert 6 == rows_in(tmp_path)
    assert 18 == ingest(config, lambda record: None)["rows"]
    assert 24 == rows_in(tmp_path)


def test_kinds_of_values(tmp_path: Path) -> None:
    """Decimals are numbers, objects are text, a column that is empty at first takes its later kind."""
    import decimal
    import uuid

    land = landing.Landing(tmp_path, "x", "id", {})
    names = ["id", "price", "facts", "late", "at"]
    at = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    land.append([(names, [(decimal.Decimal(1), decimal.Decimal("2.50"), {"a": 1}, None, at)])])
    land.append([(names, [(decimal.Decimal(2), None, uuid.UUID(int=1), 7, at)])])
    schemas = [pq.read_schema(path).remove_metadata() for path in land.paths]
    kinds = [pa.int64(), pa.float64(), pa.string(), pa.int64(), pa.timestamp("us", "UTC")]
    assert kinds == schemas[1].types
    assert [*kinds[:3], pa.null(), kinds[4]] == schemas[0].types
    assert 2 == land.position


def test_a_password_comes_from_elsewhere_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """${NAME} and ${file:PATH} are filled in, may hold any sign, and are in no message."""
    password = "wheel@7/runs:?"
    monkeypatch.setenv("DB_PASSWORD", password)
    (tmp_path / "secret").write_text(f"{password}\n")
    for place in ("${DB_PASSWORD}", "${file:secret}"):
        url = f"postgresql://noria:{place}@127.0.0.1:1/rides"
        with pytest.raises(DataError, match="cannot be read") as caught:
            Sql({"url": url, "table": "rides", "cursor": "id"}, tmp_path).find()
        assert password not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ConfigError, match="NO_SUCH is not set"):
        Sql({"url": "postgresql://a:${NO_SUCH}@b/c", "table": "a", "cursor": "id"}, tmp_path).find()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"url": URL, "table": "rides"}, ConfigError, "cursor"),
        ({"url": URL, "table": "ride", "cursor": "id"}, DataError, "no such table"),
        ({"url": URL, "table": "rides", "cursor": "fare"}, DataError, "whole numbers, times or texts"),
        ({"url": URL, "query": "SELECT tip FROM rides", "cursor": "id"}, DataError, "no such column"),
        ({"url": "sqlite:///event.db", "table": "rides", "cursor": "id"}, DataError, "does not exist"),
        ({"url": "nonsense", "table": "rides", "cursor": "id"}, DataError, "not a URL"),
        ({"url": "firebird://a/b", "table": "rides", "cursor": "id"}, DataError, "dialects:firebird"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, database: sqlite3.Connection, given: dict[str, str], error: type[Exception], words: str
) -> None:
    """The error names what to correct."""
    with pytest.raises(error, match=words):
        Sql(given, tmp_path).find()


def test_a_column_that_comes_or_goes(tmp_path: Path, database: sqlite3.Connection) -> None:
    """The rows at the cursor's last value are known again when the table has got or lost a column."""
    source = Sql({"url": URL, "table": "rides", "cursor": "at"}, tmp_path)
    for change in ("ADD COLUMN zone TEXT", "DROP COLUMN fare"):
        assert 1 == len(source.find())
        with database:
            database.execute(f"ALTER TABLE rides {change}")
    assert 1 == len(source.find())


def test_another_table_needs_another_home(tmp_path: Path, database: sqlite3.Connection) -> None:
    """The position of one table means nothing in another one."""
    Sql({"url": URL, "table": "rides", "cursor": "id"}, tmp_path).find()
    with pytest.raises(NoriaError, match="table 'rides'"):
        Sql({"url": URL, "table": "trips", "cursor": "id"}, tmp_path).find()
