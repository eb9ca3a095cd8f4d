"""The source kind `sql` on real PostgreSQL and MariaDB servers: from `noria init` to rows that come later."""

import datetime
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.helpers.project import Project

from .servers import PASSWORD, Server, started

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A fresh server of each kind."""
    with started(request.param) as server:
        yield server


def add(engine: sa.Engine, first: int, count: int) -> None:
    """Rides from a number on; some have no fare, and about 3 share each time."""
    rng = random.Random(first)
    rows = []
    for i in range(first, first + count):
        fare = None if i % 50 == 0 else round(rng.uniform(3, 60), 2)
        at = datetime.datetime(2024, 5, 6) + datetime.timedelta(minutes=60 * (i // 3))
        tip = (fare or 0) > 30
        rows.append({"id": i, "at": at, "fare": fare, "zone": f"Zone {i % 4} ä", "tip": tip})
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO rides VALUES (:id, :at, :fare, :zone, :tip)"),
            rows,
        )


@pytest.mark.servers
def test_a_project_on_a_database(server: Server, tmp_path: Path) -> None:
    """`noria init` writes a project that runs; each row is read once, by an id and by a time that rows share, and the
    password is in no file and no message."""
    engine = sa.create_engine(server.url().replace(server.scheme, DRIVERS[server.scheme]))
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE rides (id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, fare NUMERIC(8, 2), "
                "zone VARCHAR(40), tip BOOLEAN)"
            )
        )
    add(engine, 1, 1500)
    for what in (["--table", "rides"], ["--query", "SELECT * FROM rides WHERE id > 0", "--cursor", "at"]):
        folder = tmp_path / what[0].strip("-")
        project = Project(folder)
        folder.mkdir()
        given = [
            "init",
            str(folder),
            "--data",
            server.url(),
            *what,
            "--label",
            "tip",
            "--time",
            "at",
            "--json",
        ]
        drafted = json.loads(project.noria(*given).stdout)
        assert 1500 == drafted["rows"]
        assert ["fare"] == drafted["numeric"]
        assert ["zone"] == drafted["categorical"]
        rows = ingested(project)
        assert (1500, 1500) == rows
    add(engine, 1501, 30)
    for what in ("table", "query"):
        assert (30, 1530) == ingested(Project(tmp_path / what))
        assert (0, 1530) == ingested(Project(tmp_path / what))
    engine.dispose()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def ingested(project: Project) -> tuple[int, int]:
    """Rows that an ingestion added, and rows of all spans."""
    from unittest import mock

    from noria.pipeline.config import load
    from noria.pipeline.runs.ingest import ingest
    from noria.stores.spans import SpanStore

    with mock.patch.dict("os.environ", NORIA_DB_PASSWORD=PASSWORD):
        report = ingest(load(project.folder), lambda record: None)
    store = SpanStore(project.home)
    return report["rows"], sum(store.manifest(span).rows for span in store.ids())
