"""A file as UTF-8 text, from any compression and encoding; bytes that are not text become MARK."""

import bz2
import codecs
import csv
import dataclasses
import functools
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import charset_normalizer
import pyarrow as pa

from noria.core.errors import DataError
from noria.ingestion import file_names

BLOCK_BYTES = 8 << 20
HEAD_BYTES = 256 << 10
# Replaces bytes that are not text: a noncharacter of Unicode, which no text that people exchange holds.
MARK = "\ufdd0"
# A file is a damaged UTF-8, and not in an older encoding, up to this share of lines that are not UTF-8, or where
# more lines are UTF-8 beyond ASCII than are none. Such lines are bad rows like others (`max_bad_share`).
DAMAGED_SHARE = 0.01
# Older encodings of other scripts, distinguished by their letters. Latin code pages (1250, 1254) look like 1252:
# charset-normalizer takes German and French for Polish.
OLDER = ("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949")
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

# By their first bytes: a browser unpacks a file and leaves its name as it was.
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
    b"\x04\x22\x4d\x18": lambda path: pa.input_stream(str(path), compression="lz4"),
}
_ZIP, _TAR = b"PK\x03\x04", b"ustar"
# What a damaged, truncated or unreadable file raises, in any of the libraries that read it. (NotImplementedError:
# a zip method that Python does not know.)
READ_ERRORS = (
    OSError,
    EOFError,
    UnicodeError,
    NotImplementedError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    csv.Error,
    pa.ArrowException,
)

_HANDLER, _MIXED = "noria-mark", "noria-mixed"
codecs.register_error(_HANDLER, lambda error: (MARK, error.end))  # type: ignore[attr-defined]
codecs.register_error(_MIXED, lambda error: (_western(error), error.end))  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a file's bytes become text: a Python codec, and how many of its lines are not UTF-8.

    Attributes:
      mixed: lines in UTF-8 and in Windows-1252 are in one file, as where files of both were joined.
    """

    name: str
    bad_lines: int = 0
    lines: int = 0
    mixed: bool = False

    @property
    def rewritten(self) -> bool:
        """Whether the file's bytes are not all UTF-8."""
        return self.name != "utf-8" or self.bad_lines > 0

    @property
    def errors(self) -> str:
        """The codec's error handler: what its bytes become where they are not text."""
        return _MIXED if self.mixed else _HANDLER

    @property
    def note(self) -> str | None:
        """What people should know about it."""
        if not self.bad_lines:
            return None
        share = f"{self.bad_lines:,} of {self.lines:,} lines"
        if self.mixed:
            return f"{share} are not UTF-8 and are read as cp1252; set `encoding` if this is wrong"
        if self.name == "utf-8":
            return f"{share} have bytes that are not text in UTF-8; their rows are among the dead letters"
        return f"read as {self.name}: {share} are not UTF-8; set `encoding` if this is wrong"


class TextFile:
    """One file of text. Reading begins with the first access.

    Args:
      path: the file; gzip, bzip2, xz, zstd, lz4 and zip (of one table) are unpacked while reading.
      encoding: a Python codec; found in the file if None.

    Raises:
      DataError: (at the first access) the file is missing, damaged or not text.
    """

    def __init__(self, path: Path, encoding: str | None = None):
        self.path = path
        self._asked = encoding
        try:
            codecs.lookup(encoding or "utf-8")
        except LookupError:
            raise DataError(
                f"the encoding must be one that Python knows, got {encoding!r}",
                where=path,
                next_step="write a name such as utf-8, cp1252 or cp1250",
            ) from None

    @functools.cached_property
    def encoding(self) -> Encoding:
        """Reads the file to its end, unless its first bytes say it."""
        if self._asked:
            return Encoding(self._asked)
        for mark, name in _BOMS.items():
            if self._raw_head.startswith(mark):
                if name != "utf-8-sig":
                    return Encoding(name)
                break
        if wide := _wide(self._raw_head):
            return Encoding(wide)
        if self._raw_head[257:262] == _TAR:
            raise DataError(
                "the file is an archive", where=self.path, next_step="unpack it, and name the folder"
            )
        if _binary(self._raw_head):
            raise DataError(
                "the file is neither CSV nor Parquet: it has bytes that are not text",
                where=self.path,
                next_step="export it as CSV (UTF-8) or Parquet",
            )
        try:
            return self._utf8() or self._older()
        except READ_ERRORS as error:
            raise unreadable(error, self.path) from error

    @property
    def head(self) -> str:
        """The text of its first HEAD_BYTES."""
        errors = self.encoding.errors if self.encoding.mixed else "ignore"
        return self._raw_head.decode(self.encoding.name, errors=errors).lstrip("\ufeff")

    def open(self) -> IO[bytes] | io.IOBase:
        """Its text as UTF-8."""
        if not self.encoding.rewritten:
            return unpacked(self.path)
        return Recoded(unpacked(self.path), self.encoding)

    def _utf8(self) -> Encoding | None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with unpacked(self.path) as file:
                while block := file.read(BLOCK_BYTES):
                    if b"\x00" in block:
                        return None
                    decoder.decode(block)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return None
        return Encoding("utf-8")

    def _older(self) -> Encoding:
        good = bad = empty = lines = 0
        sample = bytearray()
        with unpacked(self.path) as file:
            for line in _lines(file):
                lines += 1
                empty += b"\x00" in line
                if line.isascii():
                    continue
                try:
                    line.decode("utf-8")
                    good += 1
                except UnicodeDecodeError:
                    bad += 1
                    if len(sample) < HEAD_BYTES:
                        sample += line + b"\n"
        if bad > DAMAGED_SHARE * lines:
            codec = _codec(bytes(sample))
            if codec == "cp1252" and good:  # text of that encoding is hardly ever UTF-8 by chance
                return Encoding("utf-8", bad, lines, mixed=True)
            if bad > good:
                return Encoding(codec, bad, lines)
        return Encoding("utf-8", bad + empty, lines)

    @functools.cached_property
    def _raw_head(self) -> bytes:
        try:
            with unpacked(self.path) as file:
                return file.read(HEAD_BYTES)
        except READ_ERRORS as error:
            raise unreadable(error, self.path) from error


class Rewritten(io.RawIOBase):
    """A file whose bytes are rewritten block by block while it is read; a subclass gives `rewrite`."""

    def __init__(self, file: IO[bytes] | io.IOBase):
        self._file: Any = file
        self._waiting = b""

    def rewrite(self, block: bytes) -> bytes:
        """What is read in place of the next block; an empty block is the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Neither more than `size` (Arrow copies what comes into a buffer of that length) nor less before the end
        # (Arrow takes each answer for a block, and a row must not be longer than a block).
        while size < 0 or len(self._waiting) < size:
            block = self._file.read(BLOCK_BYTES)
            self._waiting += self.rewrite(block)
            if not block:
                break
        end = len(self._waiting) if size < 0 else size
        part, self._waiting = self._waiting[:end], self._waiting[end:]
        return part

    def close(self) -> None:
        self._file.close()
        super().close()


class Recoded(Rewritten):
    """A file's bytes as UTF-8, MARK where they were not text."""

    def __init__(self, file: IO[bytes] | io.IOBase, encoding: Encoding):
        super().__init__(file)
        self._decoder = codecs.getincrementaldecoder(encoding.name)(errors=encoding.errors)

    def rewrite(self, block: bytes) -> bytes:
        text = self._decoder.decode(block, final=not block)
        return re.sub("\0+", MARK, text).encode() if "\0" in text else text.encode()


def unpacked(path: Path) -> IO[bytes] | io.BufferedIOBase:
    """The file's bytes, unpacked as its first bytes say.

    Raises:
      DataError: an archive of several tables, or one behind a password; a workbook.
      READ_ERRORS: the file is missing or damaged.
    """
    with path.open("rb") as file:
        first = file.read(8)
    for mark, opener in _OPENERS.items():
        if first.startswith(mark):
            return opener(path)
    if not first.startswith(_ZIP):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    member = _member(archive, path)
    if member.flag_bits & 1:
        raise DataError("the archive is encrypted", where=path, next_step="unpack it with its password first")
    return archive.open(member)


def inner_name(path: Path) -> str:
    """The name of the file within a packed one; its own name where it is not packed.

    Raises:
      DataError: as `unpacked`.
    """
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return _member(archive, path).filename
        except READ_ERRORS as error:
            raise unreadable(error, path) from error
    return path.stem if path.suffix.lower() in file_names.PACKED else path.name


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """The one table of an archive, or the one file."""
    # Not by `is_dir`, which fails where a name is empty.
    names = (each for each in archive.infolist() if not each.filename.endswith("/"))
    members = [each for each in names if "__MACOSX" not in each.filename]
    if any(each.filename == "[Content_Types].xml" for each in members):
        raise DataError("the file is a workbook", where=path, next_step="save it in Excel as CSV UTF-8")
    tables = [each for each in members if file_names.is_table(PurePosixPath(each.filename))]
    found = tables if len(members) > 1 else members
    if len(found) != 1:
        raise DataError(
            f"the archive must hold one table, it holds {len(found)}",
            where=path,
            next_step="unpack it, and name the folder",
        )
    if PurePosixPath(found[0].filename).suffix.lower() in file_names.PARQUET:
        raise DataError(
            "the archive holds a Parquet file", where=path, next_step="unpack it, and name that file"
        )
    return found[0]


def unreadable(error: BaseException, path: Path) -> DataError:
    """What to tell people about one of READ_ERRORS that met the file before its rows."""
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file", where=path, next_step="correct the path of the data")
    return DataError(
        f"the file cannot be read to its end: {reason_of(error)}",
        where=path,
        next_step="check its permissions, and that it was copied whole",
    )


def reason_of(error: BaseException) -> str:
    """An error's text in one line."""
    text = str(error).removeprefix("CSV parse error: ").strip()
    return text.splitlines()[0] if text else type(error).__name__


def _western(error: Any) -> str:
    return error.object[error.start : error.end].decode("cp1252", errors=_HANDLER)


def _binary(head: bytes) -> bool:
    """Whether a file is no text: more than single lines have zero bytes."""
    lines = head.rstrip(b"\x00").splitlines()  # at the end, a writer that broke off has left them
    holding = sum(b"\x00" in line for line in lines)
    return not lines and bool(head) or holding > max(len(lines) >= 20, DAMAGED_SHARE * len(lines))


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of Western text is zero, and none of the others."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.2 * len(head) / 2 or min(even, odd):
        return None
    name = "utf-16-le" if odd > even else "utf-16-be"
    text = head.decode(name, errors="ignore")
    return name if "\n" in text and "\x00" not in text else None


def _codec(sample: bytes) -> str:
    """The older encoding of lines that are not UTF-8: Windows-1252, unless whole words are beyond ASCII."""
    runs = re.findall(rb"[\x80-\xff]{3,}", sample)
    if sum(map(len, runs)) < 0.8 * sum(byte > 127 for byte in sample):
        return "cp1252"
    words = b" ".join(re.findall(rb"[A-Za-z\x80-\xff]{3,}", sample))  # digits and delimiters blur the picture
    for text in (words, sample):
        best = charset_normalizer.from_bytes(text, cp_isolation=list(OLDER)).best()
        if best is not None:
            return best.encoding
    return "cp1252"


def _lines(file: IO[bytes] | io.BufferedIOBase) -> Iterator[bytes]:
    rest = b""
    while block := file.read(BLOCK_BYTES):
        block = rest + block
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        yield from block[:end].splitlines()
        rest = block[end:]
    if rest:
        yield rest
