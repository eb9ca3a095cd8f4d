"""Standard output for results, standard error for everything else, and the exit codes."""

import contextlib
import json
import math
import os
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from noria.core.errors import NoriaError

OK = 0
REFUSED = 1  # a NoriaError: said what, where and what next
USAGE = 2  # typer's own: an unknown command or option
ATTENTION = 3  # it ran, and found something a person must look at
UNEXPECTED = 70  # a bug, BSD's EX_SOFTWARE; the traceback is in the log
INTERRUPTED = 130  # 128 + SIGINT


class ReaderGone(Exception):
    """Nobody reads standard output any more: `noria status | head`."""


class _Out(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGone  # Rich would end the process, with 1


def out() -> Console:
    """Standard output, made when asked for: tests and pipes exchange the stream."""
    return _Out(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)


def err() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, highlight=False)


def emit(value: Any, *, line: bool = False) -> None:
    """One JSON object on standard output, at once. What JSON cannot say (NaN, infinity) becomes null.

    `line`: on one line, where more of them follow.
    """
    text = json.dumps(_finite(value), indent=None if line else 1, default=str, allow_nan=False)
    flush(f"{text}\n")


def flush(text: str = "") -> None:
    """Hands standard output on, and a text with it; raises ReaderGone where nobody takes it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def close_out() -> None:
    """Leads standard output nowhere: what lies in its buffer would fail once more when Python ends."""
    with contextlib.suppress(OSError, ValueError):  # a test's stream has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
