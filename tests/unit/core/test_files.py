"""Files: whole or not at all."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from noria.core import files
from noria.core.errors import NoriaError
from noria.stores.spans import SpanStore


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """A file is replaced in one step, and no staging file stays."""
    files.write_text(tmp_path / "a" / "x.txt", "old")
    files.write_text(tmp_path / "a" / "x.txt", "neu: ä")
    assert "neu: ä" == (tmp_path / "a" / "x.txt").read_text(encoding="utf-8")
    assert ["x.txt"] == os.listdir(tmp_path / "a")


def test_write_new_never_overwrites(tmp_path: Path) -> None:
    """Of two writers of a new file the second one gets an error, and the first one's bytes are kept."""
    files.write_new(tmp_path / "1.json", b"first")
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "1.json", b"second")
    assert b"first" == (tmp_path / "1.json").read_bytes()
    assert ["1.json"] == os.listdir(tmp_path)


def test_copy_tree_links_or_copies_into_existing_folders(tmp_path: Path) -> None:
    """Linked files are the same file, copied ones are not; existing folders are filled."""
    source = tmp_path / "source"
    files.write_text(source / "deep" / "a.txt", "a")
    (tmp_path / "linked" / "deep").mkdir(parents=True)
    files.copy_tree(source, tmp_path / "linked")
    files.copy_tree(source, tmp_path / "copied", link=False)
    inode = (source / "deep" / "a.txt").stat().st_ino
    assert inode == (tmp_path / "linked" / "deep" / "a.txt").stat().st_ino
    assert inode != (tmp_path / "copied" / "deep" / "a.txt").stat().st_ino
    assert files.tree_digest(source) == files.tree_digest(tmp_path / "copied")


def test_sweep_deletes_only_unfinished_work(tmp_path: Path) -> None:
    """What a killed writer left goes; everything else stays."""
    files.write_text(files.staging(tmp_path) / "half", "half")
    files.write_text(tmp_path / "whole", "whole")
    assert 1 == len(files.sweep(tmp_path))
    assert ["whole"] == os.listdir(tmp_path)


def test_commit_folder_refuses_an_existing_target(tmp_path: Path) -> None:
    """A folder is never merged into another one."""
    files.write_text(tmp_path / "beside" / "x", "new")
    files.write_text(tmp_path / "target" / "x", "old")
    with pytest.raises(FileExistsError):
        files.commit_folder(tmp_path / "beside", tmp_path / "target")
    assert "old" == (tmp_path / "target" / "x").read_text()


_FILLS_UP = """
import resource, sys
import pyarrow as pa
from noria.core.errors import NoriaError
from noria.stores.spans import SpanStore
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import numpy
table = pa.table({"x": numpy.random.default_rng(0).normal(size=200_000)})
try:
    SpanStore(sys.argv[1]).create(2, [table], source="big")
except NoriaError as error:
    print(error)
    sys.exit(7)
"""


def test_a_disk_that_refuses_more_bytes_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """A write that the operating system refuses halfway says what to do, and leaves no half span."""
    import pyarrow as pa

    SpanStore(tmp_path).create(1, [pa.table({"x": [1]})], source="small")
    done = subprocess.run([sys.executable, "-c", _FILLS_UP, str(tmp_path)], capture_output=True, text=True)
    assert 7 == done.returncode, done.stderr
    assert "cannot be written" in done.stdout and "next:" in done.stdout
    store = SpanStore(tmp_path)
    assert [1] == store.ids()
    assert [] == [path for path in store.folder.iterdir() if path.name.startswith(files.STAGING)]


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may write everywhere, so a test that runs as root takes off its rights."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_no_permission_is_explained(nobody: None) -> None:
    """A folder that may not be written to is named, with the next step."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "spans").mkdir()
        Path(home, "spans").chmod(0o500)
        with pytest.raises(NoriaError, match="right to read and write"):
            SpanStore(home).create(1, [pa.table({"x": [1]})], source="s")
        Path(home, "spans").chmod(0o700)
