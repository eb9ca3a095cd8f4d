"""The loop from a stream to spans: read, decode, commit a segment, commit the spans that are closed."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from noria.core import periods
from noria.core.errors import DataError
from noria.ingestion.calendar import Calendar
from noria.ingestion.event_formats.base import EventFormat
from noria.ingestion.event_formats.json import Json
from noria.ingestion.events import EventSettings
from noria.ingestion.segments import segment_store, stream_types
from noria.ingestion.segments.decoding import Decoder, columns_of, infer_columns, kinds_of, letter
from noria.ingestion.segments.segment_store import Draft, Part, Segment, SegmentStore, State
from noria.ingestion.segments.span_commits import CommitReport, commit_spans
from noria.ingestion.segments.watermark import VOTES, watermark
from noria.ingestion.streams.base import Bounds, Messages, Stream
from noria.stores import retyping
from noria.stores.spans import SpanStore

__all__ = ["Ingester", "StreamSettings"]

# Seconds between two looks at where the partitions end, and between two commits of late rows.
LOOK_SECONDS = 5.0
LATE_SECONDS = 300.0
OTHERS_SECONDS = 60.0
READ_ROWS = 5_000
# Events of a partition, and their bytes, whose values are checked together: each call into Arrow costs time.
DECODE_ROWS, DECODE_BYTES = 20_000, 16 << 20
Letters = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class StreamSettings:
    """How a stream becomes segments and spans: the section `stream` of the config, in seconds and bytes.

    Attributes:
      lateness: seconds that a span stays open after the watermark has passed its end.
      into_next: whether later events come into the next span, and not into a new version of their own.
      idle: seconds without an event after which a partition does not hold the watermark back.
      segment_rows, segment_seconds: a segment is committed when it has so many events, or is so old.
      unique: columns that identify an event; of two events of a span with the same values the second is skipped.
      cloudevents: whether events are in CloudEvents envelopes.
      event_bytes: a larger event is a dead letter.
      form: makes the reader of the events' format.
      disk_bytes: of segments; reading pauses while there are more.
    """

    lateness: float
    into_next: bool
    idle: float
    segment_rows: int
    segment_seconds: float
    unique: tuple[str, ...]
    cloudevents: bool
    event_bytes: int
    disk_bytes: int
    form: Callable[[], EventFormat] = Json


class Ingester:
    """Brings a stream into a span store.

    Args:
      stream: the stream.
      settings: how rows become events.
      how: how the stream becomes segments and spans.
      segments, store: what is written.
      tell: gets a record for each thing that happened: `event` is `segment`, `span`, `spans`, `fenced`, `rebalance`,
        `lost`, `paused`, `resumed`, `unreachable`, `grown` or `skipped`; and the fields.
      now: the clock.
    """

    def __init__(
        self,
        stream: Stream,
        settings: EventSettings,
        how: StreamSettings,
        segments: SegmentStore,
        store: SpanStore,
        *,
        tell: Callable[[dict[str, Any]], None] = lambda record: None,
        now: Callable[[], float] = time.time,
    ):
        self.stream = stream
        self.settings = settings
        self.how = how
        self.segments = segments
        self.store = store
        self.tell = tell
        self.now = now
        self.identity: dict[str, Any] = {}
        self.bounds: dict[int, Bounds] = {}
        self.paused = False
        self.state = State()
        self.watermark: float | None = None
        self.pending_bytes = 0
        self.turned = time.monotonic()  # when the loop turned last
        self.reading = False
        self._follow = False
        self._waited: tuple[float, dict[int, int]] | None = None
        self._draft = Draft()
        self._since = 0.0
        self._looked = -math.inf
        self._late = 0.0
        self._reached: float | None = None  # how far the stream was when spans were committed last
        self.form = how.form()
        self._decoder: Decoder | None = None
        self._skipped: set[str] = set()  # fields that were told
        self._first: int | None = None  # the first period, once it is settled

    def run(
        self,
        *,
        follow: bool = False,
        flush: bool = False,
        accept_loss: bool = False,
        stop: threading.Event | None = None,
    ) -> CommitReport:
        """Reads until everything is read that there is, or until `stop` is set.

        Args:
          follow: continue to read when everything is read.
          flush: at the end, commit the open spans too.
          accept_loss: continue although events were lost, and write down which.
          stop: ends it at the next batch; what was read is committed.

        Returns:
          What was committed to spans.

        Raises:
          DataError: events were lost, the stream is another one than before, or cannot be read; a manifest is damaged.
        """
        stop = stop or threading.Event()
        self._follow = follow
        self.segments.sweep()
        self._check(accept_loss)
        total = CommitReport()
        self.stream.open(self._positions, self._lost)
        try:
            self.reading = True
            while not stop.is_set():
                self.turned = time.monotonic()
                self._backpressure(follow)
                self._read(0.25 if follow or not self._draft.parts else 0.05)
                done = not follow and self._is_done()
                if self._draft.parts and (done or self._is_full()):
                    self._commit()
                    self._commit_spans(total)
                elif self._look() and follow:
                    self._commit_spans(total)
                if done:
                    break
            if self._draft.parts:
                self._commit()
        finally:
            self.reading = False
            self.stream.close()
        self._look(force=True)
        self._commit_spans(total, last=True, flush=flush)
        return total

    def lag(self) -> dict[int, int]:
        """Positions between what is stored and the end, by partition."""
        return {
            partition: max(0, held.end - max(self.state.next.get(partition, held.first), held.first))
            for partition, held in self.bounds.items()
        }

    # What must be right before anything is read.

    def _check(self, accept_loss: bool) -> None:
        """Refuses to continue where events were lost, unless that is accepted."""
        self.identity = self.stream.identity()
        self.bounds = self.stream.bounds()
        self._looked = time.monotonic()
        with self.segments.hold():
            self.state = self.segments.state()
            losses, other = self._losses()
            if not losses and not other:
                return
            if not accept_loss:
                if other:
                    raise segment_store.changed_identity(
                        self.segments.folder, self.state.identity, self.identity
                    )
                raise DataError(
                    "; ".join(loss["reason"] for loss in losses),
                    where=self.stream.name,
                    next_step="docs/streams.md explains what you can do; `noria ingest --accept-loss` continues with "
                    "the events that are there, and records what is lost",
                )
            state = segment_store.accepted(self.state, losses, self.now())
            if other:
                state = dataclasses.replace(state, identity=dict(self.identity))
            self.state = self.segments.advance(state, self.now()).state
            for loss in losses:
                self.tell({"event": "lost", **loss})

    def _losses(self) -> tuple[list[dict[str, Any]], bool]:
        """What was lost since the positions were stored, and whether the stream is another one."""
        stored = self.state.next
        other = bool(self.state.identity) and bool(segment_store.changed(self.state.identity, self.identity))
        found = []
        for partition, at in sorted(stored.items()):
            held = self.bounds.get(partition)
            loss = {"partition": partition, "from": at}
            if other:
                reason = "the stream is another one than before"
                found.append({**loss, "to": None, "reason": reason})
            elif held is None:
                reason = f"partition {partition} is gone: there were {len(stored)} partitions, now {len(self.bounds)}"
                found.append({**loss, "to": None, "reason": reason})
            elif at < held.first:
                reason = (
                    f"partition {partition}: retention has passed the stored position: events from {at:,} on are "
                    f"needed, the first one there is {held.first:,}"
                )
                found.append({**loss, "to": held.first, "reason": reason})
            elif at > held.end:
                reason = (
                    f"partition {partition}: the stored position {at:,} is behind the end, {held.end:,}: the stream "
                    "was truncated or created again"
                )
                found.append({**loss, "to": held.end, "reason": reason})
        return found, other

    # Reading.

    def _positions(self) -> Mapping[int, int]:
        self.state = self.segments.state()
        return self.state.next

    def _lost(self, partitions: Collection[int]) -> None:
        """Another process reads these partitions from now on; it begins at the stored positions."""
        for partition in partitions:
            self._draft.parts.pop(partition, None)
        self.tell({"event": "rebalance", "lost": sorted(partitions)})

    def _read(self, timeout: float) -> None:
        for messages in self.stream.read(READ_ROWS, timeout):
            if messages.partition in self.stream.assigned():
                self._add(messages)

    def _add(self, messages: Messages) -> None:
        if not self._draft.parts:
            self._since = self.now()
        part = self._draft.parts.get(messages.partition)
        if part is None:
            start = self.state.next.get(messages.partition)
            at = messages.start if start is None else start
            part = self._draft.parts[messages.partition] = Part(start=start, first=at, next=at)
        if messages.start != part.next:
            # They were read before the stream was told to continue at another position.
            self.stream.seek(messages.partition, part.next)
            return
        part.next = messages.next
        if messages.values:
            part.unread.append(messages)
            part.unread_bytes += sum(map(len, filter(None, messages.values)))
        if part.waiting >= DECODE_ROWS or part.unread_bytes >= DECODE_BYTES:
            self._decode(part)

    def _decode(self, part: Part) -> None:
        """Decodes what a part has read."""
        if not part.unread:
            return
        messages, part.unread, part.unread_bytes = Messages.joined(part.unread), [], 0
        decoder = self._decoding(messages)
        self._tell_skipped(decoder, messages)
        rows, letters = self.decoded(decoder, messages)
        if len(letters) > self.settings.max_bad_share * len(messages.values) and self._grow(
            letters, messages
        ):
            rows, letters = self.decoded(self._decoding(messages), messages)
        part.batches.append(rows)
        part.events += rows.num_rows
        part.letters += letters
        part.tombstones += len(messages.values) - rows.num_rows - len(letters)
        if self.settings.time is not None and rows.num_rows:
            newest = rows.column(rows.schema.get_field_index(self.settings.time))
            part.times = [*part.times, *newest[-VOTES:].to_pylist()][-VOTES:]

    def decoded(self, decoder: Decoder, messages: Messages) -> tuple[Any, Letters]:
        """The events of messages as rows, and the dead letters; a message that is neither is a tombstone."""
        found = decoder.decode(messages, self.now())
        return self._not_early(found.rows, messages, found.letters)

    def decoder(self) -> Decoder | None:
        """Decodes events with the columns and types of today; None before the first events."""
        settled = self.segments.columns()
        if settled is None:
            return None
        columns = stream_types.current(settled, Calendar.load(self.store), self.settings)
        if self._decoder is None or self._decoder.columns != columns:
            self._decoder = Decoder(
                columns,
                self.settings,
                self.settings.classes,
                self.how.cloudevents,
                self.how.event_bytes,
                self.form,
            )
            types = self._decoder.stored
            for part in self._draft.parts.values():  # all rows of a segment have the same types
                part.batches = list(retyping.retyped(part.batches, types))
        return self._decoder

    def _decoding(self, messages: Messages) -> Decoder:
        found = self.decoder()
        if found is None:
            calendar = Calendar.load(self.store)
            if calendar is not None:  # spans of files came first
                columns = columns_of(calendar)
            else:
                types = self.settings.types
                columns = infer_columns([messages], self.settings, types, self.how.cloudevents, self.form)
            self.segments.settle_columns(columns)
            found = self.decoder()
        assert found is not None, "the columns were written just now"
        return found

    def _grow(self, letters: Letters, messages: Messages) -> bool:
        """Gives columns the wider types that the refused events need; False where there are none."""
        assert self._decoder is not None, "the events were decoded"
        bad = {each["offset"] for each in letters}
        kinds = kinds_of([messages.only(bad)], self.how.cloudevents, self.form)
        found = stream_types.wider(self._decoder.columns, kinds, self.settings)
        if found:
            self.segments.grow_columns(found)
            self.tell({"event": "grown", "columns": found})
        return bool(found)

    def _tell_skipped(self, decoder: Decoder, messages: Messages) -> None:
        """Names fields that the first events did not have, each once; of a batch, by its last event."""
        kinds = kinds_of([messages.last()], self.how.cloudevents, self.form)
        new = set(stream_types.unknown_fields(decoder.columns, kinds, self.settings)) - self._skipped
        if new:
            self._skipped |= new
            self.tell({"event": "skipped", "fields": sorted(new)})

    def _not_early(
        self, rows: Any, messages: Messages, letters: list[dict[str, Any]]
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Buries the events before the first span."""
        every, column = self.settings.every, self.settings.time
        if self._first is None and periods.length(every):
            calendar = Calendar.load(self.store)
            self._first = calendar.first if calendar is not None else None
        if self._first is None or column is None or not rows.num_rows:
            return rows, letters
        import numpy as np
        import pyarrow as pa

        early = (
            periods.number(every, np.asarray(rows.column(rows.schema.get_field_index(column)))) < self._first
        )
        if not early.any():
            return rows, letters
        position = {offset: i for i, offset in enumerate(messages.offsets)}
        reason = f"column {column!r}: is before the first span, which begins on {periods.start(every, self._first)}"
        offsets = np.asarray(rows.columns[-1])[early]
        letters = [*letters, *(letter(messages, position[int(offset)], reason) for offset in offsets)]
        kept = pa.RecordBatch.from_arrays(
            [each.filter(pa.array(~early)) for each in rows.columns], rows.schema.names
        )
        return kept, letters

    def _backpressure(self, follow: bool) -> None:
        """Pauses while the segments take more disk than they may."""
        full = self.pending_bytes > self.how.disk_bytes
        if full == self.paused:
            return
        if full and not follow:
            raise DataError(
                f"the segments take {self.pending_bytes >> 20:,} MiB, more than `stream.disk_mib` allows",
                where=self.segments.folder,
                next_step="shorten the spans (`span.every`), raise `stream.disk_mib`, or see why no span closes "
                "(docs/streams.md)",
            )
        self.paused = full
        self.stream.pause(full)
        self.tell({"event": "paused" if full else "resumed", "bytes": self.pending_bytes})

    # Writing.

    def _is_full(self) -> bool:
        age = self.now() - self._since
        return self._draft.rows >= self.how.segment_rows or age >= self.how.segment_seconds or age < 0

    def _commit(self) -> Segment | None:
        self._look()
        for part in self._draft.parts.values():
            self._decode(part)
        draft, self._draft = self._draft, Draft()
        segment, fenced = self.segments.commit(
            draft,
            identity=self.identity,
            every=self.settings.every,
            column=self.settings.time,
            ends={partition: held.end for partition, held in self.bounds.items()},
            now=self.now(),
        )
        self.state = self.segments.state() if segment is None else segment.state
        for partition in sorted(fenced & self.stream.assigned()):
            at = self.state.next.get(partition)
            self.stream.seek(partition, self.bounds[partition].first if at is None else at)
            self.tell({"event": "fenced", "partition": partition, "position": at})
        if segment is not None:
            self.stream.committed(
                {each: at for each, at in self.state.next.items() if each in self.stream.assigned()}
            )
            self.pending_bytes += segment.bytes
            tombstones = sum(part.tombstones for part in draft.parts.values())
            self.tell(
                {
                    "event": "segment",
                    "commit": segment.commit,
                    "rows": segment.rows,
                    "dead": segment.dead,
                    "tombstones": tombstones,
                    "lag": sum(self.lag().values()),
                }
            )
        return segment

    def _is_done(self) -> bool:
        """Whether everything is read that the partitions had. A group may still hand over partitions of a member that
        has left, so those of others must be stored to their end, or not have moved for OTHERS_SECONDS."""
        if not self.stream.caught_up():
            self._waited = None
            return False
        others = set(self.bounds) - self.stream.assigned()
        stored = self.segments.state().next if others else {}
        behind = {
            each: stored.get(each, self.bounds[each].first)
            for each in others
            if stored.get(each, self.bounds[each].first) < self.bounds[each].end
        }
        if self._waited is None or self._waited[1] != behind:
            self._waited = (time.monotonic(), behind)
        return not behind or time.monotonic() - self._waited[0] > OTHERS_SECONDS

    def _closed(self) -> float:
        """What decides whether a span can be committed: the first open period, or the newest segment for `rows:N`."""
        if not periods.length(self.settings.every):
            return self.state.commit
        return -math.inf if self.watermark is None else periods.number(self.settings.every, self.watermark)

    def _look(self, force: bool = False) -> bool:
        """Looks at where the partitions end, from time to time."""
        if not force and time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        try:
            self.identity = self.stream.identity()
            self.bounds = self.stream.bounds()
        except DataError as error:
            if not self._follow:
                raise
            self.tell({"event": "unreachable", "problem": error.what})  # the next look tries again
        return True

    def _commit_spans(self, total: CommitReport, last: bool = False, flush: bool = False) -> None:
        now = self.now()
        self.state = self.segments.state()
        self.watermark = watermark(
            self.state.clocks,
            self.state.next,
            self.bounds,
            idle=self.how.idle,
            lateness=self.how.lateness,
            now=now,
        )
        late = last or now - self._late >= LATE_SECONDS
        reached = self._closed()
        if reached == self._reached and not (late or flush or self.paused):
            return  # no span is full, and none has closed
        self._reached = reached
        report = commit_spans(
            self.segments,
            self.store,
            self.settings,
            self.stream.name,
            watermark=math.inf if flush else self.watermark,
            unique=self.how.unique,
            late=late,
            into_next=self.how.into_next,
            tell=lambda record: self.tell({"event": "span", **record}),
        )
        if late or report.spans:
            self._late = now
        self.pending_bytes = sum(segment.bytes for segment in self.segments.pending())
        for field in dataclasses.fields(CommitReport):
            mine, theirs = getattr(total, field.name), getattr(report, field.name)
            if field.name == "oldest":
                total.oldest = theirs if mine is None else min(mine, theirs or mine)
            else:
                setattr(total, field.name, mine + theirs)
        if report.rows:
            seconds = now - (report.oldest or now)
            self.tell(
                {
                    "event": "spans",
                    "rows": report.rows,
                    "spans": report.spans,
                    "late": report.late,
                    "late_rows": report.late_rows,
                    "repeated": report.repeated,
                    "early": report.early,
                    "seconds": seconds,
                }
            )
