"""ML Metadata on real database servers.

MariaDB replaces MySQL: ML Metadata speaks to both with the same client, which knows `mysql_native_password` and no
other way to log in. MariaDB's default is that; MySQL 8 needs users made so, and MySQL 9, which has dropped it, cannot
be used.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from ml_metadata.proto import metadata_store_pb2

from .servers import DATABASE, PASSWORD, USER, Server, free_port, started
from .small import small_project

NODES = {"ChampionResolver", "SpanExampleGen", "StatisticsGen", "DataGate", "Transform", "Trainer"}
NODES |= {"Evaluator", "Pusher"}
PASSWORD_QUOTED = quote(PASSWORD, safe="")


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A fresh server of each kind."""
    with started(request.param) as server:
        yield server


@pytest.mark.servers
def test_run_on_a_server(server: Server, tmp_path: Path):
    """Runs with `metadata: URL` publish, and the server, not a file, holds each run's executions."""
    project = small_project(tmp_path, metadata=server.url())
    records = project.json("run", "--runs", "2")["runs"]

    assert [1, 2] == [record["version"] for record in records]
    assert 2 == project.json("status")["champion"]
    assert not (project.home / "metadata.sqlite").exists()
    store = server.store()
    names = {kind.id: kind.name.split(".")[-1] for kind in store.get_execution_types()}
    complete = metadata_store_pb2.Execution.COMPLETE
    executions = [names[e.type_id] for e in store.get_executions() if e.last_known_state == complete]
    assert {node: 2 for node in NODES} == {node: executions.count(node) for node in NODES}
    runs = {context.name for context in store.get_contexts_by_type("pipeline_run")}
    assert 2 == len(runs)
    models = [model.uri for model in store.get_artifacts_by_type("PushedModel")]
    assert 2 == len(models)
    for path in [*project.home.glob("runs/*/*"), *project.home.glob("reports/*")]:
        assert PASSWORD not in path.read_text(), f"the password is in {path}"


@pytest.mark.servers
def test_unusable_server_is_refused(server: Server, tmp_path: Path):
    """A wrong password, and a port where nobody listens: exit code 1, and the password is not repeated."""
    project = small_project(tmp_path, metadata=server.url(password="wrong-secret"))
    text = project.noria("run", "--runs", "1", code=1).stderr
    assert "user or password" in " ".join(text.split())
    assert "wrong-secret" not in text and "Traceback" not in text

    project.edit(metadata=f"{server.scheme}://{USER}:{PASSWORD_QUOTED}@localhost:{free_port()}/{DATABASE}")
    text = project.noria("run", "--runs", "1", code=1).stderr
    assert "server does not answer" in " ".join(text.split())
    assert PASSWORD_QUOTED not in text and "Traceback" not in text
