"""The bytes of a file, packed or not, and all that can go wrong while they are read."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pyarrow as pa

from noria.core.errors import DataError

# What a damaged, truncated or unreadable file raises, whichever library meets it first. (NotImplementedError:
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


def opened(path: Path) -> IO[bytes] | io.BufferedIOBase:
    """The file's bytes, unpacked by its suffix.

    Raises:
      DataError: an archive of several files, or one behind a password.
      READ_ERRORS: the file is missing, damaged or not what its suffix says.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".bz2":
        return bz2.open(path, "rb")
    if suffix == ".xz":
        return lzma.open(path, "rb")
    if suffix == ".zip":
        return _only_file(path)
    return path.open("rb")


def unreadable(error: BaseException, path: Path) -> DataError:
    """What to tell people about one of READ_ERRORS that met the file before its rows."""
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file", where=path, next_step="correct the path of the data")
    return DataError(
        f"the file cannot be read to its end: {said(error)}",
        where=path,
        next_step="check its permissions, and that it was copied whole",
    )


def said(error: BaseException) -> str:
    """An error's text in one line."""
    text = str(error).removeprefix("CSV parse error: ").strip()
    return text.splitlines()[0] if text else type(error).__name__


def _only_file(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
    if len(members) != 1:
        raise DataError(
            f"the archive must hold one file, it holds {len(members)}",
            where=path,
            next_step="unpack it, and name the folder",
        )
    if members[0].flag_bits & 1:
        raise DataError("the archive is encrypted", where=path, next_step="unpack it with its password first")
    return archive.open(members[0])
