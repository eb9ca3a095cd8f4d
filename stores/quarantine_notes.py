"""The notes that keep spans in quarantine: `spans/<span:08d>/QUARANTINED.json`.

A note names the version that it is about. A newer version of the span is not in quarantine. The caller holds the lock
of the span store.
"""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import SpanError

FILE = "QUARANTINED.json"


def write(
    folder: Path, span: int, version: int, verdict: dict[str, Any] | str, run_id: str | None = None
) -> None:
    """Writes the note of a span.

    Args:
      folder: the folder of all spans.
      span: id of the span.
      version: the version that is in quarantine.
      verdict: why; JSON.
      run_id: the run that judged the span.
    """
    since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    note = {"span": span, "version": version, "since": since, "verdict": verdict}
    if run_id is not None:
        note["run_id"] = run_id
    files.write_json(_path(folder, span), note)


def move(folder: Path, note: dict[str, Any], version: int) -> None:
    """Lets a note name a newer version of its span, with the same verdict."""
    files.write_json(_path(folder, note["span"]), {**note, "version": version})


def remove(folder: Path, span: int) -> bool:
    """Deletes the note of a span; returns whether there was one."""
    path = _path(folder, span)
    if not path.exists():
        return False
    files.remove_tree(path)
    files.sync(path.parent)
    return True


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """All notes in ascending order of span, those of older versions as well.

    Yields:
      `span`, `version`, `since`, `verdict`, and `run_id` if it is known.

    Raises:
      SpanError: a note is damaged.
    """
    for path in sorted(folder.glob(f"*/{FILE}")):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            yield {**note, "span": int(path.parent.name), "version": note["version"]}
        except FileNotFoundError:
            continue  # the span has just left quarantine
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpanError(
                f"the note of a span in quarantine cannot be read: {error!r}",
                where=path,
                next_step="restore it from a backup, or delete it; then the data gate judges the span again",
            ) from error


def _path(folder: Path, span: int) -> Path:
    return folder / f"{span:08d}" / FILE
