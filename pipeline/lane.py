"""Which lane this machine is on, and its environment, made from that lane's lock.

Runs before anything is installed, by any Python from 3.8 on and with the standard library alone:

    python3 -m pipeline.lane                 the lane, the interpreter, and why
    python3 -m pipeline.lane install         .venv with the lane's locked packages and Noria itself
    python3 -m pipeline.lane find 3.11       the path of an interpreter that really runs
    python3 -m pipeline.lane lock            the lock files anew

Names are not trusted: a `python3.10` on the PATH may be a shim that refuses to run, so every one is run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "0.13.9"  # the version that made the locks
ZIG = "0.17.1"  # a C and C++ compiler that the package index has


@dataclasses.dataclass(frozen=True)
class Lane:
    """One set of releases that fit together, and the machines on which their wheels run."""

    name: str
    tfx: str
    pythons: tuple[str, ...]  # the best first
    glibc: tuple[int, int]  # the oldest that every wheel runs on
    macos_arm64: bool
    lock_python: str  # the lock is resolved for this Python, or for all from this one on
    lock_platform: str | None  # and for this platform, or, with markers, for all

    @property
    def lock(self) -> Path:
        return ROOT / "locks" / f"{self.name}.txt"


LANES = (
    # ml-metadata's and tensorflow-data-validation's wheels for TFX 1.21 are tagged manylinux_2_39.
    Lane("current", "1.21", ("3.11", "3.10", "3.12", "3.13"), (2, 39), True, "3.10", None),
    Lane("long-term", "1.16", ("3.10",), (2, 17), False, "3.10", "x86_64-manylinux_2_17"),
)

PROBE = """
import json, os, platform, sys
missing = []
for name in ("bz2", "ctypes", "lzma", "sqlite3", "ssl", "zlib"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
try:
    import ensurepip, venv
    has_venv = True
except ImportError:
    has_venv = False
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (AttributeError, OSError, ValueError):
    libc = None
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({
    "path": os.path.realpath(base), "version": platform.python_version(),
    "implementation": platform.python_implementation(), "bits": sys.maxsize.bit_length() + 1,
    "system": platform.system(), "machine": platform.machine(),
    "glibc": libc.split()[1] if libc and libc.startswith("glibc") else None,
    "venv": has_venv, "missing": missing,
}))
"""


class NoLane(Exception):
    """Nothing here fits; the message says what to install."""


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """What an interpreter said of itself when it was run."""

    path: str
    version: str
    venv: bool
    missing: list[str]
    glibc: str | None
    machine: str
    system: str
    implementation: str
    bits: int

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def glibc_version(self) -> tuple[int, int] | None:
        if self.glibc is None:
            return None
        major, minor = self.glibc.split(".")[:2]
        return int(major), int(minor)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A lane, the interpreter for it, and the reasons: one line for each lane."""

    lane: Lane
    interpreter: Interpreter
    reasons: list[str]


def candidates(environ: dict[str, str] | None = None) -> list[Path]:
    """Files that may be interpreters: on the PATH, of pyenv, of uv, in the usual folders. Nothing is run."""
    env = dict(os.environ) if environ is None else environ
    home = Path(env.get("HOME", "~")).expanduser()
    pyenv = Path(env.get("PYENV_ROOT") or home / ".pyenv")
    managed = Path(
        env.get("UV_PYTHON_INSTALL_DIR")
        or Path(env.get("XDG_DATA_HOME") or home / ".local" / "share") / "uv" / "python"
    )
    folders = [Path(entry) for entry in env.get("PATH", "").split(os.pathsep) if entry]
    folders += [Path(match) for match in sorted(glob.glob(str(pyenv / "versions" / "*" / "bin")))]
    folders += [Path(match) for match in sorted(glob.glob(str(managed / "*" / "bin")))]
    folders += [Path("/usr/local/bin"), Path("/usr/bin"), Path("/opt/homebrew/bin")]
    names = ["python3"] + [f"python3.{minor}" for minor in range(8, 15)] + ["python"]
    found: list[Path] = []
    for folder in folders:
        for name in names:
            path = folder / name
            if path not in found and path.is_file() and os.access(path, os.X_OK):
                found.append(path)
    return found


def probe(path: Path) -> Interpreter | None:
    """Runs an interpreter and returns what it says, or None where it does not run."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        return Interpreter(**json.loads(done.stdout.decode())) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError):
        return None


def interpreters(environ: dict[str, str] | None = None) -> tuple[list[Interpreter], list[Path]]:
    """The interpreters that run, each once, and the candidates that refused to."""
    paths = candidates(environ)
    unique: dict[str, Path] = {}
    for path in paths:  # a shim resolves to itself, a link to the interpreter it stands for
        unique.setdefault(os.path.realpath(path), path)
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(probe, unique.values()))
    running: dict[str, Interpreter] = {}
    refused: list[Path] = []
    for path, answer in zip(unique.values(), answers):  # noqa: B905 -- `strict` came with Python 3.10
        if answer is None:
            refused.append(path)
        else:
            running.setdefault(answer.path, answer)
    return list(running.values()), refused


def choose(found: Sequence[Interpreter], wanted: str | None = None) -> Choice:
    """The newest lane that this machine and one of the interpreters fit.

    Args:
      found: interpreters that run.
      wanted: the name of a lane, to have that one or none.

    Raises:
      NoLane: none fits; the message says what to install.
    """
    reasons: list[str] = []
    for lane in LANES:
        if wanted not in (None, lane.name):
            continue
        refusals = [refusal for refusal in (_refusal(lane, one) for one in found) if refusal]
        fitting = [one for one in found if _refusal(lane, one) is None]
        if fitting:
            best = min(
                fitting,
                key=lambda one: (lane.pythons.index(one.minor), [-int(p) for p in _numbers(one.version)]),
            )
            where = f"glibc {best.glibc}" if best.glibc else f"{best.system} {best.machine}"
            reasons.append(f"{lane.name}: fits (TFX {lane.tfx}, Python {best.version}, {where})")
            return Choice(lane, best, reasons)
        reasons.append(f"{lane.name}: {_why_not(lane, found, refusals)}")
    raise NoLane(
        "\n".join(["no lane fits this machine", *("  " + line for line in reasons), *_advice(found, wanted)])
    )


def _numbers(version: str) -> list[int]:
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in version.split(".")[:3]]


def _refusal(lane: Lane, one: Interpreter) -> str | None:
    """Why an interpreter cannot carry a lane; the machine's reasons before the interpreter's own."""
    machine = _machine_refusal(lane, one)
    if machine:
        return machine
    if one.implementation != "CPython":
        return f"{one.path} is {one.implementation}, not CPython"
    if one.minor not in lane.pythons:
        return f"{one.path} is Python {one.version}"
    if one.missing:
        return f"{one.path} was built without {', '.join(one.missing)}"
    return None


def _machine_refusal(lane: Lane, one: Interpreter) -> str | None:
    if one.system == "Darwin":
        if lane.macos_arm64 and one.machine == "arm64":
            return None
        return f"no wheels of TFX {lane.tfx} for macOS {one.machine}"
    if one.system != "Linux" or one.machine != "x86_64" or one.bits != 64:
        return f"no wheels of TFX {lane.tfx} for {one.system} {one.machine} ({one.bits} bits)"
    if one.glibc_version is None:
        return f"needs glibc >= {_dotted(lane.glibc)}, this machine has another C library (musl?)"
    if one.glibc_version < lane.glibc:
        return f"needs glibc >= {_dotted(lane.glibc)}, this machine has {one.glibc}"
    return None


def _why_not(lane: Lane, found: Sequence[Interpreter], refusals: Sequence[str]) -> str:
    if not found:
        return "no Python runs here"
    machine = [_machine_refusal(lane, one) for one in found]
    if all(machine):
        return str(machine[0])
    broken = [refusal for refusal in refusals if "built without" in refusal]
    have = ", ".join(sorted({one.version for one in found}, key=_numbers)) or "none"
    return f"needs Python {' or '.join(lane.pythons)}, found {have}" + "".join(f"; {line}" for line in broken)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _advice(found: Sequence[Interpreter], wanted: str | None) -> list[str]:
    """What to install, for the newest lane whose machine this is."""
    for lane in LANES:
        if wanted not in (None, lane.name) or (found and all(_machine_refusal(lane, one) for one in found)):
            continue
        version = lane.pythons[0]
        return [
            f"  next:  install Python {version} for the {lane.name} lane, any one of",
            f"           uv python install {version}        (`pip install uv` brings uv)",
            f"           pyenv install {version}            (https://github.com/pyenv/pyenv)",
            f"           apt-get install python{version} python{version}-venv   (where your system has it: "
            + ("Ubuntu 22.04)" if version == "3.10" else "Debian 12, Ubuntu 24.04 with deadsnakes)"),
            "         then the same command again",
        ]
    return ["  next:  use Linux x86_64 with glibc >= 2.17, macOS arm64, or the container image"]


# --- uv -----------------------------------------------------------------------------------------------------


def uv(found: Sequence[Interpreter] | None = None) -> Path:
    """uv in its pinned version, in `.setup/uv`; installed there on first use.

    Raises:
      NoLane: no interpreter here can make an environment, or uv cannot be fetched.
    """
    folder = ROOT / ".setup" / "uv"
    program = folder / "bin" / "uv"
    if _version(program) == UV:
        return program
    on_path = shutil.which("uv")
    if on_path and _version(Path(on_path)) == UV:
        return Path(on_path)
    usable = [
        one for one in (interpreters()[0] if found is None else found) if _numbers(one.version) >= [3, 8]
    ]
    usable.sort(key=lambda one: (not one.venv, one.path != os.path.realpath(sys.executable)))
    if not usable or not usable[0].venv:
        if on_path:  # another version than the one that made the locks: it reads them all the same
            return Path(on_path)
        version = usable[0].minor if usable else "3"
        raise NoLane(f"no Python here can make an environment\n  next:  apt-get install python{version}-venv")
    _say(f"fetching uv {UV} into .setup/uv")
    fresh = folder.with_name(f"uv-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _run([usable[0].path, "-m", "venv", str(fresh)], "the environment for uv cannot be made")
        _run(
            [
                str(fresh / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                f"uv=={UV}",
            ],
            "uv cannot be fetched: is the package index reachable?",
        )
        # uv is one self-contained program: keep that, not an environment whose scripts name this folder.
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "bin").mkdir(parents=True)
        shutil.copy2(fresh / "bin" / "uv", folder / "bin" / ".uv")
        os.replace(folder / "bin" / ".uv", program)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return program


def _version(program: Path) -> str | None:
    try:
        done = subprocess.run(
            [str(program), "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
        return done.stdout.decode().split()[1]
    except (OSError, IndexError):
        return None


@contextlib.contextmanager
def _compiler(program: str, python: str) -> Iterator[dict[str, str]]:
    """The variables that name a C++ compiler, where the machine has none: one package of the locks is source.

    Args:
      program: uv.
      python: of the environment that is being made.

    Raises:
      NoLane: there is none, and none can be fetched.
    """
    if os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++"):
        yield {}
        return
    _say(f"no C++ compiler here (Debian: g++): lending ziglang {ZIG} for the set-up")
    folder = ROOT / ".setup" / "zig"
    try:
        _run(
            [program, "pip", "install", "-q", "--python", python, "--target", str(folder), f"ziglang=={ZIG}"],
            "a C++ compiler cannot be fetched\n  next:  apt-get install g++, then the same command again",
        )
        zig = shlex.quote(str(folder / "ziglang" / "zig"))
        yield {"CC": f"{zig} cc", "CXX": f"{zig} c++"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    command: list[str],
    trouble: str,
    cwd: Path = ROOT,
    quiet: bool = False,
    variables: dict[str, str] | None = None,
) -> None:
    # A VIRTUAL_ENV or PYTHONPATH of the caller's shell must not decide what goes where.
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    env.update(variables or {})
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, cwd=str(cwd), env=env, stderr=output, check=False)
    if done.returncode:
        said = f"\n{done.stderr.decode().strip()}" if quiet else ""
        raise NoLane(f"{trouble}\n  where: {' '.join(command)}{said}")


def _say(text: str) -> None:
    print(f"noria: {text}", file=sys.stderr, flush=True)


# --- install ------------------------------------------------------------------------------------------------


def digests(lane: Lane) -> dict[str, str]:
    """What an environment depends on: the lock, the packaging, and the folders that are packages."""
    wanted = {"lane": lane.name, "uv": UV}
    for path in (lane.lock, ROOT / "setup.py", ROOT / "pyproject.toml"):
        wanted[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    # The editable install maps folder by folder: a new one needs a new mapping.
    packages = sorted(
        str(init.parent.relative_to(ROOT))
        for room in ROOT.iterdir()
        if room.is_dir() and not room.name.startswith(".")
        for init in room.glob("**/__init__.py")
    )
    wanted["packages"] = hashlib.sha256("\n".join(packages).encode()).hexdigest()
    return wanted


def installed(venv: Path) -> dict[str, str] | None:
    """The stamp of a finished install, or None."""
    try:
        return dict(json.loads((venv / ".noria.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def install(venv: Path, wanted: str | None = None) -> None:
    """Makes or mends the environment; at once where nothing changed, and again where it was interrupted.

    Raises:
      NoLane: no lane fits, or a package cannot be installed.
    """
    with _one_at_a_time():
        stamp = installed(venv)
        if stamp and wanted in (None, stamp.get("lane")):
            lane = next((lane for lane in LANES if lane.name == stamp.get("lane")), None)
            if lane and all(stamp.get(key) == value for key, value in digests(lane).items()) and _runs(venv):
                return
        started = time.monotonic()
        found, refused = interpreters()
        choice = _choose_or_fetch(found, wanted)
        for reason in choice.reasons:
            _say(reason)
        if refused:
            _say(f"passed over, because they refuse to run: {', '.join(str(path) for path in refused)}")
        program = str(uv(found))
        with contextlib.suppress(FileNotFoundError):
            (venv / ".noria.json").unlink()
        if not _same_python(venv, choice.interpreter):
            _run(
                [program, "venv", "-q", "--clear", "--python", choice.interpreter.path, str(venv)],
                f"{venv} cannot be made",
            )
        python = str(venv / "bin" / "python")
        _say(f"installing {choice.lane.lock.relative_to(ROOT)} into {_short(venv)}; minutes, the first time")
        with _compiler(program, python) as variables:
            _run(
                [program, "pip", "sync", "-q", "--python", python, str(choice.lane.lock)],
                "the packages cannot be installed",
                variables=variables,
            )
        _editable(program, venv)
        _stamp(venv, {**digests(choice.lane), "python": choice.interpreter.path})
        _say(f"ready in {time.monotonic() - started:.0f} s: {_short(venv)}/bin/noria --help")


def _editable(program: str, venv: Path) -> None:
    python = str(venv / "bin" / "python")
    command = [program, "pip", "install", "-q", "--no-deps", "--python", python, "--editable", str(ROOT)]
    _run(command, "noria cannot be installed")


def _stamp(venv: Path, record: dict[str, str]) -> None:
    """Only a finished install has a stamp, so that one that was interrupted is done again."""
    beside = venv / ".noria.json.new"
    beside.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(beside, venv / ".noria.json")


def install_current(venv: Path, modern_lane: Path) -> None:
    """The current lane for testing, also on a machine whose glibc is too old for it.

    Args:
      venv: the environment's folder.
      modern_lane: program `modern-lane VENV LOCK PYTHON`: makes an environment with a C library of its own.

    Raises:
      NoLane: glibc is too old and there is no such program, or it failed.
    """
    found, _ = interpreters()
    lane = LANES[0]
    try:
        choose(found, lane.name)
    except NoLane as error:
        if not os.access(modern_lane, os.X_OK):
            raise NoLane(
                f"{error}\n  and there is no {modern_lane}, which makes an environment for tests"
            ) from None
    else:
        install(venv, lane.name)
        return
    with _one_at_a_time():
        wanted = digests(lane)
        stamp = installed(venv) or {}
        if all(stamp.get(key) == value for key, value in wanted.items()) and _runs(venv):
            return
        _run([str(modern_lane), str(venv), str(lane.lock), _find(lane.pythons[0])], "modern-lane failed")
        _editable(str(uv(found)), venv)
        _stamp(venv, wanted)


def _choose_or_fetch(found: list[Interpreter], wanted: str | None) -> Choice:
    """The choice; where only an interpreter is missing, uv is asked for one (if the network lets it)."""
    try:
        return choose(found, wanted)
    except NoLane as error:
        for lane in LANES:
            if (
                wanted not in (None, lane.name)
                or not found
                or all(_machine_refusal(lane, one) for one in found)
            ):
                continue
            _say(f"no interpreter for the {lane.name} lane; asking uv for Python {lane.pythons[0]}")
            try:
                program = str(uv(found))
                _run(
                    [program, "python", "install", "-q", lane.pythons[0]], "uv could not fetch it", quiet=True
                )
                got = subprocess.run(
                    [program, "python", "find", "--managed-python", lane.pythons[0]],
                    stdout=subprocess.PIPE,
                    check=False,
                )
                fetched = probe(Path(got.stdout.decode().strip()))
            except NoLane:
                fetched = None
            if fetched is not None:
                return choose([*found, fetched], wanted)
        raise error


def _same_python(venv: Path, interpreter: Interpreter) -> bool:
    answer = probe(venv / "bin" / "python")
    return answer is not None and answer.path == interpreter.path


def _runs(venv: Path) -> bool:
    return os.access(venv / "bin" / "python", os.X_OK) and (venv / "bin" / "noria").exists()


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    import fcntl

    folder = ROOT / ".setup"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another set-up is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- locks --------------------------------------------------------------------------------------------------


def lock(lanes: Sequence[Lane] = LANES, upgrade: bool = False) -> None:
    """Resolves the lanes' requirements anew; pins that still fit stay as they are, but for `upgrade`."""
    program = str(uv())
    for lane in lanes:
        _say(f"resolving {lane.name} for Python {lane.lock_python} on {lane.lock_platform or 'any platform'}")
        command = [program, "pip", "compile", "-q", "setup.py", f"locks/{lane.name}.in", "--all-extras"]
        command += ["--python-version", lane.lock_python]
        command += ["--python-platform", lane.lock_platform] if lane.lock_platform else ["--universal"]
        command += ["--generate-hashes", "--no-emit-index-url", "--custom-compile-command", "make lock"]
        command += ["-o", f"locks/{lane.name}.txt"]
        _run(command + (["--upgrade"] if upgrade else []), f"the {lane.name} lane does not resolve")


def main(arguments: Sequence[str] | None = None) -> int:
    """The commands of this module; 0 or 1."""
    parser = argparse.ArgumentParser(prog="python3 -m pipeline.lane", description="Noria's lanes and set-up.")
    commands = parser.add_subparsers(dest="command")
    show = commands.add_parser("show", help="the lane, the interpreter, and why")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    installs = commands.add_parser("install", help="make or mend the environment")
    installs.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder")
    current = commands.add_parser(
        "current", help="make or mend an environment of the current lane, for tests"
    )
    current.add_argument("--venv", type=Path, default=ROOT / ".venv-current", help="its folder")
    current.add_argument("--modern-lane", type=Path, required=True, help="makes it where glibc is too old")
    locks = commands.add_parser("lock", help="resolve the lock files anew")
    locks.add_argument("--upgrade", action="store_true", help="to the newest releases")
    for command in (show, installs, locks):
        command.add_argument("--lane", choices=[lane.name for lane in LANES], help="this lane or none")
    find = commands.add_parser("find", help="print the path of an interpreter that runs")
    find.add_argument("version", help="such as 3.11")
    commands.add_parser("uv", help="print the path of uv, fetched if need be")
    options = parser.parse_args(arguments)
    try:
        if options.command == "install":
            install(options.venv.absolute(), options.lane)
        elif options.command == "current":
            install_current(options.venv.absolute(), options.modern_lane)
        elif options.command == "lock":
            lock([lane for lane in LANES if options.lane in (None, lane.name)], options.upgrade)
        elif options.command == "find":
            print(_find(options.version))
        elif options.command == "uv":
            print(uv())
        else:
            _show(getattr(options, "lane", None), getattr(options, "json", False))
    except NoLane as error:
        print(f"noria: {error}", file=sys.stderr)
        return 1
    return 0


def _find(version: str) -> str:
    fitting = [one for one in interpreters()[0] if one.minor == version and one.venv and not one.missing]
    if not fitting:
        raise NoLane(
            f"no Python {version} that runs and can make environments\n  next:  pyenv install {version}"
        )
    return max(fitting, key=lambda one: _numbers(one.version)).path


def _show(wanted: str | None, as_json: bool) -> None:
    found, refused = interpreters()
    choice = choose(found, wanted)
    if as_json:
        print(
            json.dumps(
                {
                    "lane": choice.lane.name,
                    "tfx": choice.lane.tfx,
                    "python": dataclasses.asdict(choice.interpreter),
                    "reasons": choice.reasons,
                    "found": [dataclasses.asdict(one) for one in found],
                    "refused": [str(path) for path in refused],
                    "platform": platform.platform(),
                }
            )
        )
        return
    print(f"{choice.lane.name} lane with {choice.interpreter.path} (Python {choice.interpreter.version})")
    for reason in choice.reasons:
        print(f"  {reason}")
    for path in refused:
        print(f"  passed over: {path} refuses to run")


if __name__ == "__main__":
    sys.exit(main())
