"""A process that is really killed, at every step it takes in the file system."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_STEPS = ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def started(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process, which ends with 1 and the error's text if it fails; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return child


def killed_at(n: int, folder: Path, work: Callable[[], None]) -> bool:
    """Runs `work` in a forked process and kills it with SIGKILL just before its n-th step below `folder`.

    False if the work ended before that.
    """

    def dying() -> None:
        _die_at(n, str(folder))
        work()

    child = started(dying)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or 0 == os.WEXITSTATUS(status), "the work failed on its own"
    return os.WIFSIGNALED(status)


def _die_at(n: int, folder: str) -> None:
    steps = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal steps
        if event in _STEPS and any(str(each).startswith(folder) for each in arguments):
            steps += 1
            if steps == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
