"""The manifest of a span: `manifest.json` beside its Parquet files."""

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from noria.core.errors import SpanError

FILE = "manifest.json"

EventTime = tuple[int, int] | None
Source = str | Path | dict[str, Any] | Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One version of one span.

    Attributes:
      span: id, counted from 1.
      version: 1, and one more with each late or corrected delivery.
      rows: all rows, with and without a label.
      event_time: first and last event, epoch seconds; None if spans are a number of rows without a time.
      sources: where the rows came from: `name`, `sha256`, `rows` (with those that were forgotten). If spans are a
        number of rows also `first`: the number of the first of these rows in the source, from 0; the others follow it.
      columns: column name -> Arrow type.
      schema_fingerprint: sha256 (12 hex digits) of the columns' names and types, in their order.
      files: `name`, `rows`, `bytes`, `sha256` of each Parquet file.
      late_rows: rows that this version added to the one before.
      labels: rows by label, with `unlabelled`; empty if nobody counted.
      created: time of the commit, ISO 8601 with zone.
      extra: anything else that the writer gave. `replaces` is the version in quarantine that this one corrects;
        `replaced` are the sources (sha256) whose rows were replaced by corrected ones, in this version or before;
        `forgotten` is how many rows `noria forget` has removed.
      folder: where the version is (not part of the file).
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
    extra: dict[str, Any]
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

    def text(self) -> str:
        """The manifest file's text."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False)

    def save(self) -> None:
        """Writes `<folder>/manifest.json`, into a folder that is not committed yet."""
        (self.folder / FILE).write_text(self.text(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Reads `<folder>/manifest.json`.

        Raises:
          SpanError: it is missing or damaged.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["event_time"] = tuple(values["event_time"]) if values["event_time"] else None
            values["sources"] = tuple(values["sources"])
            values["files"] = tuple(values["files"])
            return cls(**values, folder=folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpanError(
                f"the manifest of a span cannot be read: {error}",
                where=path,
                next_step=how_to_restore(folder.parent),
            ) from error


def new(
    folder: Path,
    span: int,
    schema: pa.Schema,
    written: list[dict[str, Any]],
    source: Source,
    event_time: EventTime,
    labels: dict[str, int] | None,
    extra: dict[str, Any],
) -> Manifest:
    """The manifest of a span's first version.

    Args:
      folder: where its files are.
      span: id.
      schema: of the files.
      written: `name`, `rows`, `bytes`, `sha256` of each file.
      source: a name, or dicts with `name`, `sha256`, `rows`.
      event_time: first and last event, epoch seconds.
      labels: rows by label.
      extra: anything else worth keeping; JSON values.
    """
    rows = sum(file["rows"] for file in written)
    return Manifest(
        span=span,
        version=1,
        rows=rows,
        event_time=None if event_time is None else (int(event_time[0]), int(event_time[1])),
        sources=tuple(_sources(source, rows)),
        columns={field.name: str(field.type) for field in schema},
        schema_fingerprint=fingerprint(schema),
        files=tuple(written),
        late_rows=0,
        labels=dict(labels or {}),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        extra=dict(extra),
        folder=folder,
    )


def with_late_rows(old: Manifest, fresh: Manifest, source: Source) -> Manifest:
    """The manifest of the next version, which holds the rows of the old one and late rows.

    Args:
      old: the version before.
      fresh: of the files that hold old and late rows; `labels` and `event_time` are those of the late rows.
      source: of the late rows.
    """
    late = fresh.rows - old.rows
    times = [each for each in (old.event_time, fresh.event_time) if each is not None]
    extra = {**old.extra, **fresh.extra}
    extra.pop("replaces", None)  # it holds for one version only
    return dataclasses.replace(
        fresh,
        version=old.version + 1,
        event_time=(min(first for first, _ in times), max(last for _, last in times)) if times else None,
        sources=(*old.sources, *_sources(source, late)),
        late_rows=late,
        labels={
            key: old.labels.get(key, 0) + fresh.labels.get(key, 0) for key in {**old.labels, **fresh.labels}
        },
        extra=extra,
    )


def correction(old: Manifest, fresh: Manifest) -> Manifest:
    """The manifest of the next version, whose rows replace the old ones.

    `extra` names the version that it replaces, and the sources whose rows must not return when they are read again.
    """
    replaced = {
        *old.extra.get("replaced", ()),
        *fresh.extra.get("replaced", ()),
        *(each.get("sha256") for each in old.sources),
    }
    replaced -= {None} | {each.get("sha256") for each in fresh.sources}
    extra = {**old.extra, **fresh.extra, "replaces": old.version, "replaced": sorted(replaced)}
    if not replaced:
        del extra["replaced"]
    return dataclasses.replace(fresh, version=old.version + 1, extra=extra)


def difference(old: Manifest, schema: pa.Schema, retyped: Mapping[str, pa.DataType]) -> str | None:
    """How the columns of a schema differ from a version's, `retyped` ones in their new type; None if they do not."""
    new = {field.name: str(field.type) for field in schema}
    known = {name: str(retyped.get(name, kind)) for name, kind in old.columns.items()}
    if list(new.items()) == list(known.items()):
        return None
    for name, kind in known.items():
        if new.get(name) != kind:
            return f"{name!r} must be {kind}, got {new.get(name, 'no such column')}"
    extra = [name for name in new if name not in old.columns]
    return f"{extra[0]!r} is new" if extra else "the order differs"


def how_to_restore(folder: Path) -> str:
    """How to restore a damaged span."""
    return f"restore the file from a backup, or delete the folder {folder} and ingest its source again"


def fingerprint(schema: pa.Schema) -> str:
    """12 hex digits of sha256 over the names and types of the columns, in their order."""
    lines = "".join(f"{field.name}\x00{field.type}\n" for field in schema)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def _sources(source: Source, rows: int) -> list[dict[str, Any]]:
    if isinstance(source, str | Path):
        return [{"name": str(source), "sha256": None, "rows": rows}]
    return [dict(source)] if isinstance(source, dict) else [dict(each) for each in source]
