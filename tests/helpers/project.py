"""Copies of the example projects, and the command line as people run it: in its own process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from . import EXAMPLES, preloaded


class Project:
    """A folder with a `noria.yaml`, and `noria` run in it.

    Attributes:
      forked: its commands are forks of a process that has imported TFX (`preloaded`), not new processes.
    """

    def __init__(self, folder: Path, forked: bool = False):
        self.folder = folder
        self.home = folder / "home"
        self.forked = forked

    def command(self, *arguments: str) -> list[str]:
        """The command line of `noria` with this project's config."""
        return [sys.executable, "-m", "noria.pipeline", *arguments]

    def noria(self, *arguments: str, code: int = 0, timeout: float = 570) -> subprocess.CompletedProcess:
        """Runs `noria` to its end and checks its exit code."""
        command, env = self.command(*arguments), self.env()
        if self.forked:
            done = preloaded.run(command, self.folder, env, timeout)
        else:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, timeout=timeout, env=env
            )
        assert code == done.returncode, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Runs `noria ... --json`: one object on standard output."""
        return json.loads(self.noria(*arguments, "--json", code=code).stdout)

    def env(self) -> dict[str, str]:
        """The environment: nothing of the caller's home."""
        return {**os.environ, "HOME": str(self.folder), "NO_COLOR": "1", "COLUMNS": "200"}

    def edit(self, **changes: Any) -> None:
        """Changes top-level keys of the project's YAML file."""
        path = self.folder / "noria.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def example_project(name: str, folder: Path, **changes: Any) -> Project:
    """A copy of an example with its own home folder; `changes` replace top-level keys of its YAML file."""
    example = EXAMPLES / name
    settings = yaml.safe_load((example / "noria.yaml").read_text())
    for file in [*example.glob("*.py"), example / "schema.pbtxt"]:
        shutil.copy(file, folder)
    (folder / "noria.yaml").write_text(yaml.safe_dump({**settings, "home": "home", **changes}))
    return Project(folder)


def flights_project(folder: Path, **changes: Any) -> Project:
    """The flights of 2013."""
    return example_project("flights", folder, **changes)
