"""The audit log: what is written stays, and what is changed afterwards shows."""

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noria.core.errors import ServingError
from noria.pipeline.cli import app
from noria.serving import audit_log
from noria.serving.audit_log import AuditLog, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def written(path: Path, count: int = 5) -> list[bytes]:
    log = AuditLog(path)
    for number in range(count):
        log.append("serves", model="m", version=number)
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def test_a_log_continues_where_it_ended(path: Path) -> None:
    """Entries are numbered without a gap over several starts, and the hash of the newest is the head."""
    written(path, 2)
    log = AuditLog(path)
    head = log.append("stop")
    log.close()
    assert audit_log.Chain(3, head, 0) == verify(path)
    assert [1, 2, 3] == [json.loads(line)["number"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: lines[1].replace(b'"version": 1', b'"version": 7'), 3),
        (lambda lines: b"", 2),
        (lambda lines: lines[1] * 2, 3),
        (lambda lines: lines[2] + lines[1], 2),
        (lambda lines: b"{}\n", 2),
        (lambda lines: b'{"number": 2, "event": "serves", "previous": ""}\n', 2),
    ],
    ids=["changed", "removed", "repeated", "moved", "emptied", "forged"],
)
def test_a_change_is_found(path: Path, change, line: int) -> None:
    """The line that does not follow the one before it is named."""
    lines = written(path)
    path.write_bytes(b"".join([lines[0], change(lines), *lines[2:]]))
    with pytest.raises(ServingError, match=f"line {line} "):
        verify(path)


def test_lines_that_were_cut_off_are_missed_by_a_known_hash(path: Path) -> None:
    """The chain alone cannot tell; a hash that somebody has kept can."""
    lines = written(path)
    head = verify(path).head
    path.write_bytes(b"".join(lines[:-1]))
    assert 4 == verify(path).entries
    with pytest.raises(ServingError, match="the log was cut off"):
        verify(path, head)


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_torn_line_stays_and_the_chain_continues(path: Path, kept: int) -> None:
    """Wherever a crash has cut the last line, also the first one of all, the next entry follows what is left."""
    for count in (1, 3):
        path.unlink(missing_ok=True)
        *lines, last = written(path, count)
        path.write_bytes(b"".join(lines) + last[:kept])
        torn = len(last[:kept])
        found = verify(path)
        assert (count - 1, torn) == (found.entries, found.torn)
        log = AuditLog(path)
        log.append("start")
        log.close()
        events = [json.loads(line)["event"] for line in path.read_bytes().splitlines() if line.endswith(b"}")]
        # A line that lacks nothing but its end is an entry.
        cut = {0: [], -1: ["serves"]}.get(kept, ["resumed"])
        assert [*["serves"] * (count - 1), *cut, "start"] == events
        assert len(events) == verify(path).entries


def test_two_writers_share_a_log(path: Path) -> None:
    """Entries of two servers are in one chain."""
    logs = [AuditLog(path), AuditLog(path)]
    threads = [
        threading.Thread(target=lambda log=log: [log.append("serves", version=1) for _ in range(20)])
        for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 == verify(path).entries


def test_refusals_are_bounded(path: Path, monkeypatch) -> None:
    """A client that asks a thousand times without a right does not fill the disk; the log has the number."""
    now = [0.0]
    monkeypatch.setattr(audit_log.time, "time", lambda: now[0])
    log = AuditLog(path)
    for number in range(1000):
        log.refused("UNAUTHENTICATED", f"10.0.0.{number % 200}", "GET /v1/models/m")
    now[0] = 60.0
    log.refused("UNAUTHENTICATED", "10.0.0.1", "GET /v1/models/m")
    log.close()
    assert audit_log.REFUSALS + 2 == verify(path).entries
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 1000 - audit_log.REFUSALS == lines[-2]["count"]


def test_the_command_prints_the_newest_hash(path: Path) -> None:
    """`noria audit verify` ends with 1 where the chain is broken."""
    lines = written(path)
    done = CliRunner().invoke(app.app, ["audit", "verify", str(path), "--json"])
    found = json.loads(done.output)
    assert (0, 5, 0) == (done.exit_code, found["entries"], found["torn_bytes"])
    path.write_bytes(b"".join(lines[1:]))
    done = CliRunner().invoke(app.app, ["audit", "verify", str(path), "--head", found["head"]])
    assert 1 == done.exit_code
