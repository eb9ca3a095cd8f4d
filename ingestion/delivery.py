"""The delivery of sorted rows to the span store: span after span, each by one commit."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from noria.core import periods
from noria.ingestion import duplicates
from noria.ingestion.calendar import Calendar
from noria.ingestion.events import EventSettings, code_labels, one_array, schema_of
from noria.ingestion.labels import Labels
from noria.ingestion.ledger import Ledger
from noria.ingestion.partition import Partition
from noria.ingestion.source_offsets import SourceRows
from noria.ingestion.span_assigners.base import OFFSET, SOURCE, SpanAssigner
from noria.stores.manifest import Manifest
from noria.stores.spans import SpanStore

# Called with each record of what happens; a run's: {"stage": ..., "event": "start" | "note" | "end" | "failed", ...}.
Listener = Callable[[dict[str, Any]], None]


class Delivery:
    """Commits what an ingestion has sorted.

    Args:
      partition: the rows.
      assigner: what has assigned them to spans.
      known: the calendar.
      settings: how rows become events.
      labels: their classes are settled.
      store: the span store, locked.
      ledger: is told which rows replace which.

    Attributes:
      spans: ids of the new spans.
      late: ids of the spans that got a new version.
      rows: rows that were committed; `unlabelled` of them have no label.
      repeated: rows that were skipped, because the span or an earlier source has them.
      delivered: sha256 of a source and id of a span: there were rows, which may have been repeated ones.
      source_rows: what was committed of which source.
      notes: what people should know.
    """

    def __init__(
        self,
        partition: Partition,
        assigner: SpanAssigner,
        known: Calendar,
        settings: EventSettings,
        labels: Labels,
        store: SpanStore,
        ledger: Ledger,
    ):
        self._partition = partition
        self._assigner = assigner
        self._digests = list(assigner.sources)
        self._calendar = known
        self._settings = settings
        self._schema = schema_of(known.types(settings.folder), settings)
        self._labels = labels
        self._store = store
        self._ledger = ledger
        self.spans: list[int] = []
        self.late: list[int] = []
        self.rows = self.unlabelled = self.repeated = 0
        self.delivered: set[tuple[str, int]] = set()
        self.source_rows: list[SourceRows] = []
        self.notes: list[str] = []

    def commit(self, tell: Listener) -> None:
        """Commits all spans, in order.

        Args:
          tell: gets a record for each: `span`, `rows`, `late`.
        """
        ids, quarantined, retired = set(self._store.ids()), self._store.quarantined(), self._store.retired()
        passed: dict[int, int] = {}
        for key in self._partition.spans:
            span = self._assigner.span_of(key)
            if span in retired:
                passed[span] = self._partition.rows[key]
                continue
            self._deliver(
                key, span, self._store.manifest(span) if span in ids else None, span in quarantined, tell
            )

        if passed:
            self.notes.append(
                f"skipped {sum(passed.values()):,} rows of {len(passed)} retired spans (from {min(passed)} to "
                f"{max(passed)}): they were there before, or came too late"
            )

    def _deliver(self, key: int, span: int, old: Manifest | None, quarantined: bool, tell: Listener) -> None:
        [source] = self._columns(key, SOURCE)
        self.delivered |= {(self._digests[i], span) for i in np.unique(source)}
        keep = np.ones(len(source), bool)
        by_value = self._calendar.first is not None  # rows in spans of N are known by their offset
        if by_value and (old is not None or (source[1:] != source[:-1]).any()):
            keep, source = self._new(key, () if old is None else self._store.read(span))
        if not keep.any():
            self.repeated += len(keep)
            return
        times = self._times(key)
        adds, extra = False, self._extra(span)
        if old is None:
            self._ledger.restored(span, self._digests)
        elif quarantined:
            adds = not _replaces(times, old.event_time)
            if not adds:
                keep, source = self._new(key, ())
                others = set(self._ledger.spans().get(span, ())) - set(self._digests)
                extra["replaced"] = sorted(others)
            self.notes.append(_quarantine_note(old, int(keep.sum()), adds))
        parts = self._source_rows(key, span, source[keep])
        counts: dict[str, int] = {}
        rows = self._counted(key, keep, counts)
        given: dict[str, Any] = {
            "source": [self._source(part) for part in parts],
            "event_time": times,
            "labels": counts,
        }
        if old is None:
            manifest = self._store.create(span, rows, **given, **extra)
        elif quarantined and not adds:
            manifest = self._store.correct(span, rows, **given, **extra)
        else:
            manifest = self._store.add_late_rows(span, rows, order=self._settings.time, **given, **extra)
        self._ledger.replace(manifest)
        (self.spans if old is None else self.late).append(span)
        self.source_rows += parts
        self.rows += int(keep.sum())
        self.repeated += int((~keep).sum())
        self.unlabelled += counts.get("unlabelled", 0)
        tell({"span": span, "rows": manifest.rows, "late": old is not None})

    def _new(self, key: int, old: Iterable[pa.RecordBatch]) -> tuple[np.ndarray, np.ndarray]:
        """Which of a span's rows are new, and their sources, in the order of `_rows`."""
        keep, source = duplicates.new_rows(old, self._rows(key))
        return keep | self._assigner.only_new[source], source

    def _rows(self, key: int) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """A span's rows as they are stored, in order of time, and the index of each one's source."""
        for table in self._partition.read(key, self._settings.time):
            [coded] = code_labels([table], self._settings.label, self._labels)
            yield coded.select(self._schema.names).cast(self._schema), table.column(SOURCE).to_numpy()

    def _counted(self, key: int, keep: np.ndarray, counts: dict[str, int]) -> Iterator[pa.Table]:
        """The rows to keep; adds them up in `counts` by label while they pass."""
        at = 0
        for table, _ in self._rows(key):
            mask = keep[at : at + table.num_rows]
            at += table.num_rows
            if not mask.all():
                table = table.filter(pa.array(mask))
            label = one_array(table.column(self._settings.label))
            for word, count in self._labels.count(label).items():
                counts[word] = counts.get(word, 0) + count
            yield table

    def _columns(self, key: int, *names: str) -> list[np.ndarray]:
        """Some columns of a span's rows, in the order in which they came."""
        tables = list(self._partition.read(key, None))
        return [np.concatenate([table.column(name).to_numpy() for table in tables]) for name in names]

    def _times(self, key: int) -> tuple[int, int] | None:
        if self._settings.time is None:
            return None
        [times] = self._columns(key, self._settings.time)
        return int(times.min()), int(times.max())

    def _source_rows(self, key: int, span: int, source: np.ndarray) -> list[SourceRows]:
        if self._calendar.first is not None:
            # A source without new rows is named too: a correction of the span corrects its rows.
            rows = np.bincount(source, minlength=len(self._digests)).tolist()
            return [
                SourceRows(digest, span, rows[i], None)
                for i, digest in enumerate(self._digests)
                if (digest, span) in self.delivered
            ]
        parts = []
        sources, offsets = self._columns(key, SOURCE, OFFSET)
        for i in np.unique(sources).tolist():
            mine = np.sort(offsets[sources == i])
            for run in np.split(mine, np.flatnonzero(np.diff(mine) != 1) + 1):
                parts.append(SourceRows(self._digests[i], span, len(run), int(run[0])))
        return parts

    def _source(self, part: SourceRows) -> dict[str, Any]:
        """As the manifest has it."""
        found = {"name": self._assigner.sources[part.digest], "sha256": part.digest, "rows": part.rows}
        return found if part.first is None else {**found, "first": part.first}

    def _extra(self, span: int) -> dict[str, Any]:
        extra: dict[str, Any] = {"calendar": self._calendar.to_json()}
        if self._calendar.first is not None:
            period = self._calendar.first + span - 1
            extra["period"] = periods.start(self._calendar.every, period)
        return extra


def _replaces(new: tuple[int, int] | None, old: tuple[int, int] | None) -> bool:
    """Whether a delivery is a correction: it covers at least half of the bad rows' time.

    The next day's file of a week in quarantine does not. A correction may lack the first and the last row.
    """
    if new is None or old is None:
        return True
    begin, end = max(new[0], old[0]), min(new[1], old[1])
    return begin <= end and 2 * (end - begin) >= old[1] - old[0]


def _quarantine_note(old: Manifest, rows: int, adds: bool) -> str:
    if adds:
        return (
            f"span {old.span} stays in quarantine: the {rows:,} delivered rows cover less than half of its time, so "
            f"they were added to its {old.rows:,}; a correction must have all rows of the span"
        )
    return (
        f"span {old.span} was in quarantine: its {old.rows:,} rows were replaced by the {rows:,} delivered ones; "
        f"the old ones are {old.folder.name}"
    )
