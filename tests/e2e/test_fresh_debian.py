"""A new user's first minutes: Debian 12 with git, make and a Python, nothing else: `make test-container`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import containers
from .containers import Container

ROOT = Path(__file__).parents[2]
HOME = "/root/noria"
# How this machine's pip and uv reach the package index, certificates included.
LENT = re.compile(r"(PIP|UV)_(INDEX|EXTRA_INDEX|DEFAULT)|.*(_PROXY|SSL_CERT_FILE)$", re.IGNORECASE)

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def python() -> Path:
    """The folder of a Python 3.10 that was built for any Linux: Debian 12 has none, its users install pyenv's."""
    assert (3, 10) == sys.version_info[:2], "run this test on the long-term lane"
    return Path(sys.base_prefix)


@pytest.fixture(scope="module")
def debian() -> Iterator[Container]:
    """A container with a fresh Debian 12, and a clone of this repository in the home of root."""
    tar = containers.debian(["bookworm"], ["ca-certificates", "git", "make", "python3", "python3-venv"])
    plain = tar.with_name("Dockerfile")
    plain.write_text("FROM scratch\nADD debian.tar /\n", encoding="utf-8")
    containers.build("localhost/debian:12", plain, tar.parent)
    with containers.container("localhost/debian:12") as made:
        command = ["git", "clone", "-q", f"file://{ROOT}", str(made.path / HOME[1:])]
        subprocess.run(command, check=True)
        yield made


def inside(debian: Container, python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the clone, as root of that Debian."""
    env = {"COLUMNS": "140", **{name: value for name, value in os.environ.items() if LENT.match(name)}}
    options = [f"--env={name}={value}" for name, value in env.items()]
    options += [f"--volume={python}:/root/.pyenv/versions/{python.name}", *containers.certificates()]
    return debian.run(*command, options=[*options, f"--workingdir={HOME}"])


def test_two_commands(debian: Container, python: Path) -> None:
    """`make run` sets up without a compiler and runs the pipeline; the second continues where the first stopped."""
    assert 0 != inside(debian, python, "sh", "-c", "command -v g++ cc").returncode
    first = inside(debian, python, "make", "run", "RUNS=2")
    assert 0 == first.returncode, (first.stdout[-2000:], first.stderr[-4000:])
    assert "long-term: fits" in first.stderr
    assert 2 == first.stdout.count("blessed")
    second = inside(debian, python, "make", "run", "RUNS=1")
    assert 0 == second.returncode, (second.stdout[-2000:], second.stderr[-4000:])
    served = debian.path / HOME[1:] / "noria-home" / "models" / "flights"
    assert ["1", "2", "3"] == sorted(path.name for path in served.iterdir() if path.name.isdigit())
    doctor = inside(debian, python, ".venv/bin/noria", "doctor", "--json")
    assert (0, True) == (doctor.returncode, json.loads(doctor.stdout)["healthy"]), doctor.stdout
