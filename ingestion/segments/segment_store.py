"""The segments of a stream: what was read and is not in spans yet, and up to which positions.

    stream/segments/<commit:012d>/{data.parquet, dead.jsonl, manifest.json}
    stream/positions.json         what the deleted segments had reached
    stream/columns.json           the columns of the events
    dead-letters/stream-<commit:012d>.jsonl

A segment is committed by one rename, while the lock is held, and only if for each partition the stored position is the
one from which its rows were read (a compare-and-set, as in Apache Druid). So of two processes that read the same
positions exactly one commits, independent of the stream's own group, and dead letters are written once.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noria.core import files, locks
from noria.core.errors import DataError
from noria.ingestion.segments import watermark
from noria.ingestion.segments.watermark import Clock
from noria.ingestion.streams.base import Messages

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Draft", "Part", "Segment", "SegmentStore", "State"]

STALE_SECONDS = 3_600
_NO_ROWS: dict[str, Any] = {"rows": 0, "spans": {}, "bytes": 0, "sha256": None}
DATA, LETTERS, MANIFEST = "data.parquet", "dead.jsonl", "manifest.json"


@dataclasses.dataclass(frozen=True)
class State:
    """What is stored of a stream.

    Attributes:
      commit: number of the newest segment; 0 before the first.
      identity: what the positions belong to.
      next: position at which each partition continues.
      clocks: event time of each partition.
      counts: `events`, `dead`, `tombstones`, `fenced` since the first segment.
      replayed: names of the dead letters that were replayed.
      losses: what a person accepted to lose: `time`, `partition`, `from`, `to`, `reason`.
      ends: where each partition ended when it was looked at last, and `looked`, when that was.
    """

    commit: int = 0
    identity: dict[str, Any] = dataclasses.field(default_factory=dict)
    next: dict[int, int] = dataclasses.field(default_factory=dict)
    clocks: dict[int, Clock] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    replayed: tuple[str, ...] = ()
    losses: tuple[dict[str, Any], ...] = ()
    ends: dict[int, int] = dataclasses.field(default_factory=dict)
    looked: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "State":
        whole = dict(values)
        for name in ("next", "ends"):
            whole[name] = {int(partition): int(at) for partition, at in values[name].items()}
        whole["clocks"] = {int(each): Clock.from_json(clock) for each, clock in values["clocks"].items()}
        whole["replayed"], whole["losses"] = tuple(values["replayed"]), tuple(values["losses"])
        return cls(**whole)


@dataclasses.dataclass
class Part:
    """What a draft has of one partition.

    Attributes:
      start: the position from which it was read; None where nothing is stored of the partition yet.
      first, next: offset of the first message, and the position after the last one.
      batches: the rows.
      times: event times of the newest rows, epoch seconds.
      letters: dead letters.
      tombstones, events: how many.
      unread: messages that are not decoded yet; `unread_bytes` of them.
    """

    start: int | None
    first: int
    next: int
    batches: "list[pa.RecordBatch]" = dataclasses.field(default_factory=list)
    times: list[int] = dataclasses.field(default_factory=list)
    letters: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    tombstones: int = 0
    events: int = 0
    unread: list[Messages] = dataclasses.field(default_factory=list)
    unread_bytes: int = 0

    @property
    def waiting(self) -> int:
        """How many messages are not decoded yet."""
        return sum(len(messages.values) for messages in self.unread)


@dataclasses.dataclass
class Draft:
    """A segment that is not committed: the parts by partition. `replayed` are the dead letters in it."""

    parts: dict[int, Part] = dataclasses.field(default_factory=dict)
    replayed: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Events in it, with dead letters and what is not decoded yet."""
        return sum(part.events + len(part.letters) + part.waiting for part in self.parts.values())


@dataclasses.dataclass(frozen=True)
class Segment:
    """A committed segment.

    Attributes:
      commit: its number.
      rows: its events.
      spans: rows by number of the period; empty where spans are a number of rows.
      parts: by partition: `start`, `first`, `next`, `rows`.
      created: epoch seconds.
      bytes, sha256: of its data.
      dead: dead letters in it.
      data: name of the file with its rows.
      state: what is stored with it.
      folder: where it is.
    """

    commit: int
    rows: int
    spans: dict[int, int]
    parts: dict[int, dict[str, Any]]
    created: float
    bytes: int
    sha256: str | None
    dead: int
    data: str
    state: State
    folder: Path

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["folder"]
        return {**values, "state": self.state.to_json()}

    @classmethod
    def load(cls, folder: Path) -> "Segment":
        """Reads a manifest.

        Raises:
          DataError: it is missing or damaged.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["spans"] = {int(period): rows for period, rows in values["spans"].items()}
            values["parts"] = {int(partition): part for partition, part in values["parts"].items()}
            values["state"] = State.from_json(values["state"])
            found = cls(**values, folder=folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(path, f"the manifest of a segment cannot be read: {error}") from error
        if found.commit != int(folder.name):
            raise damaged(path, f"the manifest is that of segment {found.commit}")
        return found

    def read(self) -> "Iterator[pa.RecordBatch]":
        """Its rows in batches.

        Raises:
          DataError: the data is missing or damaged.
        """
        if not self.rows:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = files.fetched(self.folder / self.data)
        try:
            if files.sha256(path) != self.sha256:
                raise damaged(path, "the data of a segment has changed")
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches()
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, f"the data of a segment cannot be read: {error}") from error

    def letters(self) -> list[dict[str, Any]]:
        """Its dead letters, each with the number of its `segment`."""
        return read_letters(self.folder / LETTERS, self.commit) if self.dead else []


class SegmentStore:
    """The segments of one project.

    Args:
      home: the project's home folder.
      wait: seconds to wait for another process.
    """

    def __init__(self, home: Path | str, *, wait: float = 60):
        self.home = Path(home)
        self.folder = self.home / "stream"
        self.wait = wait
        self._known: dict[
            int, tuple[files.Mark | None, Segment]
        ] = {}  # only `remove_rows` changes a manifest

    def hold(self, read: bool = False) -> AbstractContextManager[None]:
        """The store's lock; re-entrant. `read`: for a block that changes nothing."""
        return locks.hold(self.folder, wait=self.wait, name=".lock", read=read)

    def state(self) -> State:
        """What is stored.

        Raises:
          DataError: a manifest is damaged, or segments are missing.
        """
        if not self.folder.is_dir():
            return State()
        with self.hold(read=True):
            numbers = self._numbers()
            base, _ = self._base()
            if numbers and numbers[-1] > base.commit:
                gaps = sorted({*range(base.commit + 1, numbers[-1])} - {*numbers})
                if gaps:
                    raise damaged(self._path(gaps[0]), "a segment is missing")
                return Segment.load(self._path(numbers[-1])).state
            return base

    def pending(self) -> list[Segment]:
        """The segments that are not deleted, oldest first."""
        if not self.folder.is_dir():
            return []
        with self.hold(read=True):
            base, consumed = self._base()
            numbers = [each for each in self._numbers() if each > base.commit and each not in consumed]
            known = self._known
            self._known = {}
            for each in numbers:
                mark = files.mark(self._path(each) / MANIFEST)
                old, segment = known.get(each, (None, None))
                if segment is None or old != mark:
                    segment = Segment.load(self._path(each))
                self._known[each] = mark, segment
            return [segment for _, segment in self._known.values()]

    def commit(
        self,
        draft: Draft,
        *,
        identity: Mapping[str, Any],
        every: str,
        column: str | None,
        ends: Mapping[int, int],
        now: float,
    ) -> tuple[Segment | None, set[int]]:
        """Commits a draft in one step, without the partitions whose stored position is another one.

        Args:
          draft: what was read.
          identity: of the stream.
          every: a period, or `rows:N`.
          column: the time column, or None.
          ends: where each partition ends now.
          now: epoch seconds.

        Returns:
          The segment, None where nothing was left; and the partitions that were not committed, because another process
          has stored other positions meanwhile.

        Raises:
          DataError: it cannot be written; nothing was committed then.
        """
        with files.explained("the segment cannot be written", self.folder, DataError):
            beside = files.staging(self.folder / "segments")
            try:
                beside.mkdir(parents=True)
                fields = _write(beside, draft, every, column)
                with self.hold():
                    state = self.state()
                    if state.identity and changed(state.identity, identity):
                        raise changed_identity(self.folder, state.identity, identity)
                    fenced = {
                        partition
                        for partition, part in draft.parts.items()
                        if not draft.replayed and state.next.get(partition) != part.start
                    }
                    again = set(draft.replayed) & set(state.replayed)
                    if fenced or again:
                        left = {each: part for each, part in draft.parts.items() if each not in fenced}
                        if again or not left:
                            return None, fenced
                        files.remove_tree(beside)
                        beside.mkdir()
                        draft = Draft(left)
                        fields = _write(beside, draft, every, column)
                    after = _after(state, draft, identity, len(fenced), ends, now)
                    return self._add(beside, after, fields, draft, now), fenced
            finally:
                files.remove_tree(beside)

    def advance(self, state: State, now: float) -> Segment:
        """Commits a segment without events: a person's decision about the positions. The lock is held."""
        with files.explained("the segment cannot be written", self.folder, DataError):
            beside = files.staging(self.folder / "segments")
            try:
                beside.mkdir(parents=True)
                fields = _write(beside, Draft(), "rows:1", None)
                return self._add(beside, state, fields, Draft(), now)
            finally:
                files.remove_tree(beside)

    def discard(self, segments: Iterable[Segment]) -> None:
        """Deletes segments whose rows are all in spans. Their dead letters move to `dead-letters/`."""
        gone = sorted(segments, key=lambda each: each.commit)
        if not gone:
            return
        with files.explained("segments cannot be deleted", self.folder, DataError), self.hold():
            for segment in gone:
                if segment.dead:
                    text = (segment.folder / LETTERS).read_bytes()
                    files.write_bytes(
                        self.home / "dead-letters" / f"stream-{segment.commit:012d}.jsonl", text
                    )
            base, consumed = self._base()
            consumed |= {each.commit for each in gone}
            # The newest state must not be lost with its segment.
            prefix = base.commit
            states = {each.commit: each.state for each in gone}
            while prefix + 1 in consumed:
                prefix += 1
            if prefix in states:
                base = states[prefix]
            elif prefix > base.commit:
                base = Segment.load(self._path(prefix)).state
            kept = sorted(each for each in consumed if each > base.commit)
            files.write_json(self.folder / "positions.json", {"state": base.to_json(), "consumed": kept})
            for number in self._numbers():
                # A manifest behind a gap stays until the segments before it are deleted.
                if number <= base.commit:
                    files.remove_tree(self._path(number))
                elif number in consumed:
                    self._delete_data(number)

    def bury(self, segment: Segment, letters: Sequence[dict[str, Any]]) -> None:
        """Writes dead letters that were found after a segment was committed. Writing them again changes nothing."""
        path = self.home / "dead-letters" / f"stream-{segment.commit:012d}-early.jsonl"
        known = {
            (each["partition"], each["offset"]): each
            for each in (*read_letters(path, segment.commit), *letters)
        }
        files.write_text(path, lines(known.values()))

    def remove_rows(
        self,
        doomed: "Callable[[pa.RecordBatch], np.ndarray]",
        bad: Callable[[dict[str, Any]], bool],
        *,
        every: str,
        column: str | None,
        done: tuple[int, int] = (0, 0),
        only_find: bool = False,
    ) -> dict[int, int]:
        """Removes events and dead letters for good; positions stay. The caller holds the lock of the span store.

        New data first, under another name; then the manifest, in one step, names it; then the old data is deleted.

        Args:
          doomed: tells which rows of a batch, `[rows]` bool.
          bad: tells whether a dead letter goes.
          every, column: as in `commit`.
          done: of spans of `rows:N` the segment, and how many of its rows are in spans. Those keep their place,
            without values, because later rows are counted from the segment's first one.
          only_find: change nothing.

        Returns:
          Number of the segment -> how many rows and dead letters, where there are any.
        """
        import numpy as np
        import pyarrow as pa

        found: dict[int, int] = {}
        if not self.folder.is_dir():
            return found
        with files.explained("the segments cannot be changed", self.folder, DataError), self.hold():
            if not only_find:
                self._sweep_dead()
            base, consumed = self._base()
            for number in self._numbers():
                segment = Segment.load(self._path(number))
                letters = segment.letters()
                kept = [each for each in letters if not bad(each)]
                gone = len(letters) - len(kept)
                if number <= base.commit or number in consumed:  # its data is in spans
                    batches, masks = [], []
                    if not only_find:
                        self._delete_data(number)
                else:
                    if not only_find:
                        self._delete_data(number, but=segment.data)
                    batches = list(segment.read())
                    masks = [doomed(batch) for batch in batches]
                rows = sum(int(mask.sum()) for mask in masks)
                if gone + rows:
                    found[number] = gone + rows
                if only_find or not gone + rows:
                    continue
                if gone:
                    texts = [{name: each[name] for name in each if name != "segment"} for each in kept]
                    files.write_text(segment.folder / LETTERS, lines(texts))
                changes: dict[str, Any] = {"dead": len(kept)}
                if rows:
                    mask = np.concatenate(masks)
                    table = pa.Table.from_batches(batches)
                    changes.update(self._rewrite(segment, table, mask, every, column, done))
                changed_segment = dataclasses.replace(segment, **changes)
                text = json.dumps(changed_segment.to_json(), indent=1, ensure_ascii=False)
                files.write_text(segment.folder / MANIFEST, text)
                self._delete_data(number, but=changed_segment.data)
        return found

    def columns(self) -> dict[str, str] | None:
        """The columns of the events; None before the first segment."""
        path = self.folder / "columns.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise damaged(path, f"the columns of the stream cannot be read: {error}") from error

    def settle_columns(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Keeps the columns of the first events for all later ones; of two processes the first one decides."""
        text = json.dumps(dict(columns), indent=1, ensure_ascii=False)
        with contextlib.suppress(FileExistsError):
            files.write_new(self.folder / "columns.json", text.encode())
        found = self.columns()
        assert found is not None, "it was written just now"
        return found

    def grow_columns(self, types: Mapping[str, str]) -> None:
        """Gives columns wider types; those of another process that grew at the same time stay."""
        with (
            files.explained("the columns of the stream cannot be written", self.folder, DataError),
            self.hold(),
        ):
            files.write_json(self.folder / "columns.json", {**(self.columns() or {}), **types})

    def sweep(self) -> None:
        """Deletes drafts that killed processes left more than an hour ago."""
        with self.hold():
            for path in (self.folder / "segments").glob(f"{files.STAGING}*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > STALE_SECONDS:
                        files.remove_tree(path)

    def _rewrite(
        self,
        segment: Segment,
        table: "pa.Table",
        mask: "np.ndarray",
        every: str,
        column: str | None,
        done: tuple[int, int],
    ) -> dict[str, Any]:
        """Writes the rows of a segment that stay beside the old ones; what the manifest says of them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        passed = done[1] if done[0] == segment.commit else 0
        empty, keep = mask.copy(), ~mask
        empty[passed:], keep[:passed] = False, True
        if empty.any():
            table = pa.table(
                {
                    name: pc.if_else(pa.array(empty), pa.scalar(None, values.type), values)
                    for name, values in zip(table.column_names, table.columns, strict=True)
                }
            )
        table = table.filter(pa.array(keep))
        if not table.num_rows:
            return dict(_NO_ROWS)
        name = f"data-{uuid.uuid4().hex[:8]}.parquet"
        beside = files.staging(segment.folder)
        try:
            fields = _write_rows(beside, table, every, column)
            files.commit_file(beside, segment.folder / name)
        finally:
            beside.unlink(missing_ok=True)
        return {**fields, "data": name}

    def _delete_data(self, number: int, but: str = "") -> None:
        """Deletes the data of a segment, except one file, and what a killed process has left of it."""
        for path in sorted(files.fetched(self._path(number)).iterdir()):
            if path.name != but and path.name.startswith(("data", files.STAGING)):
                files.remove_tree(path)

    def _sweep_dead(self) -> None:
        """Deletes drafts whose process is no longer there; those of a running ingester stay."""
        for path in (self.folder / "segments").glob(f"{files.STAGING}*"):
            pid = path.name.removeprefix(files.STAGING).partition("-")[0]
            if not _alive(int(pid)):
                files.remove_tree(path)

    def _add(self, beside: Path, state: State, fields: dict[str, Any], draft: Draft, now: float) -> Segment:
        parts = {
            partition: {"start": part.start, "first": part.first, "next": part.next, "rows": part.events}
            for partition, part in draft.parts.items()
        }
        target = self._path(state.commit)
        segment = Segment(commit=state.commit, parts=parts, created=now, state=state, folder=target, **fields)
        text = json.dumps(segment.to_json(), indent=1, ensure_ascii=False)
        (beside / MANIFEST).write_text(text, encoding="utf-8")
        files.commit_folder(beside, target)
        return segment

    def _base(self) -> tuple[State, set[int]]:
        path = self.folder / "positions.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return State.from_json(values["state"]), set(values["consumed"])
        except FileNotFoundError:
            return State(), set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(path, f"the stored positions cannot be read: {error}") from error

    def _numbers(self) -> list[int]:
        folder = self.folder / "segments"
        return (
            sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
            if folder.is_dir()
            else []
        )

    def _path(self, commit: int) -> Path:
        return self.folder / "segments" / f"{commit:012d}"


def changed(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two identities. What is not known is not compared."""
    return [
        name
        for name in {**stored, **found}
        if stored.get(name) is not None and found.get(name) is not None and stored[name] != found[name]
    ]


def changed_identity(where: Path, stored: Mapping[str, Any], found: Mapping[str, Any]) -> DataError:
    """The stored positions are those of another stream."""
    names = changed(stored, found)
    said = "; ".join(f"{name} was {stored[name]!r}, is {found[name]!r}" for name in names)
    again = {"topic_id", "created"} & {*names} and not {"topic", "stream"} & {*names}
    what = "the stream is another one than before"
    if again:
        what = f"the {'topic' if 'topic_id' in names else 'stream'} was deleted and created again"
    return DataError(
        f"{what}: {said}",
        where=where,
        next_step="correct `stream.source`, or name a new `home`; `noria ingest --accept-loss` reads the new stream "
        "from its beginning, and records that the rest of the old one is lost",
    )


def damaged(path: Path, what: str) -> DataError:
    """Something of the store cannot be read."""
    return DataError(
        what,
        where=path,
        next_step="restore it from a backup: it says up to which position events are in; without it events could be "
        "read twice (docs/streams.md)",
    )


def read_letters(path: Path, segment: int) -> list[dict[str, Any]]:
    """A file of dead letters of one segment."""
    try:
        text = files.fetched(path).read_text(encoding="utf-8")
        return [{"segment": segment, **json.loads(line)} for line in text.splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise damaged(path, f"dead letters cannot be read: {error}") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lines(letters: Iterable[dict[str, Any]]) -> str:
    """Dead letters as JSON lines."""
    return "".join(json.dumps(letter) + "\n" for letter in letters)


def _write(folder: Path, draft: Draft, every: str, column: str | None) -> dict[str, Any]:
    """Writes data and dead letters; what the manifest says of them."""
    import pyarrow as pa

    batches = [batch for part in draft.parts.values() for batch in part.batches if batch.num_rows]
    letters = [letter for part in draft.parts.values() for letter in part.letters]
    fields = {**_NO_ROWS, "data": DATA, "dead": len(letters)}
    if letters:
        (folder / LETTERS).write_text(lines(letters), encoding="utf-8", newline="\n")
    if batches:
        fields.update(_write_rows(folder / DATA, pa.Table.from_batches(batches), every, column))
    return fields


def _write_rows(path: Path, table: "pa.Table", every: str, column: str | None) -> dict[str, Any]:
    import numpy as np
    import pyarrow.parquet as pq

    from noria.core import periods

    # Read once, as a whole: dictionaries and statistics would double the time.
    pq.write_table(
        table, path, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
    )
    spans: dict[int, int] = {}
    if column is not None and periods.length(every):
        numbers, counts = np.unique(
            periods.number(every, table.column(column).to_numpy()), return_counts=True
        )
        spans = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    return {
        "rows": table.num_rows,
        "spans": spans,
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
    }


def _after(
    state: State, draft: Draft, identity: Mapping[str, Any], fenced: int, ends: Mapping[int, int], now: float
) -> State:
    """What is stored once a draft is committed."""
    clocks, following, counts = dict(state.clocks), dict(state.next), dict(state.counts)
    for partition, part in draft.parts.items():
        if not draft.replayed:
            following[partition] = part.next
            if part.times:
                clocks[partition] = watermark.advanced(clocks.get(partition), part.times, now)
        for name, count in (
            ("events", part.events),
            ("dead", len(part.letters)),
            ("tombstones", part.tombstones),
        ):
            counts[name] = counts.get(name, 0) + count
    counts["fenced"] = counts.get("fenced", 0) + fenced
    return dataclasses.replace(
        state,
        commit=state.commit + 1,
        identity={**state.identity, **{name: value for name, value in identity.items() if value is not None}},
        next=following,
        clocks=clocks,
        counts=counts,
        replayed=(*state.replayed, *draft.replayed),
        ends={**state.ends, **ends},
        looked=now,
    )


def accepted(state: State, losses: Sequence[dict[str, Any]], now: float) -> State:
    """What is stored once a person has accepted losses; each has `partition`, `from`, `to` and `reason`."""
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat(timespec="seconds")
    following = {**state.next, **{loss["partition"]: loss["to"] for loss in losses if loss["to"] is not None}}
    for loss in losses:
        if loss["to"] is None:
            following.pop(loss["partition"], None)
    written = tuple({"time": moment, **loss} for loss in losses)
    clocks = {partition: clock for partition, clock in state.clocks.items() if partition in following}
    return dataclasses.replace(
        state,
        commit=state.commit + 1,
        next=following,
        clocks=clocks,
        losses=(*state.losses, *written),
    )
