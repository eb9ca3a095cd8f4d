"""The lock: one writer at a time, also after a crash."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from noria.core.errors import LockedError
from noria.core.locks import hold, holder

_HOLDS = """
import sys, time
from pathlib import Path
from noria.core.locks import hold
with hold(Path(sys.argv[1]), command="noria run"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _holding(folder: Path, seconds: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert "held\n" == process.stdout.readline()
    return process


def test_refuses_at_once_and_says_who_holds_it(tmp_path: Path) -> None:
    """A second process is refused with the first one's pid and command."""
    process = _holding(tmp_path, 60)
    try:
        with pytest.raises(LockedError) as refused, hold(tmp_path):
            pass
        assert f"process {process.pid} on" in str(refused.value)
        assert "(noria run)" in str(refused.value)
        assert "since 20" in str(refused.value)
    finally:
        process.kill()
        process.wait()


def test_waits_until_the_other_one_ends(tmp_path: Path) -> None:
    """With `wait` the second process gets the lock when the first one lets go."""
    process = _holding(tmp_path, 0.5)
    with hold(tmp_path, wait=30):
        assert str(process.pid) != holder(tmp_path)["pid"]
    assert 0 == process.wait()
    assert holder(tmp_path) is None


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    """SIGKILL frees the lock at once, without any cleaning up."""
    process = _holding(tmp_path, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with hold(tmp_path):
        pass


def test_the_same_thread_may_enter_again_and_others_may_not(tmp_path: Path) -> None:
    """Re-entrant within a thread; a second thread of the process is refused like another process."""
    refused = []

    def other() -> None:
        try:
            with hold(tmp_path):
                pass
        except LockedError as error:
            refused.append(error)

    with hold(tmp_path), hold(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert 1 == len(refused)
    with hold(tmp_path):  # released: it would be refused otherwise
        pass
