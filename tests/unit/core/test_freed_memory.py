"""Freed memory goes back to the system."""

import platform

from noria.core import freed_memory


def test_what_a_block_has_freed_is_given_back():
    """200 MB in small pieces, of which the last one keeps the others' place, do not remain with the process."""
    before = freed_memory.resident()
    with freed_memory.given_back():
        pieces = [bytes(2000) for _ in range(100_000)]
        grown = freed_memory.resident() - before
        last = pieces.pop()
        del pieces
    assert len(last) == 2000
    if platform.libc_ver()[0] == "glibc":
        assert grown > 150 << 20
        assert freed_memory.resident() - before < 50 << 20
    else:
        assert grown >= 0
