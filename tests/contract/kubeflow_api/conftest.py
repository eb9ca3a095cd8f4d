"""The server, a project, and `noria` run in it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from noria.pipeline.cli import app
from noria.pipeline.runners.kubeflow import connection

from .project import write_project
from .server import KubeflowApi


class Noria:
    """The command line in a project whose cluster is the server."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.environment = environment
        self.package = write_project(folder)

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        """Runs a command; its exit code must be as expected."""
        done = CliRunner().invoke(
            app.app, [*arguments, "--config", str(self.folder / "noria.yaml")], env=self.environment
        )
        assert code == done.exit_code, done.output
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The same with --json: the object on standard output."""
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def submit(self, *arguments: str, code: int = 0) -> Result:
        return self("submit", "--package", str(self.package), *arguments, code=code)

    def refused(self, *arguments: str) -> str:
        """What stands on standard error after a refusal: exit code 1, no traceback, nothing on standard output."""
        done = self(*arguments, code=1)
        assert "" == done.stdout
        assert "Traceback" not in done.stderr
        assert "next" in done.stderr
        return done.stderr


@pytest.fixture
def api() -> Iterator[KubeflowApi]:
    """The server; at the end, nothing that was said may have broken the contract."""
    with KubeflowApi() as server:
        yield server
    assert [] == server.violations


@pytest.fixture
def noria(api: KubeflowApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noria:
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp looks for a context of its own there
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(connection.LEAST, "poll", 0.01)  # a test's server need not be spared
    return Noria(
        tmp_path,
        {
            "NORIA_KUBEFLOW_HOST": api.host,
            "NORIA_KUBEFLOW_POLL": "0.01",
            "NORIA_KUBEFLOW_TIMEOUT": "2",
            "NORIA_KUBEFLOW_RETRIES": "1",
        },
    )
