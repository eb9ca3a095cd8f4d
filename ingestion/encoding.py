"""Which encoding a text file is in, and its text with a mark where the bytes are no text."""

import codecs
import dataclasses
import io
from typing import IO

BLOCK_BYTES = 8 << 20
# Stands for bytes that are no text: a noncharacter of Unicode, which no text that people exchange holds.
MARK = "\ufdd0"
# A file is in Latin-1 and not in a damaged UTF-8 if more than this share of its lines is no UTF-8, and more
# lines are none than hold UTF-8 beyond ASCII. Below it the lines are bad rows like others (`max_bad_share`).
LATIN_SHARE = 0.01

_HANDLER = "noria-mark"
codecs.register_error(_HANDLER, lambda error: (MARK, error.end))  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a file's bytes become text.

    Attributes:
      name: `utf-8`, `utf-16` or `latin-1`.
      bad_lines: lines that are no UTF-8.
      lines: all lines; not counted for `utf-16`.
      tail: the last characters of the file.
    """

    name: str
    bad_lines: int
    lines: int
    tail: str

    @property
    def damaged(self) -> bool:
        """Whether single lines cannot be read."""
        return self.name == "utf-8" and self.bad_lines > 0

    @property
    def note(self) -> str | None:
        """What people should know about it."""
        if not self.bad_lines:
            return None
        if self.damaged:
            return (
                f"{self.bad_lines:,} of {self.lines:,} lines hold bytes that are no UTF-8; "
                "their rows are among the dead letters"
            )
        return f"read as Latin-1: {self.bad_lines:,} of {self.lines:,} lines are no UTF-8"


def find(file: IO[bytes] | io.BufferedIOBase) -> Encoding:
    """Reads a file to its end, a block at a time, to find its encoding."""
    block = file.read(BLOCK_BYTES)
    wide = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(block[:2])
    good = bad = lines = 0
    rest = tail = b""
    while block:
        tail = (tail + block)[-8:]
        if wide is None:
            whole, rest = _cut(rest + block)
            some = _count(whole)
            good, bad, lines = good + some[0], bad + some[1], lines + some[2]
        block = file.read(BLOCK_BYTES)
    some = _count(rest)
    good, bad, lines = good + some[0], bad + some[1], lines + some[2]
    latin = bad > max(good, LATIN_SHARE * lines)
    name = "utf-16" if wide else "latin-1" if latin else "utf-8"
    return Encoding(name, bad, lines, tail.decode(wide or name, errors="ignore"))


class Marked(io.RawIOBase):
    """A file's bytes as UTF-8, MARK where they were none."""

    def __init__(self, file: IO[bytes] | io.BufferedIOBase):
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors=_HANDLER)
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Neither more than `size` (Arrow copies what comes into a buffer of that length) nor less before the end
        # (Arrow takes what comes for a block, and a row must not be longer than one).
        while size < 0 or len(self._waiting) < size:
            block = self._file.read(BLOCK_BYTES)
            self._waiting += self._decoder.decode(block, final=not block).encode()
            if not block:
                break
        end = len(self._waiting) if size < 0 else size
        part, self._waiting = self._waiting[:end], self._waiting[end:]
        return part

    def close(self) -> None:
        self._file.close()
        super().close()


def _cut(block: bytes) -> tuple[bytes, bytes]:
    """The whole lines of a block, and what begins the next one."""
    end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
    return block[:end], block[end:]


def _count(block: bytes) -> tuple[int, int, int]:
    """Lines beyond ASCII that are UTF-8, lines that are none, and all lines."""
    if block.isascii():
        return 0, 0, block.count(b"\n")
    good = bad = 0
    lines = block.splitlines()
    for line in lines:
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
    return good, bad, len(lines)
