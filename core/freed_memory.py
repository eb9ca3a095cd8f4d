"""Memory that a stage has freed, back to the operating system.

The C library keeps freed memory for later requests of the same size. After the statistics of 1,500 columns, which are
some hundred thousand small objects, that is 400 MB, which the next stage cannot use for its matrices.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

GROWN = 64 << 20  # bytes, from which on it pays: it takes some milliseconds, and as much again for new memory

_STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def given_back() -> Iterator[None]:
    """Gives back what is free after the block, if the process has grown within it. On Linux with glibc."""
    before = resident()
    try:
        yield
    finally:
        if resident() - before > GROWN:
            with contextlib.suppress(AttributeError, OSError):  # another C library
                ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
