"""Which lane a machine is on: by running interpreters, not by their names."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noria.pipeline import lane as lanes
from noria.pipeline.lane import Interpreter, NoLane, choose

ROOT = Path(__file__).parents[3]
DEBIAN_12 = Interpreter(
    path="/usr/bin/python3.11",
    version="3.11.2",
    venv=True,
    missing=[],
    glibc="2.36",
    machine="x86_64",
    system="Linux",
    implementation="CPython",
    bits=64,
)


def like(**changes) -> Interpreter:
    return dataclasses.replace(DEBIAN_12, **changes)


def test_newest_lane_that_fits() -> None:
    """With a new glibc the current lane is chosen, with its best interpreter, whatever the order."""
    found = [like(version=v, path=f"/p/{v}", glibc="2.39") for v in ("3.10.4", "3.13.0", "3.11.7", "3.11.9")]
    choice = choose(found)
    assert ("current", "/p/3.11.9") == (choice.lane.name, choice.interpreter.path)


def test_long_term_where_glibc_is_old() -> None:
    """Debian 12 with a Python 3.10 gets the long-term lane, and hears why not the other."""
    choice = choose([DEBIAN_12, like(version="3.10.13", path="/pyenv/3.10")])
    assert ("long-term", "/pyenv/3.10") == (choice.lane.name, choice.interpreter.path)
    assert "current: needs glibc >= 2.39, this machine has 2.36" == choice.reasons[0]


def test_plain_debian_12_is_told_what_to_install() -> None:
    """Debian 12 has Python 3.11 and glibc 2.36 only: neither lane fits, and the way out is named."""
    with pytest.raises(NoLane) as caught:
        choose([DEBIAN_12])
    said = str(caught.value)
    assert "long-term: needs Python 3.10, found 3.11.2" in said
    assert "uv python install 3.10" in said
    assert "pyenv install 3.10" in said


def test_crippled_interpreter_is_passed_over() -> None:
    """A Python 3.10 that was built without sqlite3 is not chosen, and the reason is told."""
    with pytest.raises(NoLane) as caught:
        choose([like(version="3.10.13", path="/broken", missing=["sqlite3"])])
    assert "/broken was built without sqlite3" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"glibc": None}, "another C library (musl?)"),
        ({"machine": "aarch64"}, "no wheels of TFX 1.21 for Linux aarch64"),
        ({"system": "Darwin", "machine": "x86_64", "glibc": None}, "no wheels of TFX 1.21 for macOS x86_64"),
        ({"glibc": "2.12"}, "needs glibc >= 2.17, this machine has 2.12"),
    ],
)
def test_machines_without_wheels(changes: dict, why: str) -> None:
    """Where no wheels are to be had, no interpreter helps, and none is proposed."""
    with pytest.raises(NoLane) as caught:
        choose([like(version="3.10.13", **changes)])
    assert why in str(caught.value)
    assert "pyenv install" not in str(caught.value)


def test_apple_silicon_has_the_current_lane() -> None:
    """macOS arm64 has no glibc and needs none."""
    choice = choose([like(version="3.11.9", system="Darwin", machine="arm64", glibc=None)])
    assert "current" == choice.lane.name


def test_wanted_lane_or_none() -> None:
    """A lane that is asked for by name is not exchanged for another."""
    with pytest.raises(NoLane):
        choose([like(version="3.10.13")], "current")


def test_shims_that_refuse_are_passed_over(tmp_path: Path) -> None:
    """A `python3.10` on the PATH that refuses to run is found out, and a real one beside it is found."""
    shims, real = tmp_path / "shims", tmp_path / "real"
    for folder in (shims, real):
        folder.mkdir()
    shim = shims / "python3.10"
    shim.write_text("#!/bin/sh\necho 'python3.10: command not found' >&2\nexit 127\n", encoding="utf-8")
    shim.chmod(0o755)
    (real / "python3").symlink_to(sys.executable)
    found, refused = lanes.interpreters({"PATH": f"{shims}{os.pathsep}{real}", "HOME": str(tmp_path)})
    assert shim in refused
    here = lanes.probe(Path(sys.executable))
    assert here is not None and here.path in [one.path for one in found]


def test_pyenv_and_uv_are_searched(tmp_path: Path) -> None:
    """Interpreters of pyenv and uv are candidates although they are not on the PATH."""
    for folder in ("pyenv/versions/3.10.13/bin", "uv/cpython-3.10-linux/bin"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "python3.10").symlink_to(sys.executable)
    environ = {
        "PATH": "",
        "HOME": str(tmp_path),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "uv"),
    }
    found = lanes.candidates(environ)
    assert tmp_path / "pyenv/versions/3.10.13/bin/python3.10" in found
    assert tmp_path / "uv/cpython-3.10-linux/bin/python3.10" in found


def test_runs_before_anything_is_installed() -> None:
    """The module runs on the standard library alone (-S: no site-packages), from the repo's root."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "pipeline.lane", "show", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        assert {"lane", "python", "reasons"} <= set(json.loads(done.stdout))
    else:  # a machine that no lane fits: said in words, without a traceback
        assert 1 == done.returncode
        assert "no lane fits" in done.stderr and "Traceback" not in done.stderr


def test_syntax_of_old_interpreters() -> None:
    """`python3` may be as old as 3.8: nothing newer than its grammar stands in the module."""
    import ast

    ast.parse((ROOT / "pipeline" / "lane.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_unfinished_install_has_no_stamp(tmp_path: Path) -> None:
    """The stamp is a finished install's: without one, or with one that is damaged, it is done again."""
    assert lanes.installed(tmp_path) is None
    (tmp_path / ".noria.json").write_text('{"lane":', encoding="utf-8")
    assert lanes.installed(tmp_path) is None


def test_locks_name_no_place() -> None:
    """The locks are the same on every machine: no absolute paths, no index; and all is pinned by hash."""
    for lane in lanes.LANES:
        text = lane.lock.read_text(encoding="utf-8")
        assert "://" not in text and "--find-links" not in text and " /" not in text
        pinned = [line for line in text.splitlines() if line[:1].isalnum()]
        assert pinned and all("==" in line and line.endswith("\\") for line in pinned)
        assert any(line.startswith(f"tfx=={lane.tfx}.") for line in pinned)
