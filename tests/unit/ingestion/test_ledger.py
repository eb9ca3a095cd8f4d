"""The ledger: a known file is not read again, and no temporary file remains."""

import json
import os
from pathlib import Path

import pytest

from noria.core import files
from noria.core.errors import DataError
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore

ROWS = EventSettings(label="tip", every="rows:25", max_bad_share=0.1)


def numbers(path: Path, first: int, bad: int = 0, count: int = 50) -> Path:
    rows = [f"{'x' if i < bad else first + i},{i % 2}" for i in range(count)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["n,tip", *rows]) + "\n")
    return path


def age(path: Path, seconds: int = 3600) -> None:
    """A file that was written so long ago."""
    then = os.stat(path).st_mtime_ns - seconds * 10**9
    os.utime(path, ns=(then, then))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of which a digest was taken."""
    names: list[str] = []
    take = files.sha256

    def watched(path: Path) -> str:
        names.append(path.name)
        return take(path)

    monkeypatch.setattr("noria.ingestion.formats.files.sha256", watched)
    return names


def test_a_file_that_is_as_it_was_is_not_read(tmp_path: Path, hashed: list[str]) -> None:
    """Only the new file's bytes are read; the old ones may be damaged by then, where nobody can see it."""
    store = SpanStore(tmp_path / "home")
    old = numbers(tmp_path / "in" / "a.csv", 0)
    age(old)
    ingest(tmp_path / "in", ROWS, store)
    before = os.stat(old)
    with old.open("r+b") as file:
        file.write(b"\x00" * 100)
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
    numbers(tmp_path / "in" / "b.csv", 100)
    hashed.clear()
    report = ingest(tmp_path / "in", ROWS, store)
    assert (50, (str(old),)) == (report.rows, report.skipped)
    assert {"b.csv"} == {name for name in hashed if name.endswith(".csv")}


def test_a_file_that_was_just_written_is_looked_at_again(tmp_path: Path, hashed: list[str]) -> None:
    """Within a tick of the clock a file may change and keep its size and time; later it is trusted."""
    store = SpanStore(tmp_path / "home")
    path = numbers(tmp_path / "a.csv", 100)
    ingest(path, ROWS, store)
    before = os.stat(path)
    path.write_text(path.read_text().replace("149", "150"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = ingest(path, ROWS, store)
    assert 50 == report.rows
    age(path)
    ingest(path, ROWS, store)
    hashed.clear()
    assert (str(path),) == ingest(path, ROWS, store).skipped
    assert "a.csv" not in hashed


def test_an_old_file_that_was_damaged_is_said_to_have_changed(tmp_path: Path) -> None:
    """Who reads the error knows that the rows are safe."""
    store = SpanStore(tmp_path / "home")
    path = numbers(tmp_path / "in" / "a.csv", 0)
    ingest(tmp_path / "in", ROWS, store)
    path.write_bytes(b"\x00\x01")
    with pytest.raises(DataError, match="not text; the file has changed since it was ingested"):
        ingest(tmp_path / "in", ROWS, store)


def test_what_killed_ingestions_left_is_swept(tmp_path: Path) -> None:
    """Folders of rows and half-written dead letters of another delivery do not stay."""
    store = SpanStore(tmp_path / "home")
    ingest(numbers(tmp_path / "a.csv", 0), ROWS, store)
    (store.folder / ".partition-0123abcd").mkdir()
    (store.folder / ".partition" / "in-order").mkdir(parents=True)
    (store.folder / ".partition" / "1-0.arrow").write_bytes(b"x")
    letters = store.home / "dead-letters"
    letters.mkdir()
    (letters / ".staging-1-2").write_text("{}")
    (letters / "kept.jsonl").write_text("{}\n")
    assert 50 == ingest(numbers(tmp_path / "b.csv", 100), ROWS, store).rows
    assert [".lock"] == [path.name for path in store.folder.iterdir() if path.name.startswith(".")]
    assert ["kept.jsonl"] == [path.name for path in letters.iterdir()]


def test_each_file_has_its_own_dead_letters(tmp_path: Path) -> None:
    """The ledger's entry of a file counts the bad rows of that file."""
    store = SpanStore(tmp_path / "home")
    for name, bad in (("a", 0), ("b", 2), ("c", 3)):
        numbers(tmp_path / "in" / f"{name}.csv", ord(name) * 100, bad)
    assert 5 == ingest(tmp_path / "in", ROWS, store).dead_letters
    entries = [json.loads(path.read_text()) for path in (store.folder / "sources").glob("*.json")]
    counts = {Path(entry["name"]).name: entry["dead_letters"] for entry in entries if "dead_letters" in entry}
    assert {"a.csv": 0, "b.csv": 2, "c.csv": 3} == counts


def test_dead_letters_are_on_the_disk_before_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, name and folder are synced, in this order, before any entry says that the source was read."""
    done: list[str] = []
    sync, replace, write = os.fsync, os.replace, files.write_json

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name[:9]}")
        sync(descriptor)

    def replaced(path: Path, target: Path) -> None:
        done.append("replace")
        replace(path, target)

    def written(path: Path, value: object) -> None:
        done.append(f"write {path.parent.name}")
        write(path, value)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(files, "write_json", written)
    ingest(numbers(tmp_path / "a.csv", 0, bad=1), ROWS, SpanStore(tmp_path / "home"))
    first = done.index("sync .staging-")
    assert ["sync .staging-", "replace", "sync dead-lett"] == done[first : first + 3]
    assert first < done.index("write sources")
