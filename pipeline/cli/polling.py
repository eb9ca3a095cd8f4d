"""`noria run --every`: a process that keeps running. From its second run on it saves the imports."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from noria.core import periods
from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console


def poll(every: str, look: Callable[[bool], int]) -> int:
    """Looks for new data at an interval, until a signal ends it.

    SIGTERM and Ctrl-C end it at once while it waits. During runs, SIGTERM ends it after them; Ctrl-C interrupts the
    run, and the next `noria run` continues from there. An error (a delivery that cannot be read, another run that
    holds the project) is printed, and the next poll tries again.

    Args:
      every: from the end of one poll to the next, such as `15m`.
      look: runs on the spans that wait; its argument says whether this is the first poll.

    Returns:
      Exit code 0.

    Raises:
      ConfigError: `every` is not an interval, or the project's settings were wrong at the start.
    """
    pause = periods.seconds(every)
    first = True
    with _end_on_sigterm() as end:
        while not end.is_set():
            try:
                look(first)
            except NoriaError as error:
                if first and isinstance(error, ConfigError):
                    raise
                console.show_error(error)
            if first:
                console.err().print(f"polling for new data every {every}; press Ctrl-C to stop")
            first = False
            with contextlib.suppress(KeyboardInterrupt):
                end.wait(pause)
                continue
            end.set()
    return console.OK


@contextlib.contextmanager
def _end_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets."""
    end = threading.Event()

    def set_end(*_: Any) -> None:
        end.set()

    before = signal.signal(signal.SIGTERM, set_end)
    try:
        yield end
    finally:
        signal.signal(signal.SIGTERM, before)
