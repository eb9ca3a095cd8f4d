"""Standard output for results, standard error for everything else, and the exit codes."""

import contextlib
import io
import json
import math
import os
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from noria.core.errors import NoriaError

OK = 0
REFUSED = 1  # a NoriaError, shown as what, where, next
USAGE = 2  # typer's: an unknown command or option
ATTENTION = 3  # finished, and something needs a person's attention
UNEXPECTED = 70  # a bug, BSD's EX_SOFTWARE; the traceback is in the log
INTERRUPTED = 130  # 128 + SIGINT


class ReaderGone(Exception):
    """The reader closed standard output: `noria status | head`."""


class StandardOutput(io.TextIOWrapper):
    """Raises ReaderGone, so that no library handles the closed pipe and no other broken pipe is taken for it."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise ReaderGone from None

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise ReaderGone from None


def out() -> Console:
    """Standard output, looked up at each call because tests replace the stream."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)


def err() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, highlight=False)


def emit(value: Any, *, line: bool = False) -> None:
    """Prints one JSON object on standard output and flushes. NaN and infinity, which JSON lacks, become null.

    `line`: on one line, for a sequence of objects.
    """
    text = json.dumps(_finite(value), indent=None if line else 1, default=str, allow_nan=False)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def close_out() -> None:
    """Redirects standard output to nowhere: its buffer would fail again when Python ends."""
    with contextlib.suppress(OSError, ValueError):  # a test's stream has no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def show_error(error: NoriaError) -> None:
    """Prints an error: what was wrong, where, what to do next."""
    console = err()
    console.print(f"[bold red]error[/] {escape(error.what)}", soft_wrap=True)
    if error.where is not None:
        console.print(f"  [dim]where[/] {escape(error.where)}", soft_wrap=True)
    if error.next_step is not None:
        console.print(f"   [dim]next[/] {escape(error.next_step)}", soft_wrap=True)


def user() -> str:
    """The name of the user, for the registry's log."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
