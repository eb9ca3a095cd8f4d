"""Dead letters: rows and events that could not be read, so a key is looked for in their fields, else in their text."""

import base64
import json
from pathlib import Path
from typing import Any

from noria.core import files
from noria.pipeline.forgetting.change import Change
from noria.pipeline.forgetting.keys import Keys


def in_dead_letters(home: Path, keys: Keys, only_find: bool) -> list[Change]:
    """Dead letters of files and of segments that are in spans."""
    found = []
    folder = home / "dead-letters"
    if not only_find:
        files.sweep(folder)
    for path in sorted(files.fetched(folder).glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not holds(_letter(line), keys)]
        if len(kept) == len(lines):
            continue
        found.append(Change("dead letters", path.relative_to(home).as_posix(), len(lines) - len(kept)))
        if not only_find:
            files.write_text(path, "".join(kept))
    return found


def holds(letter: dict[str, Any], keys: Keys) -> bool:
    """Whether a dead letter holds a key."""
    if "base64" in letter:
        text = base64.b64decode(letter["base64"]).decode("utf-8", "replace")
    else:
        text = str(letter.get("raw", letter.get("value")))
    record = _letter(text)
    inner = record.get("data")  # of a CloudEvent
    return keys.in_record(inner if isinstance(inner, dict) else record, text)


def _letter(text: str) -> dict[str, Any]:
    """A JSON object; empty where the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
