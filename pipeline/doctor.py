"""The checks of `noria doctor`: the machine, the environment, the project. Each says what to do.

The checks only read; they change and repair nothing.
"""

import dataclasses
import importlib.util
import os
import platform
import re
import shlex
import shutil
import socket
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.components.data_gate.measures import MEASURES
from noria.components.evaluator.metrics import METRICS
from noria.core import locks
from noria.core.code_digest import local_modules
from noria.core.errors import ConfigError, NoriaError
from noria.core.files import STAGING
from noria.core.seams import Seam
from noria.pipeline import environment
from noria.pipeline.config import Config, load
from noria.stores.versions import State

OK, WARNING, PROBLEM = "ok", "warning", "problem"
# A cold and a warm run on the flights keep about 0.5 GiB; below twice that, a run may fill the disk.
FREE_GIB = 1.0


@dataclasses.dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
      name: what was checked.
      state: `ok`, `warning` (it works, and needs attention) or `problem`.
      found: what was found.
      next_step: what to do about it; None where nothing is to be done.
    """

    name: str
    state: str
    found: str
    next_step: str | None = None


def examine(config_path: Path) -> list[Check]:
    """All checks; those of the project only where there is one."""
    checks = [*machine(), *packages()]
    try:
        config = load(config_path)
    except NoriaError as error:
        absent = not config_path.exists()
        checks.append(
            Check("project", WARNING if absent else PROBLEM, f"{error.what} ({error.where})", error.next_step)
        )
        return checks
    checks.append(Check("project", OK, f"{config.name} ({config.path})"))
    return [*checks, *project(config)]


# --- the machine and the environment ----------------------------------------------------------------------


def machine() -> Iterator[Check]:
    """Interpreter, C library, and whether TFX is built for them."""
    c_library = " ".join(platform.libc_ver()).strip() or f"{platform.system()} {platform.machine()}"
    yield Check("interpreter", OK, f"Python {platform.python_version()}, {c_library} ({sys.prefix})")
    tfx, wrong = environment.version("tfx"), environment.built_for_another_machine()
    if tfx is None:
        yield Check("tfx", PROBLEM, "TFX is not installed", _repair("tfx"))
    elif wrong:
        again = _repair("tfx")
        yield Check("tfx", PROBLEM, "; ".join(wrong), f"make a new environment on this machine, then {again}")
    else:
        yield Check("tfx", OK, f"TFX {tfx}, TensorFlow {environment.version('tensorflow')}")


def packages() -> Iterator[Check]:
    """Packages against the clone's lock, or else against what Noria requires; and optional parts."""
    lock_file = environment.lock()
    if lock_file is not None:
        required_by, wrong = (
            f"locks/{lock_file.name}",
            environment.differences(lock_file.read_text(encoding="utf-8")),
        )
        again = "make setup"
    else:
        required_by, wrong = f"noria {environment.version('noria')}", environment.unmet()
        again = _repair(*wrong)
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        yield Check("packages", PROBLEM, f"not as {required_by} requires: {shown}", again)
    else:
        yield Check("packages", OK, f"as {required_by} requires")
    yield kubeflow()


def kubeflow() -> Check:
    """Whether `noria compile` can work here; a project without Kubeflow does not need it."""
    from noria.pipeline.runners.kubeflow import checks

    try:
        checks.check_installed("kfp.kubernetes")
    except NoriaError as error:
        return Check("kubeflow", WARNING, error.what, f"{error.next_step}, for Kubeflow Pipelines only")
    return Check(
        "kubeflow",
        OK,
        f"kfp {environment.version('kfp')}, kfp-kubernetes {environment.version('kfp-kubernetes')}",
    )


def _repair(*requirements: str) -> str:
    return "make setup" if environment.clone() else f"pip install {' '.join(map(shlex.quote, requirements))}"


# --- the project -------------------------------------------------------------------------------------------


def project(config: Config) -> Iterator[Check]:
    """Home, disk, lock, schema, code, data, metadata, registry, spans."""
    yield home(config.home_path)
    yield disk(config.home_path)
    yield running(config.home_path)
    yield schema(config.schema_path)
    yield preprocessing(config)
    yield from gates(config)
    yield metadata(config)
    yield from stores(config)


def home(folder: Path) -> Check:
    """Whether runs can write there."""
    nearest = _nearest(folder)
    if not nearest.is_dir():
        return Check(
            "home", PROBLEM, f"{nearest} is not a folder", "set `home` to a folder, or move the file away"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check(
            "home",
            PROBLEM,
            f"{nearest} cannot be written to",
            f"chmod u+rwx {nearest}, or set another `home`",
        )
    return Check("home", OK, str(folder) if folder.exists() else f"{folder} (the first run makes it)")


def disk(folder: Path) -> Check:
    """Free space where the home is."""
    free = shutil.disk_usage(_nearest(folder)).free / 2**30
    if free < FREE_GIB:
        return Check("disk", PROBLEM, f"{free:.2f} GiB free", "make room, lower `retention`, or move `home`")
    return Check("disk", OK, f"{free:.1f} GiB free")


def running(folder: Path) -> Check:
    """Whether a run holds the project; the note of a killed run is harmless."""
    holder = locks.holder(folder)
    if holder is None:
        return Check("lock", OK, "no run is active")
    who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    if holder.get("host") == socket.gethostname() and not _alive(holder.get("pid", "")):
        return Check("lock", WARNING, f"{who} was killed", "noria run finishes its work")
    return Check(
        "lock", WARNING, f"held by {who}: {holder.get('command')}", "wait for it, or noria run --wait 600"
    )


def schema(path: Path) -> Check:
    """Whether the curated schema exists and is not empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Check(
            "schema", PROBLEM, f"cannot be read: {error}", "correct `schema`; noria init writes a draft"
        )
    features = len(re.findall(r"^feature\s*\{", text, re.MULTILINE))
    if not features:
        return Check(
            "schema", PROBLEM, f"{path} names no feature", "noria init writes a draft from your data"
        )
    return Check("schema", OK, f"{features} features ({path})")


def preprocessing(config: Config) -> Check:
    """Whether the module is found and defines the function; it is read, not run (it imports TensorFlow)."""
    module, _, function = config.preprocessing.rpartition(".")
    try:
        file = local_modules(module, str(config.folder))[module]
    except ConfigError as error:
        return Check("preprocessing", PROBLEM, f"{error.what} ({error.where})", error.next_step)
    source = importlib.util.decode_source(file.read_bytes())
    found = symtable.symtable(source, str(file), "exec").get_symbols()
    names = {symbol.get_name() for symbol in found if symbol.is_assigned() or symbol.is_imported()}
    if function not in names and "import *" not in source:  # which may define it
        return Check("preprocessing", PROBLEM, f"{file} does not define {function}", "define it there")
    return Check("preprocessing", OK, f"{config.preprocessing} ({file})")


def gates(config: Config) -> Iterator[Check]:
    """Whether the project's own drift measures and metrics can be imported; the pipeline needs them late in a run."""
    own: list[tuple[Seam[Any], str]] = [(MEASURES, name) for name in config.gates.own_measures]
    own += [(METRICS, name) for name in config.gates.own_metrics]
    for seam, name in own:
        try:
            seam.find(name, config.folder)
        except ConfigError as error:
            yield Check("gates", PROBLEM, f"{error.what} ({error.where})", error.next_step)
        else:
            yield Check("gates", OK, f"{name} can be imported")


def metadata(config: Config) -> Check:
    """Whether ML Metadata's server answers; for SQLite there is nothing to reach."""
    server = config.metadata_server()
    if server is None:
        return Check("metadata", OK, f"SQLite in {config.home_path}")
    name = f"{server['kind']} at {server['host']}:{server['port']}"
    try:
        socket.create_connection((server["host"], server["port"]), timeout=3).close()
    except OSError as error:
        return Check("metadata", PROBLEM, f"{name}: {error}", "start the server, or correct `metadata`")
    return Check("metadata", OK, f"{name} answers")


def stores(config: Config) -> Iterator[Check]:
    """Spans, quarantine, what is half done, and whether the champion is in the model directory."""
    from noria.stores.registry import Registry
    from noria.stores.spans import SpanStore

    store, registry = SpanStore(config.home_path), Registry(config.home_path)
    try:
        ids, quarantined = store.ids(), store.quarantined()
        champion, versions = registry.champion(), registry.versions()
    except NoriaError as error:
        yield Check("stores", PROBLEM, f"{error.what} ({error.where})", error.next_step)
        return
    if quarantined:
        spans = ", ".join(map(str, sorted(quarantined)))
        yield Check(
            "spans",
            WARNING,
            f"{len(ids)}, in quarantine: {spans}",
            "noria report; then ingest a corrected delivery, or noria unquarantine SPAN --reason ...",
        )
    else:
        yield Check("spans", OK, f"{len(ids)}")
    for span in ids:
        try:
            store.verify(span)
        except NoriaError as error:
            yield Check("span", PROBLEM, f"{error.what} ({error.where})", error.next_step)
    half = half_done(config, registry.state())
    if half:
        yield Check("publishing", WARNING, "; ".join(half), "noria run finishes it first")
    if champion is None:
        yield Check("registry", OK, f"{len(versions)} versions, no champion yet")
    elif not (config.model_root / str(champion.version)).is_dir():
        found = f"champion {champion.version} is not in {config.model_root}"
        yield Check("registry", PROBLEM, found, "noria run puts it back")
    else:
        yield Check("registry", OK, f"{len(versions)} versions, champion {champion.version}")


def half_done(config: Config, state: State) -> list[str]:
    """What a killed run left unfinished: publications, a rollback, staging folders."""
    found = [f"version {version} was being published" for version in sorted(state.publishing)]
    if state.rolling_back is not None:
        found.append(f"a rollback to version {state.rolling_back['to']} had begun")
    found += [
        f"request {request} to forget had begun" for request, at in state.forgetting.items() if at == "begun"
    ]
    for folder in (config.model_root, config.home_path / "registry" / "versions", config.home_path / "spans"):
        if folder.is_dir():
            left = [path.name for path in folder.iterdir() if path.name.startswith(STAGING)]
            found += [f"{folder / name} is unfinished" for name in left]
    return found


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest of its parents that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def to_json(checks: list[Check]) -> dict[str, Any]:
    """The object that `noria doctor --json` prints."""
    return {
        "tfx": environment.version("tfx"),
        "healthy": all(check.state != PROBLEM for check in checks),
        "checks": [dataclasses.asdict(check) for check in checks],
    }
