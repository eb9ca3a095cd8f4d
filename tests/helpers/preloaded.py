"""Processes that are forked from one that has imported TFX: `python -m MODULE` without the seconds of the imports.

Each is a real process with its own arguments, folder, environment and process group, and is killed like any other. Use
it where a test starts many, after one that was started as people start it.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from . import EXAMPLES, ROOT

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.helpers.preloaded_modules"])


def start(
    command: list[str],
    folder: Path,
    env: dict[str, str],
    out: str,
    err: str | None = None,
    first: Callable[[], None] | None = None,
) -> BaseProcess:
    """Starts `[python, "-m", module, *arguments]`; what it writes goes to one file, or to two.

    `first` is called in the process before the module runs.
    """
    _, flag, module, *arguments = command
    assert "-m" == flag
    process = _CONTEXT.Process(target=_run, args=(module, arguments, str(folder), env, out, err, first))
    process.start()
    return process


def run(
    command: list[str], folder: Path, env: dict[str, str], seconds: float, *, apart: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs such a command to its end; `apart`: standard error is not part of standard output."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        process = start(command, folder, env, str(out), str(err) if apart else None)
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, seconds)
        said = [file.read_text("utf-8", "replace") if file.exists() else "" for file in (out, err)]
        return subprocess.CompletedProcess(command, process.exitcode, *said)


def _run(
    module: str,
    arguments: list[str],
    folder: str,
    env: dict[str, str],
    out: str,
    err: str | None,
    first: Callable[[], None] | None,
) -> None:
    os.setsid()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where pytest is a shell's background job
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1 if err is None else os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    if first is not None:
        first()
    sys.argv = [module, *arguments]
    sys.path[:] = [folder, *(path for path in sys.path if path not in (str(ROOT), str(EXAMPLES / "flights")))]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:  # multiprocessing ends a process without either
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
