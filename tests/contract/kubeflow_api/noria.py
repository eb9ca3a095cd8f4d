"""The command line in a project whose cluster is the server."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from noria.pipeline.cli import app

from .project import write_project


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
        """Standard error after a refusal: exit code 1, no traceback, nothing on standard output."""
        done = self(*arguments, code=1)
        assert "" == done.stdout
        assert "Traceback" not in done.stderr
        assert "next" in done.stderr
        return done.stderr
