"""The spans whose rows were deleted because nothing needs them: `spans/retired.json`, a list of ids.

Their manifests stay, because they tell which rows were in spans. The caller holds the lock of the span store.
"""

import json
from collections.abc import Collection
from pathlib import Path

from noria.core import files
from noria.core.errors import SpanError

FILE = "retired.json"


def read(folder: Path) -> set[int]:
    """Ids of the retired spans.

    Args:
      folder: the folder of all spans.

    Raises:
      SpanError: the file is damaged.
    """
    try:
        return {int(span) for span in json.loads((folder / FILE).read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError) as error:
        raise SpanError(
            f"the list of retired spans cannot be read: {error}",
            where=folder / FILE,
            next_step="restore it from a backup, or write the ids of the spans without Parquet files as a JSON list",
        ) from error


def add(folder: Path, spans: Collection[int]) -> None:
    """Adds spans to the list, in one step."""
    files.write_json(folder / FILE, sorted(read(folder).union(spans)))
