"""A new user's first minutes: Debian 12 with git, make and a Python, nothing else: `make test-container`."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTFS = ROOT / "deploy" / "rootfs.py"
FOLDER = ROOT / ".setup" / "debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# How this machine's pip and uv reach the package index, certificates included.
LENT = re.compile(r"(PIP|UV)_(INDEX|EXTRA_INDEX|DEFAULT)|.*(_PROXY|SSL_CERT_FILE)$", re.IGNORECASE)

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def python() -> Path:
    """The folder of a Python 3.10 that was built for any Linux: Debian 12 has none, its users bring pyenv's."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    found = bootstrap.interpreter(bootstrap.get_uv(), ["3.10"])
    assert found, "there is no Python 3.10 here"
    return Path(found).parents[1]


@pytest.fixture(scope="module")
def debian() -> Path:
    """The root file system of a fresh Debian 12, with a clone of this repository in the home of root."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    packages = "--include=ca-certificates,git,make,python3,python3-venv"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(FOLDER / "image")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout[-2000:]
    clone = FOLDER / "image" / "root" / "noria"
    subprocess.run(["git", "clone", "-q", f"file://{ROOT}", str(clone)], check=True)
    lent = {name: value for name, value in os.environ.items() if LENT.match(name)}
    env = {**lent, "HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "COLUMNS": "140"}
    told = {"env": env, "user": "0:0", "workdir": "/root/noria"}
    (FOLDER / "image.json").write_text(json.dumps(told), encoding="utf-8")
    return FOLDER


def inside(debian: Path, python: Path, *command: str) -> subprocess.CompletedProcess:
    """Runs a command in the clone, as root of that Debian."""
    binds = [f"--bind={python}:/root/.pyenv/versions/{python.name}"]
    binds += [f"--bind={CERTIFICATES}"] if CERTIFICATES.exists() else []
    run = [sys.executable, str(ROOTFS), "run", *binds, str(debian), *command]
    return subprocess.run(run, capture_output=True, text=True)


def test_two_commands(debian: Path, python: Path) -> None:
    """`make run` sets up without a compiler and turns the wheel; the second goes on where the first stopped."""
    assert 0 != inside(debian, python, "sh", "-c", "command -v g++ cc").returncode
    first = inside(debian, python, "make", "run", "TURNS=2")
    assert 0 == first.returncode, (first.stdout[-2000:], first.stderr[-4000:])
    assert "long-term: fits" in first.stderr
    assert 2 == first.stdout.count("blessed")
    second = inside(debian, python, "make", "run", "TURNS=1")
    assert 0 == second.returncode, (second.stdout[-2000:], second.stderr[-4000:])
    served = debian / "image" / "root" / "noria" / "noria-home" / "models" / "flights"
    assert ["1", "2", "3"] == sorted(path.name for path in served.iterdir() if path.name.isdigit())
    doctor = inside(debian, python, ".venv/bin/noria", "doctor", "--json")
    assert (0, True) == (doctor.returncode, json.loads(doctor.stdout)["healthy"]), doctor.stdout
