"""From segments to spans: a span is committed once its time is over, or once it is full.

A span's manifest says up to which segment all its rows are in (`stream.commit`), and for spans of `rows:N` up to which
row of it. So a process that starts again after a kill commits only what is missing, and a segment is deleted when
nothing of it is missing. Where late rows come into the next span, the newest span's manifest says up to which segment
those of all spans before it are in (`stream.late`).
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from noria.core import files, periods
from noria.core.errors import SpanError
from noria.ingestion import calendar, conversion, duplicates, widening
from noria.ingestion.arrow_values import filtered
from noria.ingestion.calendar import Calendar
from noria.ingestion.events import EventSettings, code_labels, one_array, schema_of
from noria.ingestion.labels import Labels
from noria.ingestion.partition import FOLDER as PARTITION_FOLDER
from noria.ingestion.partition import Partition
from noria.ingestion.segments import stream_types
from noria.ingestion.segments.decoding import OFFSET, PARTITION
from noria.ingestion.segments.segment_store import Segment, SegmentStore
from noria.stores import retyping
from noria.stores.spans import SpanStore

__all__ = ["CommitReport", "commit_spans"]


@dataclasses.dataclass
class CommitReport:
    """What was committed.

    Attributes:
      spans: ids of the new spans.
      late: ids of the spans that got a new version from late rows.
      rows: rows that were committed; `late_rows` of them were late, and are in a new version or in the next span.
      repeated: rows that were skipped, as an event with the same id came before.
      early: rows before the first span, or of a retired one, which became dead letters.
      oldest: when the oldest segment that has such rows was written, epoch seconds; None where nothing was committed.
      discarded: segments that were deleted.
    """

    spans: list[int] = dataclasses.field(default_factory=list)
    late: list[int] = dataclasses.field(default_factory=list)
    rows: int = 0
    late_rows: int = 0
    repeated: int = 0
    early: int = 0
    oldest: float | None = None
    discarded: int = 0


def commit_spans(
    segments: SegmentStore,
    store: SpanStore,
    settings: EventSettings,
    name: str,
    *,
    watermark: float | None,
    unique: Sequence[str] = (),
    late: bool = True,
    into_next: bool = False,
    tell: Callable[[dict[str, Any]], None] = lambda record: None,
) -> CommitReport:
    """Commits the spans that are closed, and deletes the segments that are no longer needed.

    Args:
      segments: the segments.
      store: the span store.
      settings: how rows become events.
      name: of the stream, for the manifests.
      watermark: epoch seconds; a span that ends at or before it is closed. `math.inf` closes all; None closes none.
      unique: columns that identify an event; a second event of a span with the same values is skipped.
      late: whether to commit late rows where no span is new. Each commit of late rows writes its span again.
      into_next: whether late rows come into the next new span, and not into a new version of their span.
      tell: gets a record for each committed span: `span`, `rows`, `late`.

    Raises:
      DataError: a segment is damaged, or the config asks for something else than the spans were laid out by.
      SpanError: the span store cannot be written.
    """
    with files.explained("the spans cannot be written", store.folder, SpanError), store.hold():
        pending = segments.pending()
        if not pending:
            return CommitReport()
        for path in store.folder.glob(f"{PARTITION_FOLDER}*"):  # of a killed process; the store is locked
            files.remove_tree(path)
        size = calendar.rows_per_span(settings.every)
        commits = _Periods if size is None else _Rows
        work = commits(segments, store, settings, name, unique, tell)
        work.run(pending, watermark, late, into_next)
        return work.report


class _Commits:
    """What the commits of periods and of spans of so many rows have in common."""

    def __init__(
        self,
        segments: SegmentStore,
        store: SpanStore,
        settings: EventSettings,
        name: str,
        unique: Sequence[str],
        tell: Callable[[dict[str, Any]], None],
    ):
        self.segments = segments
        self.store = store
        self.settings = settings
        self.name = name
        self.unique = list(unique)
        self.tell = tell
        self.report = CommitReport()
        self.ids = set(store.ids(retired=True))
        self.retired = store.retired()
        self.calendar = Calendar.load(store)
        self.labels = Labels(settings.label, settings.task, settings.classes)
        settled = segments.columns()
        self.types = {} if settled is None else stream_types.current(settled, self.calendar, settings)
        if self.calendar is not None:
            self.calendar.check(
                every=settings.every, time=settings.time, label=settings.label, task=settings.task
            )
            self.calendar = self._grown(self.calendar)

    def run(self, pending: list[Segment], watermark: float | None, late: bool, into_next: bool) -> None:
        raise NotImplementedError

    def read(self, segment: Segment) -> Iterator[pa.RecordBatch]:
        """The rows of a segment, in the types of today."""
        types = conversion.resolved(self.types, self.settings.folder)
        special = self.settings.as_it_is
        stored = {name: conversion.stored(kind) for name, kind in types.items() if name not in special}
        return retyping.retyped(segment.read(), stored)

    def _grown(self, known: Calendar) -> Calendar:
        """The calendar with wider types and further classes, on the disk before a row of them is in a span."""
        settings, now = self.settings, known
        if settings.task != "regression":
            now = widening.classes(known, self.labels.classes or ())
        fixed = {"empty", *settings.as_it_is}
        wider = {
            name: kind
            for name, kind in self.types.items()
            if known.columns.get(name, kind) != kind and fixed.isdisjoint((name, known.columns[name]))
        }
        if wider:
            now = dataclasses.replace(now, columns={**now.columns, **wider})
            resolved = conversion.resolved(wider, settings.folder)
            self.store.retype({name: conversion.stored(kind) for name, kind in resolved.items()})
        if now != known:
            now.save(self.store)
        return now

    def marks(self, span: int) -> dict[str, int]:
        """Up to where a span has the stream's rows."""
        return self.store.manifest(span).extra.get("stream") or {"commit": 0, "row": 0}

    def settle(self, schema: pa.Schema, first: int | None) -> Calendar:
        """The calendar; the first spans lay it out."""
        if self.calendar is not None:
            return self.calendar
        special = self.settings.as_it_is
        self.calendar = Calendar(
            every=self.settings.every,
            first=first,
            time=self.settings.time,
            label=self.settings.label,
            task=self.settings.task,
            classes=tuple(self.labels.classes or ()),
            columns={
                field.name: "empty" if field.name in special else _type_name(field.type)
                for field in schema
                if field.name not in (PARTITION, OFFSET)
            },
        )
        self.calendar.save(self.store)
        return self.calendar

    def commit(
        self, span: int, partition: Partition, key: int, used: list[Segment], marks: dict[str, int]
    ) -> None:
        """Commits a span, or late rows of it."""
        known = self.calendar
        assert known is not None, "`settle` was called"
        exists = span in self.ids
        schema = schema_of(known.types(self.settings.folder), self.settings)
        keep = self._new(span if exists else None, partition, key)
        extra: dict[str, Any] = {"calendar": known.to_json(), "stream": marks}
        if known.first is not None:
            extra["period"] = periods.start(known.every, known.first + span - 1)
        if not keep.any():
            self.report.repeated += len(keep)
            return
        counts: dict[str, int] = {}
        rows = self._rows(partition, key, schema, keep, counts)
        given: dict[str, Any] = {
            "source": [
                {
                    "name": f"{self.name}, segments {used[0].commit} to {used[-1].commit}",
                    "sha256": None,
                    "rows": int(keep.sum()),
                }
            ],
            "event_time": self._times(partition, key),
            "labels": counts,
        }
        if exists:
            made = self.store.add_late_rows(span, rows, order=self.settings.time, **given, **extra)
            self.report.late.append(span)
            self.report.late_rows += int(keep.sum())
        else:
            made = self.store.create(span, rows, **given, **extra)
            self.report.spans.append(span)
            self.ids.add(span)
        self.report.rows += int(keep.sum())
        self.report.repeated += int((~keep).sum())
        oldest = min(segment.created for segment in used)
        self.report.oldest = min(oldest, self.report.oldest or oldest)
        self.tell({"span": span, "rows": made.rows, "late": exists})

    def _rows(
        self, partition: Partition, key: int, schema: pa.Schema, keep: np.ndarray, counts: dict[str, int]
    ) -> Iterator[pa.Table]:
        at = 0
        for table in partition.read(key, self.settings.time):
            mask = keep[at : at + table.num_rows]
            at += table.num_rows
            if not mask.all():
                table = table.filter(pa.array(mask))
            [coded] = code_labels([table], self.settings.label, self.labels)
            for word, count in self.labels.count(one_array(coded.column(self.settings.label))).items():
                counts[word] = counts.get(word, 0) + count
            yield coded.select(schema.names).cast(schema)

    def _new(self, span: int | None, partition: Partition, key: int) -> np.ndarray:
        """Which of the rows are the first ones with their id, in the order of `_rows`."""
        if not self.unique:
            return np.ones(partition.rows[key], bool)
        tables = partition.read(key, self.settings.time)
        old = (
            []
            if span is None
            else [duplicates.row_hashes(each) for each in self.store.read(span, self.unique)]
        )
        new = [duplicates.row_hashes(table.select(self.unique)) for table in tables]
        known = sum(map(len, old))
        _, firsts = np.unique(np.concatenate([*old, *new]), return_index=True)
        keep = np.zeros(known + sum(map(len, new)), bool)
        keep[firsts] = True
        return keep[known:]

    def _times(self, partition: Partition, key: int) -> tuple[int, int] | None:
        """First and last event; late ones of an earlier period do not count."""
        time, every = self.settings.time, self.settings.every
        if time is None:
            return None
        found = np.concatenate([table.column(time).to_numpy() for table in partition.read(key, None)])
        if periods.length(every):
            found = found[periods.number(every, found) == key]
        return int(found.min()), int(found.max())


class _Periods(_Commits):
    """Spans of a period of time."""

    into_next = False

    def run(self, pending: list[Segment], watermark: float | None, late: bool, into_next: bool) -> None:
        every = self.settings.every
        self.into_next = into_next
        latest = max((period for segment in pending for period in segment.spans), default=0)
        if watermark is None:
            bound = None
        else:
            bound = latest + 1 if watermark == float("inf") else periods.number(every, int(watermark))
        wanted = self._wanted(pending, bound)
        first = self.calendar.first if self.calendar is not None else None
        if first is None:
            first = min((min(found) for _, found in wanted), default=None)
        if first is None or not wanted:
            return self._discard(pending, bound)
        closed = {period for _, found in wanted for period in found if period >= first}
        begun = first + max(self.ids, default=0)  # the first period after the newest span
        fresh = {period for period in closed if period - first + 1 not in self.ids}
        if into_next:
            fresh = {period for period in fresh if period >= begun}
        if not fresh and (into_next or not late):
            return self._discard(pending, bound)
        used: dict[int, list[Segment]] = {}
        with Partition(self.store.folder / PARTITION_FOLDER) as partition:
            schema = None
            for segment, found in wanted:
                for period in found:
                    used.setdefault(period, []).append(segment)
                chosen = np.array(sorted(period for period in found if period >= first), np.int64)
                for batch in self.read(segment):
                    schema = batch.schema
                    numbers = self._numbers(batch)
                    self._reject(segment, batch, numbers < first, self._too_early(first))
                    mask = np.isin(numbers, chosen)
                    if not mask.all():
                        batch = filtered(batch, mask)
                    numbers = numbers[mask]
                    if into_next:
                        was_late = numbers < begun
                        self.report.late_rows += int(was_late.sum())
                        numbers = np.where(was_late, min(fresh), numbers)
                    partition.add(batch, numbers)
            if schema is not None:
                self.settle(schema, first)
            newest = pending[-1].commit
            marks = {"commit": newest, "row": 0, "late": newest if into_next else self._carried()}
            for period in partition.spans:
                span = period - first + 1
                self.commit(span, partition, period, used[period], marks)
        self._discard(pending, bound)

    def _too_early(self, first: int) -> str:
        """Most rows before the first span were found when they were read."""
        return f"is before the first span, which begins on {periods.start(self.settings.every, first)}"

    def _reject(self, segment: Segment, batch: pa.RecordBatch, early: np.ndarray, reason: str) -> None:
        """Writes rows that are in no span down as dead letters."""
        letters = []
        for row in filtered(batch, early).to_pylist() if early.any() else ():
            partition, offset = row.pop(PARTITION), row.pop(OFFSET)
            value = json.dumps(row, ensure_ascii=False)
            letters.append(
                {
                    "partition": partition,
                    "offset": offset,
                    "time": -1,
                    "reason": f"column {self.settings.time!r}: {reason}",
                    "value": value,
                }
            )
        if letters:
            self.segments.bury(segment, letters)
        self.report.early += len(letters)

    def _carried(self) -> int:
        """Up to which segment the late rows of all spans are in a later span."""
        return self.marks(max(self.ids)).get("late", 0) if self.ids else 0

    def _wanted(self, pending: list[Segment], bound: int | None) -> list[tuple[Segment, list[int]]]:
        """The segments that have rows of closed spans which are not in the spans, and these periods."""
        first = self.calendar.first if self.calendar is not None else None
        done: dict[int, int] = {}
        retired = self._retired_periods()
        found = []
        for segment in pending:
            mine = []
            for period in segment.spans:
                if bound is None or period >= bound or period in retired:
                    continue
                if period not in done:
                    done[period] = 0 if first is None else self._done(period - first + 1)
                if segment.commit > done[period]:
                    mine.append(period)
            if mine:
                found.append((segment, mine))
        return found

    def _done(self, span: int) -> int:
        """Up to which segment all rows of a span's period are in spans."""
        own = self.marks(span)["commit"] if span in self.ids else 0
        return max(own, self._carried()) if span <= max(self.ids, default=0) else own

    def _retired_periods(self) -> set[int]:
        """Periods of retired spans, to which no row can be added."""
        if self.into_next or self.calendar is None or self.calendar.first is None:
            return set()
        return {self.calendar.first + span - 1 for span in self.retired}

    def _reject_late(self, segment: Segment) -> None:
        """Writes the rows of a segment that came too late for a retired span down as dead letters."""
        retired = self._retired_periods() & segment.spans.keys()
        if not retired:
            return
        assert self.calendar is not None and self.calendar.first is not None, "there are spans"
        late = [period for period in retired if segment.commit > self._done(period - self.calendar.first + 1)]
        for batch in segment.read() if late else ():
            numbers = self._numbers(batch)
            for period in late:
                span = period - self.calendar.first + 1
                self._reject(segment, batch, numbers == period, f"comes too late: span {span} is retired")

    def _numbers(self, batch: pa.RecordBatch) -> np.ndarray:
        assert self.settings.time is not None, "settings refuse periods without a time"
        times = batch.column(batch.schema.get_field_index(self.settings.time))
        return periods.number(self.settings.every, np.asarray(times))

    def _discard(self, pending: list[Segment], bound: int | None) -> None:
        """Deletes the segments whose rows are all in spans."""
        first = self.calendar.first if self.calendar is not None else 0
        missing = {
            segment.commit
            for segment, found in self._wanted(pending, bound)
            if any(period >= (first or 0) for period in found)
        }
        done = [
            segment
            for segment in pending
            if segment.commit not in missing
            and (not segment.spans or (bound is not None and max(segment.spans) < bound))
        ]
        for segment in done:
            self._reject_late(segment)
        self.segments.discard(done)
        self.report.discarded += len(done)


class _Rows(_Commits):
    """Spans of N rows, in the order of the segments."""

    def run(self, pending: list[Segment], watermark: float | None, late: bool, into_next: bool) -> None:
        size = calendar.rows_per_span(self.settings.every)
        assert size is not None
        mark = self.marks(max(self.ids)) if self.ids else {"commit": 0, "row": 0}
        begin = (mark["commit"], mark["row"])
        left = sum(segment.rows for segment in pending if segment.commit >= begin[0])
        left -= begin[1] if any(segment.commit == begin[0] for segment in pending) else 0
        flush = watermark == float("inf")
        while left >= size or (flush and left):
            count = min(size, left)
            begin = self._span(pending, begin, count)
            left -= count
        done = [
            segment
            for segment in pending
            if not segment.rows or segment.commit < begin[0] or begin == (segment.commit, segment.rows)
        ]
        self.segments.discard(done)
        self.report.discarded += len(done)

    def _span(self, pending: list[Segment], begin: tuple[int, int], count: int) -> tuple[int, int]:
        """Commits the next `count` rows; where the rows after them begin."""
        used: list[Segment] = []
        end = begin
        with Partition(self.store.folder / PARTITION_FOLDER) as partition:
            schema = None
            for segment in pending:
                if segment.commit < begin[0] or not segment.rows:
                    continue
                at = 0
                for batch in self.read(segment):
                    schema = batch.schema
                    skip = max(begin[1] - at, 0) if segment.commit == begin[0] else 0
                    part = batch.slice(skip, count) if skip < batch.num_rows else batch.slice(0, 0)
                    if part.num_rows:
                        partition.add(part, np.zeros(part.num_rows, np.int64))
                        count -= part.num_rows
                        end = (segment.commit, at + skip + part.num_rows)
                        if not used or used[-1] is not segment:
                            used.append(segment)
                    at += batch.num_rows
                    if not count:
                        break
                if not count:
                    break
            assert schema is not None
            self.settle(schema, None)
            self.commit(1 + max(self.ids, default=0), partition, 0, used, {"commit": end[0], "row": end[1]})
        return end


def _type_name(stored: pa.DataType) -> str:
    """The column type that is stored so."""
    column_type = conversion.of_arrow(stored)
    assert column_type is not None, "segments hold numbers and texts"
    return column_type.name
