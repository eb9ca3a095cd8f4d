"""Ingestion: from files to committed spans, each source exactly once, whenever it is killed.

Everything is read, checked and sorted into spans on disk first; then span after span is committed. A manifest
names the sources of its rows, so that an ingestion that starts again commits only what is missing.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import DataError, SpanError
from noria.ingestion import calendar, conversion, tables, widening
from noria.ingestion.calendar import Calendar
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.delivery import Delivery, Listener
from noria.ingestion.events import EventSettings, events
from noria.ingestion.formats import Table, TextTable
from noria.ingestion.labels import Labels
from noria.ingestion.ledger import Ledger
from noria.ingestion.number_formats import PLAIN
from noria.ingestion.partition import FOLDER as PARTITION_FOLDER
from noria.ingestion.partition import Partition
from noria.ingestion.source_offsets import rows_of_sources
from noria.ingestion.sources.base import Source
from noria.ingestion.sources.function import Function
from noria.ingestion.span_assigners.base import SpanAssigner
from noria.ingestion.span_assigners.by_period import PeriodAssigner
from noria.ingestion.span_assigners.by_rows import RowAssigner
from noria.stores.spans import SpanStore

__all__ = ["IngestReport", "ingest"]


@dataclasses.dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
      spans: ids of the spans it committed.
      late: ids of the spans that got a new version from late rows.
      rows: rows it committed.
      unlabelled: those of them without a label.
      duplicates: rows that an earlier source had delivered to a span already, or that came with one before it.
      dead_letters: rows that could not be read.
      dead_letter_file: where they are; None without any.
      skipped: sources that were ingested before.
      grown: columns that have a wider type than in the spans before, and its name.
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
    grown: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ingest(
    source: Any,
    settings: EventSettings,
    store: SpanStore,
    *,
    name: str = "table",
    tell: Listener | None = None,
    now: Callable[[], float] = time.time,
    reads: Callable[[], Collection[str]] | None = None,
) -> IngestReport:
    """Commits the rows of a source to the span store.

    Args:
      source: a path, folder, glob or list of these; a pandas or Arrow table, a function that returns one, or a
        `Source`.
      settings: how rows become events.
      store: the span store.
      name: name of a table in memory.
      tell: gets a record for each committed span: `span`, `rows`, `late`.
      now: the clock; rows of the future are dead letters.
      reads: tells the columns that the model reads; called only if values do not fit a column's type and no wider type
        helps. A column that it does not name becomes text then.

    Returns:
      What was done. A source that is in the store already is skipped. Of a new source, rows of an earlier one are
      skipped too (a file that grew has its old rows), in this ingestion or in an earlier one. Spans of time compare
      the values of rows: a row that an earlier source has twice counts twice. Spans of `rows:N` compare offsets: if
      the first rows of a source are all the rows of an earlier one, it is that source, grown. A file with another
      change counts as new, and a note says so. A deleted span is made again when its sources are ingested again.

    Raises:
      DataError: something cannot be read, or is not what the earlier spans were; nothing was committed then.
      SpanError: the store cannot be written, or a manifest is damaged; spans committed so far stay, the next call
        continues after them.
    """
    found = _tables(source, settings, name)
    with files.explained("the spans cannot be written", store.folder, SpanError), store.hold():
        _sweep(store)
        ledger = Ledger(store)
        ids = set(store.ids(retired=True))
        new = [table for table in found if not ledger.holds(table, ids)]
        # The same bytes under two names are one source.
        new = list({table.digest: table for table in reversed(new)}.values())[::-1]
        report = IngestReport()
        if new:
            try:
                report = _Ingestion(
                    new, settings, store, ledger, tell or (lambda record: None), now, reads
                ).run()
            except DataError as error:
                if any(str(error.where).startswith(each.name) and ledger.changed(each, ids) for each in new):
                    what = f"{error.what}; the file has changed since it was ingested"
                    raise DataError(what, where=error.where, next_step=error.next_step) from error
                raise
        ledger.remember_files()
        return dataclasses.replace(report, skipped=tuple(table.name for table in found if table not in new))


def _sweep(store: SpanStore) -> None:
    """Deletes what killed ingestions left; the store is locked."""
    files.sweep(store.folder)
    files.sweep(store.home / "dead-letters")
    for path in store.folder.glob(f"{PARTITION_FOLDER}*"):
        files.remove_tree(path)


def _tables(source: Any, settings: EventSettings, name: str) -> list[Table]:
    if callable(source) and not isinstance(source, type):
        source = Function(source, Path()).find()
    elif isinstance(source, Source):
        source, name = source.find(), source.name
    return tables.open_tables(
        source,
        delimiter=settings.delimiter,
        encoding=settings.encoding,
        missing=settings.missing,
        decimal=settings.decimal,
        header=settings.header,
        name=name,
    )


class _Ingestion:
    def __init__(
        self,
        new: list[Table],
        settings: EventSettings,
        store: SpanStore,
        ledger: Ledger,
        tell: Listener,
        now: Callable[[], float],
        reads: Callable[[], Collection[str]] | None,
    ):
        self.reads = reads
        self.new = new
        self.settings = settings
        self.store = store
        self.ledger = ledger
        self.tell = tell
        self.now = now()
        self.calendar = Calendar.load(store)
        manifests = [store.manifest(span) for span in store.ids(retired=True)]
        self.source_rows = rows_of_sources(manifests)
        self.replaced = ledger.replaced(manifests)
        self.notes: list[str] = []
        self.grown: dict[str, ColumnType] = {}

    def run(self) -> IngestReport:
        if self.calendar is not None:
            self._check_calendar(self.calendar)
        columns = self._columns()
        while True:
            report, grown = self._attempt(columns)
            if report is not None:
                return report
            columns |= grown
            self.grown |= grown

    def _attempt(self, columns: dict[str, ColumnType]) -> tuple[IngestReport | None, dict[str, ColumnType]]:
        """Ingests with these types; or commits nothing, and gives the wider types that the values need."""
        settings = self.settings
        classes = self.calendar.classes if self.calendar else settings.classes
        labels = Labels(settings.label, settings.task, classes)
        digest = hashlib.sha256("".join(table.digest for table in self.new).encode()).hexdigest()
        letters = DeadLetters(self.store.home, Path(self.new[0].name).stem, digest, settings.max_bad_share)
        assigner = self._span_assigner(letters)
        with Partition(self.store.folder / PARTITION_FOLDER) as partition:
            try:
                with letters:
                    self._sort(columns, labels, letters, assigner, partition)
            except DataError as error:
                if letters.refused:
                    if self._reformat(columns, letters):
                        return None, {}
                    if grown := self._wider(columns, letters, refused=error):
                        return None, grown
                raise
            if grown := self._wider(columns, letters):
                return None, grown
            labels.settle()
            known = self._grow() if self.calendar else self._lay_out(columns, labels, assigner)
            if isinstance(assigner, RowAssigner):
                assigner.begin()
            delivery = Delivery(partition, assigner, known, settings, labels, self.store, self.ledger)
            delivery.commit(self.tell)
        self._enter(assigner, letters, delivery)
        notes = [*self.notes, *(note for table in self.new for note in table.notes)]
        report = IngestReport(
            spans=tuple(delivery.spans),
            late=tuple(delivery.late),
            rows=delivery.rows,
            unlabelled=delivery.unlabelled,
            duplicates=assigner.repeated + delivery.repeated,
            dead_letters=letters.count,
            dead_letter_file=str(letters.path) if letters.count else None,
            grown={name: column_type.name for name, column_type in self.grown.items()},
            notes=(*notes, *assigner.notes(), *delivery.notes),
        )
        return report, {}

    def _reformat(self, columns: dict[str, ColumnType], letters: DeadLetters) -> bool:
        """Whether a file that is refused writes its numbers in another way than the files before: 1,5 for 1.5.

        It is read in its way then.
        """
        if self.calendar is None:
            return False
        label = self.settings.label if self.settings.task == "regression" else None
        names = [name for name in letters.columns if name == label or columns[name].numeric]
        changed = False
        for table in self.new:
            for name, form in (table.reconsider(names) if isinstance(table, TextTable) else {}).items():
                changed = True
                note = f"{table.name}: the numbers of {name!r} are written as {form.example}, unlike before"
                self.notes.append(note)
        if changed and letters.path is not None:
            letters.path.unlink(missing_ok=True)  # of this attempt
        return changed

    def _wider(
        self, columns: dict[str, ColumnType], letters: DeadLetters, refused: DataError | None = None
    ) -> dict[str, ColumnType]:
        """The types that the values need where the spans' do not hold them.

        A few bad values in a file do not change a column's type, except that of a column without any value so far.

        Raises:
          DataError: the file is refused, and no wider type helps; with the step that does.
        """
        if self.calendar is None:
            return {}
        settings = self.settings
        free = [name for name in letters.columns if name in columns and name not in settings.as_it_is]
        empty = [name for name in free if columns[name].name == "empty"]
        unasked = [name for name in free if name not in settings.types]
        grown = widening.found(self.new, columns, unasked if refused is not None else empty)
        other = [name for name in unasked if columns[name].name != "string"]
        if not grown and refused is not None and other and self.reads is not None:
            read = self.reads()
            grown = {name: conversion.named("string") for name in other if name not in read}
        if grown and letters.path is not None:
            files.remove_tree(letters.path)  # of this attempt; the next one writes its own
        if not grown and refused is not None:
            if settings.label in letters.columns and settings.task != "regression":
                raise widening.unknown_class(refused, self.calendar.classes, settings.task) from refused
            if settings.time in letters.columns:
                raise widening.other_times(refused) from refused
            told = [name for name in free if name in unasked or columns[name].is_time]
            raise widening.explained(refused, self.new, columns, told) from refused
        return grown

    def _grow(self) -> Calendar:
        """The calendar with what has grown, on the disk before a row of it is."""
        assert self.calendar is not None
        if self.grown:
            new = {name: column_type.name for name, column_type in self.grown.items()}
            self.calendar = dataclasses.replace(self.calendar, columns={**self.calendar.columns, **new})
            self.store.retype(
                {name: conversion.stored(column_type) for name, column_type in self.grown.items()}
            )
            for name, column_type in self.grown.items():
                self.notes.append(
                    f"column {name!r} has the type {column_type.name} from now on; the earlier spans are read in it, "
                    "too"
                )
        if self.calendar != Calendar.load(self.store):
            self.calendar.save(self.store)
        return self.calendar

    def _columns(self) -> dict[str, ColumnType]:
        settings = self.settings
        wanted = settings.wanted
        types = conversion.resolved(settings.types, settings.folder)
        if self.calendar is not None:
            # What the spans have already decides; a new column cannot come in between.
            types = self.calendar.types(settings.folder)
            for table in self.new:
                if isinstance(table, TextTable):
                    table.assume_formats(self.calendar.formats())
            self.grown = widening.asked(
                {name: column_type for name, column_type in types.items() if name not in settings.as_it_is},
                conversion.resolved(settings.types, settings.folder),
            )
            types |= self.grown
            wanted = list(types)
            self._let_lack(wanted)
        columns = tables.columns_of(self.new, wanted=wanted, types=types, as_it_is=settings.as_it_is)
        for name in settings.as_it_is:
            if name not in columns:
                raise tables.missing_column(name, self.new[0], settings.columns or ())
        for table in self.new:
            extra = [name for name in table.columns if name not in columns]
            if extra and (settings.columns is None or self.calendar is not None):
                self.notes.append(f"skipped columns that the first spans don't have: {', '.join(extra)}")
        self.notes = list(dict.fromkeys(self.notes))
        return columns

    def _let_lack(self, wanted: list[str]) -> None:
        """Files may lack a column that the model does not read: it is missing in all their rows."""
        for table in self.new:
            lacking = [name for name in wanted if name not in table.columns and not table.may_lack_columns]
            if not lacking or self.reads is None or set(lacking) & {*self.reads(), *self.settings.as_it_is}:
                continue
            table.may_lack_columns = True
            self.notes.append(
                f"{table.name} lacks columns that the model does not read: {', '.join(lacking)}"
            )

    def _check_calendar(self, known: Calendar) -> None:
        settings = self.settings
        known.check(every=settings.every, time=settings.time, label=settings.label, task=settings.task)
        if settings.classes is not None and settings.task != "regression":
            asked = Labels(settings.label, settings.task, settings.classes)
            self.calendar = widening.classes(known, asked.classes or ())
            if self.calendar != known:
                new = ", ".join(map(repr, self.calendar.classes[len(known.classes) :]))
                self.notes.append(f"the label has a new class: {new}")

    def _span_assigner(self, letters: DeadLetters) -> PeriodAssigner | RowAssigner:
        settings = self.settings
        size = calendar.rows_per_span(settings.every)
        if size is not None:
            ids = self.store.ids(retired=True)
            return RowAssigner(self.new, size, settings.time, ids, self.source_rows, self.ledger)
        assert settings.time is not None, "settings refuse periods without a time"
        first = self.calendar.first if self.calendar else None
        done = self.replaced | {(part.digest, part.span) for part in self.source_rows}
        return PeriodAssigner(self.new, settings.every, settings.time, first, done, letters)

    def _sort(
        self,
        columns: dict[str, ColumnType],
        labels: Labels,
        letters: DeadLetters,
        assigner: SpanAssigner,
        partition: Partition,
    ) -> None:
        """Reads everything. After that nothing is wrong with the tables."""
        settings = self.settings
        rows = tables.read(self.new, columns, letters, as_it_is=settings.as_it_is, missing=settings.missing)
        assigner.sort(events(assigner.watch(rows), settings, labels, letters, self.now), partition)
        for table in self.new:
            letters.check(table.name, assigner.seen[table.name] + letters.count_of(table.name))
        if self.calendar is None and not any(assigner.seen.values()):
            raise DataError(
                "the file has no rows",
                where=self.new[0].name,
                next_step="give a file with a header and rows",
            )

    def _lay_out(
        self, columns: dict[str, ColumnType], labels: Labels, assigner: PeriodAssigner | RowAssigner
    ) -> Calendar:
        settings = self.settings
        known = Calendar(
            every=settings.every,
            first=assigner.first if isinstance(assigner, PeriodAssigner) else None,
            time=settings.time,
            label=settings.label,
            task=settings.task,
            classes=tuple(labels.classes or ()),
            columns={name: column_type.name for name, column_type in columns.items()},
            number_formats=self._number_formats(columns),
        )
        known.save(self.store)
        return known

    def _number_formats(self, columns: dict[str, ColumnType]) -> dict[str, tuple[str, str]]:
        settings = self.settings
        numbers = [name for name, column_type in columns.items() if column_type.numeric]
        if settings.task == "regression":
            numbers.append(settings.label)
        found: dict[str, tuple[str, str]] = {}
        for table in self.new:
            for name in numbers if isinstance(table, TextTable) else ():
                form = table.number_format(name)
                if form != PLAIN:
                    found.setdefault(name, (form.decimal, form.group))
        return found

    def _enter(
        self, assigner: PeriodAssigner | RowAssigner, letters: DeadLetters, delivery: Delivery
    ) -> None:
        """Everything is committed: the ledger may know."""
        ranges = assigner.ranges(delivery.source_rows) if isinstance(assigner, RowAssigner) else {}
        delivered = delivery.delivered | {(part.digest, part.span) for part in self.source_rows}
        for table in self.new:
            mine = assigner.sources_of(table)
            more = {"ranges": ranges[table.digest]} if ranges else {}
            self.ledger.write(
                table,
                rows=assigner.seen[table.name],
                spans=sorted({span for digest, span in delivered if digest in mine}),
                dead_letters=letters.count_of(table.name),
                **more,
            )
        for digest in ranges:
            self.ledger.add(digest, ranges=ranges[digest])
