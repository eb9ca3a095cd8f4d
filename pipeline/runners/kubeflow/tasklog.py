"""A task's journal: plain lines for the pod's log, and records on the volume for the run's report.

    <home>/runs/<run id>/tasks/<task>.jsonl

One file per task, as tasks run side by side and a network volume does not guarantee atomic appends to one file.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from noria.core import files


class Handler(logging.Handler):
    """Writes the journal to standard output and, without its plain lines, to the task's file if there is one.

    The file is replaced by each record. In an object store, where that is three requests, notes wait for the end of
    their stage.
    """

    def __init__(self, file: Path | None):
        super().__init__()
        self._file, self._remote, self._text = file, False, ""
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._remote = files.home_of(file) is not None
            if not self._remote:
                files.write_text(
                    file, ""
                )  # a retry starts over; and a folder that cannot be written to is told now

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"noria {record.getMessage()}\n")
        sys.stdout.flush()
        entry = getattr(record, "journal", None)
        if entry is None or self._file is None:
            return
        self._text += json.dumps({"time": record.created, **entry}, default=str) + "\n"
        if not self._remote or entry["event"] != "note":
            files.write_text(self._file, self._text)


def folder(home: Path, run_id: str) -> Path:
    """Where the tasks of a run leave their records."""
    return home / "runs" / run_id / "tasks"


def read(home: Path, run_id: str) -> list[dict[str, Any]]:
    """The records of all tasks of a run, by time; an incomplete line of a killed task is skipped."""
    records: list[dict[str, Any]] = []
    for file in sorted(files.fetched(folder(home, run_id)).glob("*.jsonl")):
        records += _records(file.read_text(encoding="utf-8"))
    return sorted(records, key=lambda record: record["time"])


def error(home: Path, run_id: str, task: str) -> str | None:
    """The error of a task that failed; None where it has none, or where the volume is not mounted here."""
    try:
        text = files.fetched(folder(home, run_id) / f"{task}.jsonl").read_text(encoding="utf-8")
    except OSError:
        return None
    found = (record["error"] for record in _records(text) if record.get("event") == "failed")
    return next(found, None)


def span(records: list[dict[str, Any]]) -> int | None:
    """The span that a run is about; None where it has not come so far. Ingest also notes the spans that it makes."""
    for record in records:
        if "span" in record and (record["stage"] != "Ingest" or record.get("state") == "waiting"):
            return int(record["span"])
    return None


def _records(text: str) -> list[dict[str, Any]]:
    records = []
    for line in text.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
