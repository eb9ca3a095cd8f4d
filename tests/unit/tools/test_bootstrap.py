"""The set-up: which lane and interpreter it takes, and real installs of a small package in its place."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from distutils.core import run_setup
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "tools" / "bootstrap.py"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"

spec = importlib.util.spec_from_file_location("bootstrap", PROGRAM)
assert spec is not None and spec.loader is not None
bootstrap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bootstrap)
Machine, SetupError = bootstrap.Machine, bootstrap.SetupError

DEBIAN_12 = Machine("Linux", "x86_64", (2, 36))
DEBIAN_13 = Machine("Linux", "x86_64", (2, 41))


def having(*pythons: str):
    """A machine's interpreters, as `choose` asks for them; nothing can be fetched."""

    def find(lane, fetch: bool) -> str | None:
        return next((f"/python{minor}" for minor in lane.pythons if minor in pythons), None)

    return find


def test_newest_lane_that_fits() -> None:
    """With a new glibc the current lane is chosen, with the Python that kfp still runs on."""
    lane, python, _ = bootstrap.choose(DEBIAN_13, having("3.10", "3.13", "3.11"))
    assert ("current", "/python3.11") == (lane.name, python)


def test_long_term_where_glibc_is_old() -> None:
    """Debian 12 with a Python 3.10 gets the long-term lane, and the reason against the other."""
    lane, python, reasons = bootstrap.choose(DEBIAN_12, having("3.10", "3.11"))
    assert ("long-term", "/python3.10") == (lane.name, python)
    assert "current: needs glibc >= 2.39, this machine has glibc 2.36" == reasons[0]
    assert reasons[1].startswith("long-term: fits (TFX 1.16")


def test_what_to_install() -> None:
    """Debian 12 has Python 3.11 and glibc 2.36 only: neither lane fits, and the message names the way out."""
    with pytest.raises(SetupError) as caught:
        bootstrap.choose(DEBIAN_12, having("3.11"))
    said = str(caught.value)
    assert "long-term: needs Python 3.10, and none was found" in said
    assert "uv python install 3.10" in said and "pyenv install 3.10" in said


def test_fetched_interpreter() -> None:
    """An interpreter is fetched only if no lane has one, and for the newest lane that fits."""
    asked: list[tuple[str, bool]] = []

    def find(lane, fetch: bool) -> str | None:
        asked.append((lane.name, fetch))
        return "/fetched" if fetch else None

    assert "/fetched" == bootstrap.choose(DEBIAN_13, find)[1]
    assert [("current", False), ("long-term", False), ("current", True)] == asked


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (Machine("Linux", "x86_64", None), "another C library (musl?)"),
        (Machine("Linux", "aarch64", (2, 41)), "TFX 1.21 has no wheels for Linux aarch64"),
        (Machine("Darwin", "x86_64", None), "TFX 1.21 has no wheels for Darwin x86_64"),
        (Machine("Linux", "x86_64", (2, 12)), "needs glibc >= 2.17, this machine has glibc 2.12"),
    ],
)
def test_machines_without_wheels(machine, why: str) -> None:
    """Where there are no wheels, no interpreter helps, and none is searched or proposed."""
    with pytest.raises(SetupError) as caught:
        bootstrap.choose(machine, lambda lane, fetch: pytest.fail("looked for an interpreter"))
    assert why in str(caught.value)
    assert "container image" in str(caught.value) and "pyenv" not in str(caught.value)


def test_apple_silicon_has_the_current_lane() -> None:
    """macOS arm64 has no glibc and needs none."""
    assert "current" == bootstrap.choose(Machine("Darwin", "arm64", None), having("3.11"))[0].name


def test_wanted_lane_or_none() -> None:
    """A lane that is asked for by name is not exchanged for another."""
    assert "long-term" == bootstrap.choose(DEBIAN_13, having("3.10", "3.11"), "long-term")[0].name
    with pytest.raises(SetupError):
        bootstrap.choose(DEBIAN_12, having("3.10"), "current")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH, pyenv and uv hold nothing but what the test puts into the folder."""
    # uv itself keeps the real PATH: where it is a shim of pyenv, it needs a shell from there.
    uv = tmp_path / "uv-of-this-machine"
    program(uv, f'PATH={shlex.quote(os.environ["PATH"])} exec {shlex.quote(bootstrap.get_uv())} "$@"')
    monkeypatch.setattr(bootstrap, "search_path", lambda real=bootstrap.search_path: real()[:-3])
    monkeypatch.setattr(bootstrap, "get_uv", lambda: str(uv))
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}{os.pathsep}{tmp_path / 'bin'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path


@pytest.mark.parametrize("folder", ["bin", "pyenv/versions/3/bin"])
def test_shims_that_refuse_are_passed_over(only_here: Path, folder: str) -> None:
    """A `python3.N` on the PATH that refuses to run is skipped for a real one, on the PATH or of pyenv."""
    program(only_here / "shims" / f"python{MINOR}", "echo 'pyenv: command not found' >&2; exit 127")
    assert bootstrap.interpreter(bootstrap.get_uv(), [MINOR]) is None
    real = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    (only_here / folder).mkdir(parents=True)
    (only_here / folder / f"python{MINOR}").symlink_to(real)
    assert real == bootstrap.interpreter(bootstrap.get_uv(), ["3.99", MINOR])


def test_incomplete_interpreter_is_passed_over(only_here: Path) -> None:
    """A Python that was built without sqlite3 is not chosen."""
    real = sys._base_executable  # type: ignore[attr-defined]
    program(only_here / "bin" / f"python{MINOR}", f'case "$*" in *sqlite3*) exit 1;; esac; exec {real} "$@"')
    assert bootstrap.interpreter(bootstrap.get_uv(), [MINOR]) is None


def test_runs_before_anything_is_installed() -> None:
    """It runs on the standard library alone (-S: no site-packages), and reads as Python 3.8."""
    done = subprocess.run([sys.executable, "-S", PROGRAM, "--help"], capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    ast.parse(PROGRAM.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_setup_py_has_the_same_lanes() -> None:
    """The markers of setup.py give each Python the TFX of its lane, so that pip needs no lock."""
    needed = [
        Requirement(text) for text in run_setup(str(ROOT / "setup.py"), stop_after="init").install_requires
    ]
    for lane in bootstrap.LANES:
        for python in lane.pythons:
            tfx = [str(each.specifier) for each in needed if each.name == "tfx" and holds(each, python)]
            assert [f"=={lane.tfx}.*"] == tfx


def holds(requirement: Requirement, python: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"python_version": python})


def test_locks_name_no_place() -> None:
    """The locks are the same on every machine: no absolute paths, no index; and all is pinned by hash."""
    for lane in bootstrap.LANES:
        text = lane.lock.read_text(encoding="utf-8")
        assert "://" not in text and "--find-links" not in text and " /" not in text
        pinned = [line for line in text.splitlines() if line[:1].isalnum()]
        assert pinned and all("==" in line and line.endswith("\\") for line in pinned)
        assert any(line.startswith(f"tfx=={lane.tfx}.") for line in pinned)


SETUP = """
from setuptools import setup
setup(
    name="noria",
    packages=["noria.pipeline"],
    package_dir={"noria.pipeline": "pipeline"},
    entry_points={"console_scripts": ["noria = noria.pipeline:main"]},
)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a Noria that is one function and needs one package."""
    root = tmp_path_factory.mktemp("small")
    for folder in ("tools", "locks", "pipeline", "bin"):
        (root / folder).mkdir()
    shutil.copy(PROGRAM, root / "tools")
    (root / "bin" / "uv").symlink_to(bootstrap.get_uv())
    (root / "setup.py").write_text(SETUP)
    (root / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools>=68"]\n')
    (root / "pipeline" / "__init__.py").write_text(
        "import iniconfig\ndef main(): print('it runs', iniconfig.IniConfig)\n"
    )
    for lane in bootstrap.LANES:
        found = re.search(r"^iniconfig==.*(\n .*)*", lane.lock.read_text(), re.MULTILINE)
        assert found is not None
        (root / "locks" / lane.lock.name).write_text(f"{found[0]}\n")
    return root


def start(root: Path) -> subprocess.Popen:
    """`make setup`, as its own process group."""
    environ = {**os.environ, "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(root / "tools" / "bootstrap.py"), "install"]
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True)


def said(process: subprocess.Popen) -> str:
    """What a set-up says, when it is over and went well."""
    text = process.communicate(timeout=300)[1]
    assert 0 == process.returncode, text
    return text


def runs(root: Path) -> bool:
    folder = root / ".venv" / "bin"
    done = subprocess.run([folder / "python", "-I", folder / "noria"], capture_output=True, text=True)
    return "IniConfig" in done.stdout


def test_two_at_a_time(small: Path) -> None:
    """Of two set-ups at the same time, one installs; the other waits and finds it done. A third has nothing to say."""
    both = [start(small), start(small)]
    texts = [said(process) for process in both]
    assert [0, 1] == sorted(text.count("ready in") for text in texts)
    assert ["another set-up is running" in text for text in texts] == [
        "ready in" not in text for text in texts
    ]
    assert runs(small)
    assert "" == said(start(small))


def test_killed(small: Path) -> None:
    """A set-up that was killed, with a package half there, is repaired by the next."""
    shutil.rmtree(small / ".venv", ignore_errors=True)
    said(start(small))
    (small / "setup.py").write_text(SETUP + "# changed\n")
    process = start(small)
    for line in process.stderr or ():
        if "installing" in line:
            time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)
            break
    assert -signal.SIGKILL == process.wait()
    assert {} == bootstrap.stamp(small / ".venv")
    for module in (small / ".venv").glob("lib/*/site-packages/iniconfig/*.py"):
        module.unlink()
    assert not runs(small)
    assert "ready in" in said(start(small))
    assert runs(small)


def test_new_folder(small: Path) -> None:
    """A package that is new in the clone makes the set-up run again, because an editable install maps each one."""
    said(start(small))
    (small / "pipeline" / "more").mkdir()
    (small / "pipeline" / "more" / "__init__.py").touch()
    assert "ready in" in said(start(small))


def test_damaged_stamp(tmp_path: Path) -> None:
    """A stamp that is absent or damaged counts as none: the install is done again."""
    assert {} == bootstrap.stamp(tmp_path)
    (tmp_path / ".noria.json").write_text('{"lane":', encoding="utf-8")
    assert {} == bootstrap.stamp(tmp_path)
