"""`noria run --every`: a process that stays. From its second run on it pays for no import."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from noria.core import periods
from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console


def stay(every: str, look: Callable[[bool], int]) -> int:
    """Looks for new data again and again, until it is told to end.

    SIGTERM and Ctrl-C end it at once while it waits. During a run SIGTERM lets the runs under way finish; Ctrl-C
    breaks them off, and the next run goes on from there. What a look refuses (a delivery that cannot be read,
    another run at work) is said, and the next look tries again.

    Args:
      every: from the end of one look to the next, such as `15m`.
      look: runs on what waits; told whether it is the first look.

    Returns:
      Exit code 0.

    Raises:
      ConfigError: `every` is no interval, or the project's settings were wrong from the start.
    """
    pause = periods.seconds(every)
    first = True
    with _told_to_end() as end:
        while not end.is_set():
            try:
                look(first)
            except NoriaError as error:
                if first and isinstance(error, ConfigError):
                    raise
                console.show_error(error)
            if first:
                console.err().print(f"looking for new data every {every}; Ctrl-C ends this")
            first = False
            with contextlib.suppress(KeyboardInterrupt):
                end.wait(pause)
                continue
            end.set()
    return console.OK


@contextlib.contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM sets."""
    end = threading.Event()

    def told(*_: Any) -> None:
        end.set()

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield end
    finally:
        signal.signal(signal.SIGTERM, before)
