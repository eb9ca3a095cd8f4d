"""What a span says about itself: the manifest beside its Parquet files."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from noria.core.errors import SpanError


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One version of one span.

    Attributes:
      span: id, counted from 1.
      version: 1, and one more with each late or corrected delivery.
      rows: all rows, the unlabelled ones included.
      event_time: first and last event, epoch seconds; None for spans cut by rows.
      sources: what the rows came from: `name`, `sha256`, `rows`; of spans cut by rows also `first`, the place of the
        first of them among the source's own rows (from 0; the others follow).
      columns: column name -> Arrow type.
      schema_fingerprint: sha256 (12 hex digits) of the columns' names and types, in their order.
      files: `name`, `rows`, `bytes`, `sha256` of each Parquet file.
      late_rows: rows that this version added to the one before.
      labels: rows by label, with `unlabelled`; empty where nobody counted.
      created: when it was committed, ISO 8601 with zone.
      facts: anything else that its maker gave; `replaces` is the version that was in quarantine and is corrected,
        `replaced` are the sources (sha256) whose rows corrected ones took the place of, in this version or before.
      folder: where it lies (not part of the file).
    """

    span: int
    version: int
    rows: int
    event_time: tuple[int, int] | None
    sources: tuple[dict[str, Any], ...]
    columns: dict[str, str]
    schema_fingerprint: str
    files: tuple[dict[str, Any], ...]
    late_rows: int
    labels: dict[str, int]
    created: str
    facts: dict[str, Any]
    folder: Path

    @property
    def source(self) -> str:
        """Names of the sources, for people."""
        return ", ".join(str(source["name"]) for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        """The manifest file's content."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["folder"]
        return values

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Reads `<folder>/manifest.json`.

        Raises:
          SpanError: it is missing or damaged.
        """
        path = folder / "manifest.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["event_time"] = tuple(values["event_time"]) if values["event_time"] else None
            values["sources"] = tuple(values["sources"])
            values["files"] = tuple(values["files"])
            return cls(**values, folder=folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpanError(
                f"the manifest of a span cannot be read: {error}", where=path, next_step=again(folder.parent)
            ) from error


def again(folder: Path) -> str:
    """How to get a damaged span back."""
    return f"restore the file from a backup, or delete the folder {folder} and ingest its source again"


def fingerprint(schema: pa.Schema) -> str:
    """12 hex digits of sha256 over the names and types of the columns, in their order."""
    lines = "".join(f"{field.name}\x00{field.type}\n" for field in schema)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]
