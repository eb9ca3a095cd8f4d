"""The event log in a folder."""

import concurrent.futures
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noria.core.errors import DataError
from noria.ingestion.stream_contract import check_stream, drain
from noria.ingestion.streams import log as logs
from noria.ingestion.streams.log import Log, LogWriter


def read(folder: Path, at: int | None = None) -> list[bytes | None]:
    stream = Log(str(folder), Path("/"))
    stream.open(lambda: {} if at is None else {0: at})
    return list(drain(stream, wait=5).values())


def test_keeps_the_contract(tmp_path: Path) -> None:
    """The log is an event stream: positions grow, can be read again, and compared."""
    check_stream(lambda: Log("events", tmp_path), LogWriter(tmp_path / "events").append)


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_an_incomplete_append_was_never_there(tmp_path: Path, cut: int) -> None:
    """Readers stop before what a killed writer left behind; the next append takes its place."""
    writer = LogWriter(tmp_path)
    end = writer.append([b'{"id": 1}'])
    writer.append([b'{"id": 2}', b'{"id": 3}'])
    [file] = tmp_path.glob("*.log")
    os.truncate(file, min(end + cut, file.stat().st_size - 1))
    assert [b'{"id": 1}'] == read(tmp_path)
    LogWriter(tmp_path).append([{"id": 4}])
    assert [b'{"id": 1}', b'{"id": 4}'] == read(tmp_path)


def test_damage_is_refused(tmp_path: Path) -> None:
    """A changed byte before the last append is damage: neither reader nor writer continues over it."""
    writer = LogWriter(tmp_path)
    for i in range(3):
        writer.append([f'{{"id": {i}}}'])
    [file] = tmp_path.glob("*.log")
    content = bytearray(file.read_bytes())
    content[25] ^= 1
    file.write_bytes(content)
    (tmp_path / "tail").unlink()
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path)
    with pytest.raises(DataError, match="damaged"):
        LogWriter(tmp_path).append([b"{}"])


def test_retention_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions continue from file to file; a position whose file was deleted is refused."""
    monkeypatch.setattr(logs, "FILE_BYTES", 200)
    writer = LogWriter(tmp_path)
    for i in range(50):
        writer.append([f'{{"id": {i}}}'])
    assert 5 < len(list(tmp_path.glob("*.log")))
    assert [f'{{"id": {i}}}'.encode() for i in range(50)] == read(tmp_path)
    LogWriter(tmp_path, keep_bytes=500).append([b'{"id": 50}'])
    for i in range(51, 60):
        LogWriter(tmp_path, keep_bytes=500).append([f'{{"id": {i}}}'])
    left = read(tmp_path)
    assert 59 == int(left[-1].split()[-1][:-1]) and len(left) < 40
    with pytest.raises(DataError, match="no longer has position 0"):
        read(tmp_path, at=0)


def test_many_writers(tmp_path: Path) -> None:
    """Appends of several writers do not mix, and none is lost."""

    def work(writer: int) -> None:
        mine = LogWriter(tmp_path)
        for i in range(20):
            mine.append([f'{{"id": "{writer}-{i}-{k}"}}' for k in range(3)])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = read(tmp_path)
    assert {
        f'{{"id": "{w}-{i}-{k}"}}'.encode() for w in range(4) for i in range(20) for k in range(3)
    } == set(found)
    assert 240 == len(found)
    assert sorted(found[::3]) == sorted(value for value in found if value.endswith(b'-0"}'))


def test_a_killed_writer_loses_nothing_that_it_was_told(tmp_path: Path) -> None:
    """Every append that returned is in the log after SIGKILL, once and in order."""
    code = (
        "import sys\nfrom noria.ingestion.streams.log import LogWriter\n"
        "writer = LogWriter(sys.argv[1])\n"
        "for i in range(10**6):\n"
        "    writer.append([f'{i}', f'{i}'])\n    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(50):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    told = process.stdout.read().rpartition("\n")[0]  # the last line may be incomplete
    acknowledged = [last, *map(int, told.split())][-1]
    process.wait()
    LogWriter(tmp_path).append([b"end"])
    *found, end = read(tmp_path)
    assert b"end" == end
    numbers = [int(value) for value in found]
    assert [i for i in range(len(numbers) // 2) for _ in range(2)] == numbers
    assert len(numbers) // 2 in (acknowledged + 1, acknowledged + 2)


def test_a_pause(tmp_path: Path) -> None:
    """While the disk is full, nothing is read, and nothing is lost."""
    LogWriter(tmp_path / "events").append([b"one"])
    stream = Log("events", tmp_path)
    stream.open(lambda: {})
    stream.pause(True)
    assert [] == stream.read(10, 0)
    stream.pause(False)
    assert [b"one"] == stream.read(10, 0)[0].values
