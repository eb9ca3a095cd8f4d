"""The package as people without the repository get it: `make test-package`."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows() -> str:
    """600 rides over six days, some without an area; the label follows from the distance."""
    lines = ["at,distance,area,late"]
    for i in range(600):
        distance, area = i * 37 % 101, "" if i % 50 == 9 else "abc"[i % 3]
        lines.append(f"2024-01-{1 + i // 100:02d}T{i % 24:02d}:00:00,{distance},{area},{int(distance > 50)}")
    return "\n".join([*lines, ""])


pytestmark = [pytest.mark.package, pytest.mark.timeout(3000)]


def run(*command: str | Path, **options) -> str:
    """Runs a command to its end and returns what it prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert 0 == done.returncode, (command, done.stdout[-3000:], done.stderr[-6000:])
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution of a clean checkout, and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("built")
    run("git", "clone", "-q", f"file://{ROOT}", folder / "clone")
    run(sys.executable, "-m", "venv", folder / "tools")
    run(folder / "tools/bin/pip", "install", "-q", "build")
    run(folder / "tools/bin/python", "-m", "build", "--outdir", folder, folder / "clone")
    return folder


def test_contents(built: Path) -> None:
    """The sdist has tests, docs and locks; the wheel has the packages, templates and type markers, and nothing else."""
    (sdist,) = built.glob("noria-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = set(run("git", "-C", ROOT, "ls-files").splitlines())
    assert set() == tracked - names - {".gitignore"}
    (wheel,) = built.glob("noria-*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert {"noria/pipeline/dag.py", "noria/pipeline/py.typed", "noria/schemas/py.typed"} <= set(inside)
    assert any(name.startswith("noria/pipeline/") and name.endswith(".jinja") for name in inside)
    assert {"noria", inside[-1].split("/")[0]} == {name.split("/")[0] for name in inside}
    assert not [name for name in inside if "bootstrap" in name or "test" in Path(name).name]


def test_first_model(built: Path, tmp_path: Path) -> None:
    """pip installs the wheel into an empty environment, without a lock; `init` and `run` publish a model there."""
    (wheel,) = built.glob("noria-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    home = tmp_path / "home"
    home.mkdir()
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ.update(HOME=str(home), NO_COLOR="1", COLUMNS="200")
    run(tmp_path / "venv/bin/pip", "install", "-q", wheel, env=environ)
    run(tmp_path / "venv/bin/pip", "check", env=environ)
    (tmp_path / "rides.csv").write_text(rows())
    noria = tmp_path / "venv" / "bin" / "noria"
    init = ["init", "rides", "--data", "rides.csv", "--label", "late", "--time", "at"]
    run(noria, *init, cwd=tmp_path, env=environ)
    told = run(noria, "run", cwd=tmp_path / "rides", env=environ)
    assert "blessed" in told
    doctor = run(noria, "doctor", cwd=tmp_path / "rides", env=environ)
    assert "make " not in doctor
