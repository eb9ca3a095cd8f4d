"""The span store: immutable, numbered slices of the event stream.

    spans/<span:08d>/v<version:04d>/{data-00000.parquet, manifest.json}
    spans/<span:08d>/QUARANTINED.json
    spans/retyped.json                                            columns that are read in another type
    spans/retired.json                                            spans whose rows were deleted, see `retire`

A version of a span appears by one rename, complete, or not at all. Readers take the newest version. A reader that
began with an older one can finish with it, because versions are never deleted here, and changed only by `remove_rows`
and `retire`, for which the caller keeps readers out.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from noria.core import files
from noria.core.errors import SpanError
from noria.core.locks import hold
from noria.stores import manifest as manifests
from noria.stores import quarantine_notes, retired_spans, retyping, row_removal, span_files
from noria.stores.manifest import EventTime, Manifest, Source
from noria.stores.merging import merge_sorted
from noria.stores.row_removal import Count, Doomed
from noria.stores.span_files import Batches

__all__ = ["SpanStore"]

LOCK = ".lock"


class SpanStore:
    """The spans of one project.

    Three methods write: `create` a span, `add_late_rows` to it, `correct` it while it is in quarantine. Each writes one
    version, and holds one row group in memory at a time. All take

    - `batches`: the rows; all batches have the schema of the first.
    - `source`: a name, or dicts with `name`, `sha256`, `rows`.
    - `event_time`: first and last of these events, epoch seconds.
    - `labels`: these rows by label, read after all rows are written.
    - `**extra`: anything else worth keeping; JSON values.

    They raise SpanError if there are no rows or the disk is full.

    Args:
      home: the project's home folder.
      wait: seconds to wait for another writer of the store.
    """

    def __init__(self, home: Path | str, *, wait: float = 60):
        self.home = Path(home)
        self.folder = self.home / "spans"
        self.wait = wait

    def hold(self) -> AbstractContextManager[None]:
        """The store's lock, for several commits in a row; re-entrant."""
        return hold(self.folder, wait=self.wait, name=LOCK)

    def create(
        self,
        span: int,
        batches: Batches,
        *,
        source: Source,
        event_time: EventTime = None,
        labels: dict[str, int] | None = None,
        **extra: Any,
    ) -> Manifest:
        """Writes the first version of a span.

        Args:
          span: id, from 1.
          batches, source, event_time, labels, **extra: see the class.

        Raises:
          SpanError: the span exists already.
        """
        if span < 1:
            raise SpanError(f"a span's id must be at least 1, got {span}")
        with self._writing():
            if self.versions(span):
                old = self.manifest(span)
                raise SpanError(
                    f"span {span} exists already, from {old.source}",
                    where=old.folder,
                    next_step="give the rows a new id, or add them as late rows",
                )
            return self._commit(span, batches, source, event_time, labels, extra, lambda fresh: fresh)

    def add_late_rows(
        self,
        span: int,
        batches: Batches,
        *,
        source: Source,
        event_time: EventTime = None,
        labels: dict[str, int] | None = None,
        order: str | None = None,
        **extra: Any,
    ) -> Manifest:
        """Writes the next version of a span, with its old rows and new ones. A span in quarantine remains there.

        Args:
          span: id.
          batches, source, event_time, labels, **extra: of the new rows, see the class.
          order: int64 column by which old and new rows are sorted; the next version is sorted by it, too.

        Raises:
          SpanError: there is no such span, or its columns are others.
        """
        with self._writing():
            old = self._newest(span, "nothing can be late for it")
            note = self.quarantined().get(span)
            rows = self._with_old(old, batches, order)
            made = self._commit(
                span,
                rows,
                source,
                event_time,
                labels,
                extra,
                lambda fresh: manifests.with_late_rows(old, fresh, source),
            )
            if note is not None:
                # A process that is killed before this leaves the new version to the data gate.
                quarantine_notes.move(self.folder, note, made.version)
            return made

    def correct(
        self,
        span: int,
        batches: Batches,
        *,
        source: Source,
        event_time: EventTime = None,
        labels: dict[str, int] | None = None,
        **extra: Any,
    ) -> Manifest:
        """Writes the next version of a span in quarantine, with new rows only; it leaves quarantine.

        The columns may be others. The bad rows remain in the version before. `extra` of this and all later versions
        names their sources as `replaced` (sha256).

        Args:
          span: id.
          batches, source, event_time, labels, **extra: see the class.

        Raises:
          SpanError: there is no such span, or it is not in quarantine.
        """
        with self._writing():
            old = self._newest(span, "nothing can be corrected")
            if span not in self.quarantined():
                raise self._not_in_quarantine(span)
            made = self._commit(
                span,
                batches,
                source,
                event_time,
                labels,
                extra,
                lambda fresh: manifests.correction(old, fresh),
            )
            quarantine_notes.remove(self.folder, span)  # it is about the version before
            return made

    def ids(self, *, retired: bool = False) -> list[int]:
        """Ids of all committed spans, ascending, with those in quarantine.

        Args:
          retired: with the retired ones, which have manifests, and no rows any more.
        """
        if not self.folder.is_dir():
            return []
        without_rows = set() if retired else self.retired()
        names = [path.name for path in self.folder.iterdir() if path.name.isdigit()]
        return sorted(span for span in map(int, names) if span not in without_rows and self.versions(span))

    def retired(self) -> set[int]:
        """Ids of the spans whose rows `retire` has deleted."""
        return retired_spans.read(self.folder)

    def manifest(self, span: int, version: int | None = None) -> Manifest:
        """The manifest of a span's version; the newest by default.

        Raises:
          SpanError: there is no such span or version, or its manifest is damaged.
        """
        versions = self.versions(span)
        if not versions:
            ids = self.ids()
            known = f"{ids[0]} to {ids[-1]} ({len(ids)} spans)" if ids else "none"
            raise SpanError(
                f"there is no span {span}; known: {known}",
                where=self.folder,
                next_step="choose one of these, or ingest the data that holds it",
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
        as_written: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Reads a span's rows in batches of at most 65,536.

        Args:
          span: id.
          columns: the columns to read; all by default.
          verify: compare each file with its sha256 before it is read.
          version: an older version; the newest by default.
          as_written: columns in the types of the span's files, and not in their new ones (see `retyping`).

        Raises:
          SpanError: the span or a column is missing, or a file is damaged; names the file.
        """
        manifest = self.manifest(span, version)
        self._check_rows(span)
        missing = [name for name in columns or () if name not in manifest.columns]
        if missing:
            raise SpanError(
                f"span {span} has no column {missing[0]!r}, only: {', '.join(manifest.columns)}",
                where=manifest.folder,
            )
        rows = span_files.read(manifest, columns, verify)
        return rows if as_written else retyping.retyped(rows, retyping.load(self.folder))

    def remove_rows(
        self,
        columns: Collection[str],
        doomed: Doomed,
        *,
        time: str | None = None,
        count: Count | None = None,
        only_find: bool = False,
    ) -> dict[tuple[int, int], int]:
        """Removes rows from all versions of all spans permanently; the caller holds the home, so that nobody reads.

        After a kill each version has all its rows or none of those that were to go; a second call removes the rest.

        Args:
          columns: those that `doomed` looks at.
          doomed: tells which rows of a batch, `[rows]` bool; columns have the types of the files.
          time: the column of the event time.
          count: counts the rows of a batch by label.
          only_find: change nothing.

        Returns:
          (span, version) -> how many rows, where there are any.

        Raises:
          SpanError: a file is missing or damaged, or the disk is full.
        """
        found: dict[tuple[int, int], int] = {}
        with self._writing():
            if not only_find:
                files.sweep(self.folder)
                if retired := self.retired():
                    self.retire(retired)  # a process that was killed may have left rows
            for span in self.ids():
                before = 0
                for version in self.versions(span):
                    old = self.manifest(span, version)
                    if only_find:
                        rows = row_removal.find(old, columns, doomed)
                    else:
                        rows = row_removal.remove(old, columns, doomed, time=time, count=count, before=before)
                        before = old.rows - rows
                    if rows:
                        found[span, version] = rows
        return found

    def retire(self, spans: Collection[int]) -> None:
        """Deletes the rows of spans permanently. Their ids and manifests stay, so no row is ingested again.

        The list of retired spans first, then the files; a second call after a kill deletes the rest. The caller holds
        the home, so that nobody reads.
        """
        with self._writing():
            retired_spans.add(self.folder, spans)
            for span in spans:
                for version in self.versions(span):
                    manifest = self.manifest(span, version)
                    for file in manifest.files:
                        files.remove_tree(manifest.folder / file["name"])
                    files.sweep(manifest.folder)

    def rename_source(self, digest: str, new: str) -> None:
        """Lets the manifests of all versions know a source by another sha256, because rows were removed from it."""
        with self._writing():
            for span in self.ids(retired=True):
                for version in self.versions(span):
                    old = self.manifest(span, version)
                    if any(each.get("sha256") == digest for each in old.sources):
                        sources = tuple(
                            {**each, "sha256": new} if each.get("sha256") == digest else each
                            for each in old.sources
                        )
                        text = dataclasses.replace(old, sources=sources).text()
                        files.write_text(old.folder / manifests.FILE, text)

    def retype(self, types: Mapping[str, pa.DataType]) -> None:
        """Lets columns of all spans be read in new types (see `retyping`), those of older versions too.

        Args:
          types: column -> int64, float64, float32 or string.
        """
        with files.explained("the new types cannot be written", self.folder, SpanError), self.hold():
            retyping.save(self.folder, types)

    def retyped(self) -> dict[str, pa.DataType]:
        """The columns that are read in another type than older spans were written in."""
        return retyping.load(self.folder)

    def verify(self, span: int) -> None:
        """Compares the files of a span's newest version with their sha256.

        Raises:
          SpanError: one is damaged; names it.
        """
        span_files.verify(self.manifest(span))

    def table(self, span: int, columns: Sequence[str] | None = None, verify: bool = False) -> pa.Table:
        """A span in memory; see `read`."""
        return pa.Table.from_batches(list(self.read(span, columns, verify)))

    def quarantine(
        self, span: int, verdict: dict[str, Any] | str, version: int | None = None, run_id: str | None = None
    ) -> None:
        """Excludes a span from training. Nothing is deleted; `unquarantine` reverses it.

        Args:
          span: id.
          verdict: why; JSON.
          version: the version it is about; the newest by default.
          run_id: the run that judged the span.
        """
        number = self.manifest(span, version).version
        with files.explained("the span cannot be quarantined", self.folder, SpanError), self.hold():
            quarantine_notes.write(self.folder, span, number, verdict, run_id)

    def quarantined(self) -> dict[int, dict[str, Any]]:
        """The spans in quarantine, ascending: id -> `span`, `version`, `since`, `verdict`, and `run_id` if known.

        Raises:
          SpanError: a note is damaged.
        """
        return {
            note["span"]: note
            for note in quarantine_notes.read(self.folder)
            if self.versions(note["span"])[-1:] == [note["version"]]
        }

    def unquarantine(self, span: int) -> None:
        """Takes a span out of quarantine.

        Raises:
          SpanError: it is not in quarantine.
        """
        with (
            files.explained("the span cannot be taken out of quarantine", self.folder, SpanError),
            self.hold(),
        ):
            if not quarantine_notes.remove(self.folder, span):
                raise self._not_in_quarantine(span)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with files.explained("the span cannot be written", self.folder, SpanError), self.hold():
            yield

    def _commit(
        self,
        span: int,
        batches: Batches,
        source: Source,
        event_time: EventTime,
        labels: dict[str, int] | None,
        extra: dict[str, Any],
        finish: Callable[[Manifest], Manifest],
    ) -> Manifest:
        """Writes a version and commits it by one rename; `finish` gives its manifest from that of the files."""
        files.sweep(self.folder)
        beside = files.staging(self.folder)
        try:
            beside.mkdir(parents=True)
            schema, written = span_files.write(beside, batches)
            manifest = finish(manifests.new(beside, span, schema, written, source, event_time, labels, extra))
            manifest.save()
            target = self.folder / f"{span:08d}" / f"v{manifest.version:04d}"
            files.commit_folder(beside, target)
        finally:
            files.remove_tree(beside)
        files.sync(self.folder)
        return Manifest.load(target)

    def versions(self, span: int) -> list[int]:
        """Numbers of the versions of a span, ascending; none where there is no such span."""
        folder = self.folder / f"{span:08d}"
        if not folder.is_dir():
            return []
        return sorted(int(path.name[1:]) for path in folder.iterdir() if path.name.startswith("v"))

    def _check_rows(self, span: int) -> None:
        """Raises SpanError where the span is retired."""
        if span in self.retired():
            raise SpanError(
                f"span {span} is retired: its rows were deleted because nothing needed them",
                where=self.folder / f"{span:08d}",
                next_step="choose another span; `noria status` lists the retired ones",
            )

    def _newest(self, span: int, consequence: str) -> Manifest:
        self._check_rows(span)
        if not self.versions(span):
            raise SpanError(f"span {span} does not exist, so {consequence}", where=self.folder)
        return self.manifest(span)

    def _not_in_quarantine(self, span: int) -> SpanError:
        ids = ", ".join(map(str, self.quarantined())) or "none"
        return SpanError(f"span {span} is not in quarantine; these are: {ids}", where=self.folder)

    def _with_old(
        self, old: Manifest, batches: Batches, order: str | None
    ) -> Iterator[pa.RecordBatch | pa.Table]:
        types = retyping.load(self.folder)

        def checked() -> Iterator[pa.RecordBatch | pa.Table]:
            for batch in batches:
                found = manifests.difference(old, batch.schema, types)
                if found is not None:
                    raise SpanError(
                        f"late rows have other columns than span {old.span}: {found}",
                        where=old.folder,
                        next_step="send the late rows with the span's columns and types",
                    )
                yield batch

        rows = retyping.retyped(span_files.read(old), types)
        if order is not None:
            return merge_sorted(rows, checked(), order)
        return (batch for part in (rows, checked()) for batch in part)
