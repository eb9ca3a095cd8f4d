"""Freed memory goes back to the system."""

import platform
import subprocess
import sys

MEASURE = """
from noria.core import freed_memory

before = freed_memory.resident()
with freed_memory.given_back():
    pieces = [bytes(2000) for _ in range(100_000)]
    grown = freed_memory.resident() - before
    last = pieces.pop()
    del pieces
print(grown >> 20, freed_memory.resident() - before >> 20)
"""


def test_what_a_block_has_freed_is_given_back():
    """200 MB in small pieces, of which the last one keeps the others' place, do not remain with the process."""
    # In a new process: this one may have room for them already.
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    grown, left = map(int, done.stdout.split())
    if platform.libc_ver()[0] == "glibc":
        assert grown > 150 and left < 50
    else:
        assert grown >= 0
