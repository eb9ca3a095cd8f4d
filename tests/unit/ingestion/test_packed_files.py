"""Packed files, and folders as programs leave them."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from noria.core.errors import DataError
from noria.ingestion import tables

PLAIN = b"x,y\n" + b"".join(b"%d.5,%d\n" % (i, i % 2) for i in range(50))
JSON = "\n".join(json.dumps({"x": i + 0.5, "y": i % 2}) for i in range(50)).encode()


def lz4(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv.gz", gzip.compress(PLAIN)),
        ("a.csv.zst", pa.compress(PLAIN, codec="zstd", asbytes=True)),
        ("a.csv.lz4", lz4(PLAIN)),
        ("a.csv", bz2.compress(PLAIN)),
        ("a.jsonl.xz", lzma.compress(JSON)),
        ("a.csv.gz", PLAIN),  # a browser has unpacked it
        ("a.zip", zipped({"a.jsonl": JSON, "README.md": b"hello"})),
        ("a.zip", zipped({"a.csv": PLAIN})),
        ("a.jsonl", JSON.replace(b"\n", b"\r")),
    ],
)
def test_packed_files_are_read(tmp_path: Path, name: str, data: bytes) -> None:
    """By their first bytes, and in a zip by the name of the one table in it."""
    (tmp_path / name).write_bytes(data)
    assert [0.5, 1.5] == tables.read_table(tmp_path / name).column("x").to_pylist()[:2]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", zipped({"[Content_Types].xml": b"<x/>"}), "save it in Excel"),
        ("a.zip", zipped({"a.csv": PLAIN, "b.csv": PLAIN}), "unpack it, and name the folder"),
        (
            "a.zip",
            zipped({"a.csv": PLAIN}).replace(b"PK\x01\x02", b"PK\x09\x02"),
            "cannot be read to its end",
        ),
        ("a.zip", zipped({"a.parquet": b"PAR1"}), "unpack it, and name that file"),
    ],
)
def test_what_cannot_be_unpacked(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """The error says what to do."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        tables.read_table(tmp_path / name)


def test_files_beside_tables(tmp_path: Path) -> None:
    """A README and an empty file of a folder or glob are not tables; an empty file alone is refused."""
    (tmp_path / "a.csv").write_bytes(PLAIN)
    (tmp_path / "README.txt").write_text("what it is")
    (tmp_path / "b.csv").touch()
    assert 1 == len(tables.open_tables(tmp_path)) == len(tables.open_tables(tmp_path / "*.csv"))
    with pytest.raises(DataError, match="empty"):
        tables.read_table(tmp_path / "b.csv")


def test_a_key_that_a_whole_json_file_lacks(tmp_path: Path) -> None:
    """It is missing in all its rows, as it is where a row lacks it; a label and a time must be there."""
    (tmp_path / "a.jsonl").write_bytes(JSON)
    (tmp_path / "b.jsonl").write_text('{"y": 1}\n')
    found = tables.open_tables(tmp_path)
    read = tables.read_table(found, columns=tables.columns_of(found))
    assert (51, 1) == (len(read), read.column("x").null_count)
    with pytest.raises(DataError, match="'x' is missing"):
        tables.columns_of(found, as_it_is=["x"])
