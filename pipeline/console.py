"""Standard output for results, standard error for everything else, and the exit codes."""

import contextlib
import json
import math
import os
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from noria.stores.errors import NoriaError

OK = 0
REFUSED = 1  # a NoriaError: said what, where and what next
USAGE = 2  # typer's own: an unknown command or option
ATTENTION = 3  # it ran, and found something a person must look at
UNEXPECTED = 70  # a bug, BSD's EX_SOFTWARE; the traceback is in the log
INTERRUPTED = 130  # 128 + SIGINT


def out() -> Console:
    """Standard output, made when asked for: tests and pipes exchange the stream."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)


def err() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, highlight=False)


def emit(value: Any) -> None:
    """One JSON object on standard output. What JSON cannot say (NaN, infinity) becomes null."""
    sys.stdout.write(json.dumps(_finite(value), indent=1, default=str, allow_nan=False) + "\n")


def let_go() -> None:
    """Gives standard output up: what could not be written Python would try again at its end, and fail its own way."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(error: NoriaError) -> None:
    """An error as people read it: what, where, what next."""
    console = err()
    console.print(f"[bold red]error[/] {escape(error.what)}", soft_wrap=True)
    if error.where is not None:
        console.print(f"  [dim]where[/] {escape(error.where)}", soft_wrap=True)
    if error.next_step is not None:
        console.print(f"   [dim]next[/] {escape(error.next_step)}", soft_wrap=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
