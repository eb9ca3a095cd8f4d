"""The span store: immutable, numbered slices of the event stream.

    spans/<span:08d>/v<version:04d>/{data-00000.parquet, manifest.json}
    spans/<span:08d>/QUARANTINED.json

A version of a span appears by one rename, whole, or not at all. Readers take the newest version; a reader
that began on an older one finishes on it, since versions are never changed and never deleted here.
`QUARANTINED.json` names the version it is about: a newer one is not in quarantine.
"""

import contextlib
import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noria.core import files
from noria.core.errors import SpanError
from noria.core.locks import hold
from noria.stores.manifest import Manifest, again, fingerprint
from noria.stores.merging import merge_sorted

__all__ = ["SpanStore"]

# Rows of a row group: what a reader holds at a time.
GROUP_ROWS = 65_536
# Rows of a Parquet file: a damaged file costs no more than this.
FILE_ROWS = 16 * GROUP_ROWS
LOCK = ".lock"
QUARANTINED = "QUARANTINED.json"

EventTime = tuple[int, int] | None
Source = str | Path | dict[str, Any] | Sequence[dict[str, Any]]


class SpanStore:
    """The spans of one project.

    Args:
      home: the project's home folder.
      wait: seconds to wait for another writer of the store.
    """

    def __init__(self, home: Path | str, *, wait: float = 60):
        self.home = Path(home)
        self.folder = self.home / "spans"
        self.wait = wait

    def hold(self):
        """The store's lock, for several commits in a row; re-entrant."""
        return hold(self.folder, wait=self.wait, name=LOCK)

    def commit(
        self,
        span: int,
        batches: Iterable[pa.RecordBatch | pa.Table],
        *,
        source: Source,
        event_time: EventTime | Callable[[], EventTime] = None,
        late: bool = False,
        adds: bool = False,
        labels: dict[str, int] | None = None,
        order: str | None = None,
        **facts: Any,
    ) -> Manifest:
        """Writes a span and commits it by one rename. Holds one batch at a time.

        Args:
          span: id, from 1.
          batches: the rows; all batches have the first one's schema.
          source: a name, or dicts with `name`, `sha256`, `rows`.
          event_time: first and last event, epoch seconds; or a function that tells them when all rows are
            written.
          late: the span exists and these rows came after it; makes its next version, of old and new rows. Where
            the span is in quarantine, these rows are a corrected delivery: the next version is made of them
            alone, whatever their columns, and is not in quarantine. The bad rows stay in the version before, and
            `facts` of this and all later versions has their sources in `replaced` (sha256).
          adds: late rows come on top of rows in quarantine too, and the next version stays there.
          labels: rows by label, read when all rows are written; a late version adds them to the old counts.
          order: int64 column that the rows are sorted by; a late version then stays sorted by it.
          **facts: anything else worth keeping; JSON values.

        Raises:
          SpanError: the id exists already (or, with `late`, is missing), there are no rows, the columns
            differ from the older version's, the disk is full.
        """
        if span < 1:
            raise SpanError(f"a span's id must be at least 1, got {span}")
        with files.explained("the span cannot be written", self.folder, SpanError), self.hold():
            files.sweep(self.folder)
            old = self._newest_version(span)
            if old is not None and not late:
                raise SpanError(
                    f"span {span} exists already, from {old.source}",
                    where=old.folder,
                    next_step="give the rows a new id, or commit them with late=True as a late delivery",
                )
            if old is None and late:
                raise SpanError(
                    f"span {span} does not exist, so nothing can be late for it", where=self.folder
                )
            note = self.quarantined().get(span)
            bad = old if note is not None and not adds else None
            if old is not None and bad is None:
                batches = self._with_old(old, batches, order)
            beside = files.staging(self.folder)
            try:
                beside.mkdir(parents=True)
                schema, written = _write(beside, batches)
                if callable(event_time):
                    event_time = event_time()
                if bad is None:
                    manifest = _manifest(span, old, schema, written, source, event_time, labels, facts)
                else:
                    facts = _correcting(bad, source, facts)
                    manifest = _manifest(span, None, schema, written, source, event_time, labels, facts)
                    manifest["version"] = bad.version + 1
                (beside / "manifest.json").write_text(
                    json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8"
                )
                target = self.folder / f"{span:08d}" / f"v{manifest['version']:04d}"
                files.commit_folder(beside, target)
            finally:
                files.remove_tree(beside)
            files.sync(self.folder)
            if bad is not None:
                self.unquarantine(span)  # only tidies up: the note is about the version before
            elif note is not None:
                # Killed before this, the gate judges the new version anew.
                files.write_json(target.parent / QUARANTINED, {**note, "version": manifest["version"]})
            return Manifest.load(target)

    def ids(self) -> list[int]:
        """Ids of all committed spans, ascending, those in quarantine included."""
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir() if path.name.isdigit()]
        return sorted(span for span in map(int, names) if self._versions(span))

    def manifest(self, span: int, version: int | None = None) -> Manifest:
        """The manifest of a span's newest version, or of the one asked for.

        Raises:
          SpanError: there is no such span or version, or its manifest is damaged.
        """
        versions = self._versions(span)
        if not versions:
            ids = self.ids()
            known = f"{ids[0]} to {ids[-1]} ({len(ids)} spans)" if ids else "none"
            raise SpanError(
                f"there is no span {span}; known: {known}",
                where=self.folder,
                next_step="pick one of these, or ingest the data that holds it",
            )
        chosen = versions[-1] if version is None else version
        if chosen not in versions:
            raise SpanError(f"span {span} has no version {version}, only {versions}", where=self.folder)
        return Manifest.load(self.folder / f"{span:08d}" / f"v{chosen:04d}")

    def read(
        self,
        span: int,
        columns: Sequence[str] | None = None,
        verify: bool = False,
        version: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Reads a span's rows in batches of at most 65,536.

        Args:
          span: id.
          columns: the columns to read; all by default.
          verify: compare each file with its sha256 before it is read.
          version: an older version; the newest by default.

        Raises:
          SpanError: the span or a column is missing, or a file is damaged; names the file.
        """
        manifest = self.manifest(span, version)
        missing = [name for name in columns or () if name not in manifest.columns]
        if missing:
            raise SpanError(
                f"span {span} has no column {missing[0]!r}, only: {', '.join(manifest.columns)}",
                where=manifest.folder,
            )
        return self._read(manifest, columns, verify)

    def verify(self, span: int) -> None:
        """Compares the files of a span's newest version with their sha256.

        Raises:
          SpanError: one is damaged; names it.
        """
        manifest = self.manifest(span)
        for file in manifest.files:
            with _readable(manifest, file):
                _check(manifest, file, digest=True)

    def table(self, span: int, columns: Sequence[str] | None = None, verify: bool = False) -> pa.Table:
        """A span in memory; see `read`."""
        return pa.Table.from_batches(list(self.read(span, columns, verify)))

    def quarantine(
        self, span: int, verdict: dict[str, Any] | str, version: int | None = None, run_id: str | None = None
    ) -> None:
        """Keeps a span from being trained on. Nothing is deleted; `unquarantine` takes it back.

        Args:
          span: id.
          verdict: why; JSON.
          version: the version it is about; the newest by default.
          run_id: the run that found out.
        """
        manifest = self.manifest(span, version)
        note = {"span": span, "version": manifest.version, "since": _now(), "verdict": verdict}
        if run_id is not None:
            note["run_id"] = run_id
        with files.explained("the span cannot be quarantined", self.folder, SpanError), self.hold():
            files.write_json(self.folder / f"{span:08d}" / QUARANTINED, note)

    def quarantined(self) -> dict[int, dict[str, Any]]:
        """The spans in quarantine, ascending: id -> `span`, `version`, `since`, `verdict`, and `run_id` if known.

        Raises:
          SpanError: a note is damaged.
        """
        notes = {}
        for path in sorted(self.folder.glob(f"*/{QUARANTINED}")):
            try:
                note = json.loads(path.read_text(encoding="utf-8"))
                version = note["version"]
            except FileNotFoundError:
                continue  # somebody has just taken it out
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise SpanError(
                    f"the note of a span in quarantine cannot be read: {error!r}",
                    where=path,
                    next_step="restore it from a backup, or delete it; then the data gate judges the span anew",
                ) from error
            if self._versions(span := int(path.parent.name))[-1:] == [version]:
                notes[span] = note
        return notes

    def unquarantine(self, span: int) -> None:
        """Takes a span out of quarantine.

        Raises:
          SpanError: it is not in quarantine.
        """
        with (
            files.explained("the span cannot be taken out of quarantine", self.folder, SpanError),
            self.hold(),
        ):
            path = self.folder / f"{span:08d}" / QUARANTINED
            if not path.exists():
                raise SpanError(
                    f"span {span} is not in quarantine; these are: {list(self.quarantined()) or 'none'}",
                    where=self.folder,
                )
            path.unlink()
            files.sync(path.parent)

    def _versions(self, span: int) -> list[int]:
        folder = self.folder / f"{span:08d}"
        if not folder.is_dir():
            return []
        return sorted(int(path.name[1:]) for path in folder.iterdir() if path.name.startswith("v"))

    def _newest_version(self, span: int) -> Manifest | None:
        return self.manifest(span) if self._versions(span) else None

    def _with_old(
        self, old: Manifest, batches: Iterable[pa.RecordBatch | pa.Table], order: str | None
    ) -> Iterator[pa.RecordBatch | pa.Table]:
        def same_columns() -> Iterator[pa.RecordBatch | pa.Table]:
            for batch in batches:
                if fingerprint(batch.schema) != old.schema_fingerprint:
                    difference = _difference(old, batch.schema)
                    raise SpanError(
                        f"late rows have other columns than span {old.span}: {difference}",
                        where=old.folder,
                        next_step="send the late rows with the span's columns and types",
                    )
                yield batch

        rows = self._read(old, None, False)
        if order is not None:
            return merge_sorted(rows, same_columns(), order)
        return (batch for part in (rows, same_columns()) for batch in part)

    def _read(
        self, manifest: Manifest, columns: Sequence[str] | None, verify: bool
    ) -> Iterator[pa.RecordBatch]:
        for file in manifest.files:
            with _readable(manifest, file):
                _check(manifest, file, digest=verify)
                with pq.ParquetFile(manifest.folder / file["name"]) as parquet:
                    wanted = None if columns is None else list(columns)
                    yield from parquet.iter_batches(batch_size=GROUP_ROWS, columns=wanted)


@contextlib.contextmanager
def _readable(manifest: Manifest, file: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SpanError(
            f"a file of span {manifest.span} cannot be read: {error}",
            where=manifest.folder / file["name"],
            next_step=again(manifest.folder.parent),
        ) from error


def _check(manifest: Manifest, file: dict[str, Any], digest: bool) -> None:
    path = manifest.folder / file["name"]
    said, found = f"{file['bytes']:,} bytes", f"{path.stat().st_size:,} bytes"
    if said == found and digest:
        said, found = f"sha256 {file['sha256'][:12]}…", f"sha256 {files.sha256(path)[:12]}…"
    if said != found:
        raise SpanError(
            f"a file of span {manifest.span} is damaged: {found}, {said} expected",
            where=path,
            next_step=again(manifest.folder.parent),
        )


def _write(
    folder: Path, batches: Iterable[pa.RecordBatch | pa.Table]
) -> tuple[pa.Schema, list[dict[str, Any]]]:
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    written: list[dict[str, Any]] = []
    try:
        for table in _groups(batches):
            if schema is None:
                schema = table.schema.remove_metadata()
            if writer is None or written[-1]["rows"] >= FILE_ROWS:
                if writer is not None:
                    writer.close()
                written.append({"name": f"data-{len(written):05d}.parquet", "rows": 0})
                writer = pq.ParquetWriter(folder / written[-1]["name"], schema, compression="zstd")
            writer.write_table(table.cast(schema), row_group_size=GROUP_ROWS)
            written[-1]["rows"] += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    if schema is None:
        raise SpanError("a span must have rows, got none", next_step="leave empty periods out")
    for file in written:
        path = folder / file["name"]
        file.update(bytes=path.stat().st_size, sha256=files.sha256(path))
    return schema, written


def _groups(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.Table]:
    """Gathers small batches and cuts large ones into row groups."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        while table.num_rows:
            part = table.slice(0, GROUP_ROWS - rows)
            table = table.slice(part.num_rows)
            waiting.append(part)
            rows += part.num_rows
            if rows == GROUP_ROWS:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _manifest(
    span: int,
    old: Manifest | None,
    schema: pa.Schema,
    written: list[dict[str, Any]],
    source: Source,
    event_time: EventTime,
    labels: dict[str, int] | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    rows = sum(file["rows"] for file in written)
    sources = _sources(source, rows - (old.rows if old else 0))
    counts = dict(labels or {})
    if old is not None:
        sources = [*old.sources, *sources]
        facts = {**old.facts, **facts}
        facts.pop("replaces", None)  # said of one version only
        counts = {key: old.labels.get(key, 0) + counts.get(key, 0) for key in {**old.labels, **counts}}
        if event_time is not None and old.event_time is not None:
            event_time = (min(event_time[0], old.event_time[0]), max(event_time[1], old.event_time[1]))
        event_time = event_time or old.event_time
    return {
        "span": span,
        "version": old.version + 1 if old else 1,
        "rows": rows,
        "event_time": None if event_time is None else [int(event_time[0]), int(event_time[1])],
        "sources": sources,
        "columns": {field.name: str(field.type) for field in schema},
        "schema_fingerprint": fingerprint(schema),
        "files": written,
        "late_rows": rows - old.rows if old else 0,
        "labels": counts,
        "created": _now(),
        "facts": facts,
    }


def _correcting(bad: Manifest, source: Source, facts: dict[str, Any]) -> dict[str, Any]:
    """What a corrected version says: what it replaces, and whose rows must not come back when read again."""
    known = [
        *bad.facts.get("replaced", ()),
        *facts.get("replaced", ()),
        *(each.get("sha256") for each in bad.sources),
    ]
    replaced = set(known) - {None} - {each.get("sha256") for each in _sources(source, 0)}
    facts = {**bad.facts, **facts, "replaces": bad.version, "replaced": sorted(replaced)}
    if not replaced:
        del facts["replaced"]
    return facts


def _sources(source: Source, rows: int) -> list[dict[str, Any]]:
    if isinstance(source, str | Path):
        return [{"name": str(source), "sha256": None, "rows": rows}]
    return [dict(source)] if isinstance(source, dict) else [dict(each) for each in source]


def _difference(old: Manifest, schema: pa.Schema) -> str:
    new = {field.name: str(field.type) for field in schema}
    for name, kind in old.columns.items():
        if new.get(name) != kind:
            return f"{name!r} is {new.get(name, 'missing')}, {kind} expected"
    extra = [name for name in new if name not in old.columns]
    return f"{extra[0]!r} is new" if extra else "in another order"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
