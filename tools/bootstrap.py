"""Makes Noria's environment: the locked packages of the lane that fits this machine, and Noria itself, editable.

    python3 tools/bootstrap.py install            .venv; quick when nothing changed
    python3 tools/bootstrap.py lock [--upgrade]   resolve the lock file of each lane

It runs before anything is installed: by any Python from 3.8 on, with the standard library alone. uv finds the
interpreter, fetches it if the network allows that, and installs. pip fetches uv, because pip is what a machine is
configured for (index, proxy, certificates).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence  # noqa: UP035 -- Python 3.8

ROOT = Path(__file__).resolve().parent.parent
UV = "0.13.9"  # the version that made the locks
ZIG = "0.17.1"  # a C and C++ compiler that the package index has
# Modules that a Python built from source may lack; prints the interpreter's own path, not an environment's.
PROBE = "import bz2, ctypes, lzma, os, sqlite3, ssl, sys, zlib; print(os.path.realpath(sys._base_executable))"


class Lane(NamedTuple):
    """Releases that fit together, and the machines that their wheels run on."""

    name: str
    tfx: str
    pythons: tuple[str, ...]  # the preferred first
    glibc: tuple[int, int]  # the oldest that every wheel runs on
    macos_arm64: bool
    lock_platform: str | None  # what the lock is resolved for; None: all platforms, with markers

    @property
    def lock(self) -> Path:
        return ROOT / "locks" / f"{self.name}.txt"


LANES = (
    # setup.py's markers say the same Pythons. ml-metadata's and tensorflow-data-validation's wheels for TFX 1.21 are
    # tagged manylinux_2_39; kfp ends at Python 3.11.
    Lane("current", "1.21", ("3.11", "3.12", "3.13"), (2, 39), True, None),
    Lane("long-term", "1.16", ("3.10",), (2, 17), False, "x86_64-manylinux_2_17"),
)


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do next."""


class Machine(NamedTuple):
    """What wheels ask of a machine; `glibc` is None if the C library is another one."""

    system: str
    arch: str
    glibc: tuple[int, int] | None


def machine() -> Machine:
    """This machine. getconf goes first: an interpreter of --modern-lane has a glibc that is not the machine's."""
    ask = "import os; print(os.confstr('CS_GNU_LIBC_VERSION'))"
    text = _output(["getconf", "GNU_LIBC_VERSION"]) or _output([sys.executable, "-c", ask])
    glibc = re.match(r"glibc (\d+)\.(\d+)", text)
    return Machine(platform.system(), platform.machine(), (int(glibc[1]), int(glibc[2])) if glibc else None)


def refusal(lane: Lane, here: Machine) -> str | None:
    """Why the wheels of a lane do not run on a machine; None if they do."""
    if here.system == "Darwin" and here.arch == "arm64" and lane.macos_arm64:
        return None
    if here.system != "Linux" or here.arch != "x86_64":
        return f"TFX {lane.tfx} has no wheels for {here.system} {here.arch}"
    if here.glibc is None or here.glibc < lane.glibc:
        have = "glibc {}.{}".format(*here.glibc) if here.glibc else "another C library (musl?)"
        return "needs glibc >= {}.{}, this machine has {}".format(*lane.glibc, have)
    return None


def choose(
    here: Machine, find: Callable[[Lane, bool], str | None], wanted: str | None = None
) -> tuple[Lane, str, list[str]]:
    """The newest lane that fits (or the wanted one, or none), the interpreter for it, and a reason for each lane.

    `find` returns the path of an interpreter, or None; if its second argument is true, it tries to fetch one first.

    Raises:
      SetupError: no lane fits; the message says what to install.
    """
    lanes = [lane for lane in LANES if wanted in (None, lane.name)]
    reasons = [f"{lane.name}: {refusal(lane, here)}" for lane in lanes if refusal(lane, here)]
    lanes = [lane for lane in lanes if refusal(lane, here) is None]
    for fetch in (False, True):
        for lane in lanes:
            python = find(lane, fetch)
            if python:
                return lane, python, [*reasons, f"{lane.name}: fits (TFX {lane.tfx}, {python})"]
            if not fetch:
                reasons.append(f"{lane.name}: needs Python {' or '.join(lane.pythons)}, and none was found")
    advice = ["next: use Linux x86_64 with glibc >= 2.17, macOS arm64, or the container image"]
    if lanes:
        version = lanes[0].pythons[0]
        advice = [f"next: install Python {version} by one of these, then run the same command again"]
        advice += [f"  uv python install {version}      (`pip install uv` brings uv)"]
        advice += [
            f"  pyenv install {version}",
            f"  apt-get install python{version}  (if your release has it)",
        ]
    raise SetupError("\n  ".join(["no lane fits this machine", *reasons, *advice]))


def search_path() -> list[str]:
    """Folders that may hold interpreters: those of pyenv too, whose shims on the PATH may refuse to run."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))
    folders = sorted(str(folder) for folder in pyenv.glob("versions/*/bin"))
    folders += [*os.get_exec_path(), "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"]
    return list(dict.fromkeys(folder for folder in folders if folder))


def interpreter(uv: str, pythons: Sequence[str]) -> str | None:
    """The path of the best interpreter that uv finds, and that has all modules of PROBE."""
    command = [uv, "python", "list", "--only-installed", "--all-versions", "--output-format", "json"]
    found = json.loads(_output(command, {"UV_PYTHON_SEARCH_PATH": os.pathsep.join(search_path())}) or "[]")
    kind = ("cpython", "default", platform.machine().replace("arm64", "aarch64"))
    fitting = []
    for one in found:
        minor = "{major}.{minor}".format(**one["version_parts"])
        if minor in pythons and (one["implementation"], one["variant"], one["arch"]) == kind:
            fitting.append((pythons.index(minor), -one["version_parts"]["patch"], one["path"]))
    answers = (_output([path, "-I", "-c", PROBE]).strip() for _, _, path in sorted(fitting))
    return next((answer for answer in answers if answer), None)


def get_uv() -> str:
    """The path of uv in the pinned version; pip installs it into `.setup/uv` on first use.

    Raises:
      SetupError: no Python here has pip or can make an environment with it, or the package index does not answer.
    """
    program, on_path = ROOT / ".setup" / "uv" / "bin" / "uv", shutil.which("uv")
    for path in (str(program), on_path):
        if path and _output([path, "--version"]).split()[1:2] == [UV]:
            return path
    fresh = ROOT / ".setup" / "uv-fresh"
    try:
        pip = _pip(fresh / "venv")
        if pip:
            _say(f"fetching uv {UV} into .setup/uv")
            command = [*pip, "install", "-q", "--disable-pip-version-check", "--no-deps", f"uv=={UV}"]
            # The first two, in a person's pip.conf, do not go together with --target.
            settings = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
            trouble = "uv cannot be fetched: does the package index answer?"
            _run([*command, "--target", str(fresh / "uv")], trouble, settings)
            program.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / "uv" / "bin" / "uv", program)
            return str(program)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if on_path:  # another version than the one that made the locks; it can read them
        return on_path
    version = ".".join(platform.python_version_tuple()[:2])
    raise SetupError(f"no Python here has pip or venv\n  next: apt-get install python{version}-venv")


def _pip(folder: Path) -> list[str] | None:
    """A command that is pip: of a Python that has it, or of an environment that is made in `folder`."""
    for python in [sys.executable] + [os.path.join(path, "python3") for path in search_path()]:
        if _output([python, "-c", "import sys; print(sys.version_info >= (3, 8))"]).strip() != "True":
            continue
        if not _output([python, "-m", "pip", "--version"]):
            _output([python, "-m", "venv", "--clear", str(folder)])
            python = str(folder / "bin" / "python")
        if _output([python, "-m", "pip", "--version"]):
            return [python, "-m", "pip"]
    return None


def compiler(uv: str, python: str) -> dict[str, str]:
    """Variables that name a C++ compiler if the machine has none: one package of the locks is source.

    Raises:
      SetupError: there is none, and none can be fetched.
    """
    if os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++"):
        return {}
    _say(f"no C++ compiler here (Debian: g++); ziglang {ZIG} is used for the set-up")
    zig = [uv, "tool", "run", "-q", "--python", python, "--from", f"ziglang=={ZIG}", "python-zig"]
    if not _output([*zig, "version"]):
        raise SetupError("no C++ compiler can be fetched\n  next: apt-get install g++, then run this again")
    command = " ".join(map(shlex.quote, zig))
    return {"CC": f"{command} cc", "CXX": f"{command} c++"}


def digest(lane: Lane) -> str:
    """What an environment is made from: the lock, the packaging, and the packages (an editable install maps each)."""
    rooms = [init.parent for init in ROOT.glob("*/__init__.py")]
    packages = sorted(str(init.relative_to(ROOT)) for room in rooms for init in room.rglob("__init__.py"))
    files = [path.read_text("utf-8") for path in (lane.lock, ROOT / "setup.py", ROOT / "pyproject.toml")]
    return hashlib.sha256("\n".join([UV, lane.name, *files, *packages]).encode()).hexdigest()


def stamp(venv: Path) -> dict[str, str]:
    """The record of a finished install; empty if there is none, or if it was interrupted."""
    try:
        return dict(json.loads((venv / ".noria.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def is_ready(venv: Path, lane: Lane) -> bool:
    """Whether a finished install has what the lane's lock and this source want."""
    usable = os.access(venv / "bin" / "python", os.X_OK) and (venv / "bin" / "noria").exists()
    return usable and stamp(venv).get("digest") == digest(lane)


def install(venv: Path, wanted: str | None = None, modern_lane: Path | None = None) -> None:
    """Makes or updates the environment. An interrupted one is made again; uv's cache makes that quick.

    Args:
      venv: the environment's folder.
      wanted: the name of a lane: this one or none.
      modern_lane: for tests: `modern-lane VENV LOCK PYTHON` makes an environment with the glibc that a lane needs.

    Raises:
      SetupError: no lane fits, or something cannot be installed.
    """
    before, started = stamp(venv), time.monotonic()
    lanes = [lane for lane in LANES if wanted in (None, lane.name)]
    if any(lane.name == before.get("lane") and is_ready(venv, lane) for lane in lanes):
        return
    here = machine()
    reason = refusal(lanes[0], here) if modern_lane else None
    if reason and not os.access(str(modern_lane), os.X_OK):
        raise SetupError(
            f"{lanes[0].name}: {reason}\n  next: `make MODERN_LANE=PROGRAM`, see CONTRIBUTING.md"
        )
    if reason:
        here = here._replace(glibc=lanes[0].glibc)

    def find(lane: Lane, fetch: bool) -> str | None:
        if fetch:
            _say(f"uv tries to fetch Python {lane.pythons[0]}")
            _output([get_uv(), "python", "install", "-q", lane.pythons[0]])
        return interpreter(get_uv(), lane.pythons)

    lane, base, reasons = choose(here, find, wanted)
    for line in reasons:
        _say(line)
    uv, python = get_uv(), str(venv / "bin" / "python")
    # Where Python may not write bytecode, each command would compile TensorFlow, TFX and Beam again: 10 s of 17.
    settings = {**compiler(uv, base), "UV_COMPILE_BYTECODE": "1"}
    with contextlib.suppress(FileNotFoundError):
        (venv / ".noria.json").unlink()
    _say(f"installing locks/{lane.name}.txt into {os.path.relpath(venv)}; the first time takes minutes")
    if reason and modern_lane:
        command = [str(modern_lane.absolute()), str(venv), str(lane.lock), base]
        _run(command, f"{modern_lane.name} failed", settings)
    else:
        if before.get("python") != base or not os.access(python, os.X_OK):
            _run([uv, "venv", "-q", "--clear", "--python", base, str(venv)], f"{venv} cannot be made")
        command = [uv, "pip", "sync", "-q", "--python", python, str(lane.lock)]
        _run(command, "the packages cannot be installed", settings)
    command = [uv, "pip", "install", "-q", "--no-deps", "--python", python, "--editable", str(ROOT)]
    _run(command, "Noria cannot be installed")
    fresh, record = venv / ".noria.json.new", {"lane": lane.name, "python": base, "digest": digest(lane)}
    fresh.write_text(json.dumps(record), encoding="utf-8")
    os.replace(fresh, venv / ".noria.json")
    _say(f"ready in {time.monotonic() - started:.0f} s: {os.path.relpath(venv)}/bin/noria --help")


def lock(upgrade: bool) -> None:
    """Resolves the requirements of each lane. Pins that still fit stay as they are, except with `upgrade`."""
    for lane in LANES:
        _say(f"resolving the {lane.name} lane for {lane.lock_platform or 'all platforms'}")
        command = [get_uv(), "pip", "compile", "-q", "setup.py", "--all-extras", "--generate-hashes"]
        command += ["--python-version", min(lane.pythons), "--no-emit-index-url"]
        command += ["--python-platform", lane.lock_platform] if lane.lock_platform else ["--universal"]
        command += ["--custom-compile-command", "make lock", "-o", f"locks/{lane.name}.txt"]
        _run(command + (["--upgrade"] if upgrade else []), f"the {lane.name} lane does not resolve")


def _process(
    command: list[str], more: dict[str, str] | None, **pipes: Any
) -> subprocess.CompletedProcess[bytes]:
    # A VIRTUAL_ENV or PYTHONPATH of the caller's shell must not decide what goes where.
    drop = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    environ = {key: value for key, value in os.environ.items() if key not in drop}
    return subprocess.run(command, cwd=str(ROOT), env={**environ, **(more or {})}, check=False, **pipes)


def _output(command: list[str], more: dict[str, str] | None = None) -> str:
    """What a command prints; empty if it fails or does not exist."""
    with contextlib.suppress(OSError):
        done = _process(command, more, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode() if done.returncode == 0 else ""
    return ""


def _run(command: list[str], trouble: str, more: dict[str, str] | None = None) -> None:
    if _process(command, more).returncode:
        raise SetupError(f"{trouble}\n  where: {' '.join(command)}")


def _say(text: str) -> None:
    print(f"noria: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Noria's environment and locks.")
    parser.add_argument(
        "command", choices=["install", "lock"], help="make or update the environment, or the locks"
    )
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment (default: .venv)")
    parser.add_argument("--lane", choices=[lane.name for lane in LANES], help="this lane or none")
    parser.add_argument(
        "--modern-lane", type=Path, help="for tests: makes the environment if glibc is too old"
    )
    parser.add_argument("--upgrade", action="store_true", help="lock: the newest releases")
    options = parser.parse_args(arguments)
    (ROOT / ".setup").mkdir(exist_ok=True)
    with open(ROOT / ".setup" / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another set-up is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if options.command == "lock":
                lock(options.upgrade)
            else:
                install(options.venv.absolute(), options.lane, options.modern_lane)
        except SetupError as error:
            _say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
