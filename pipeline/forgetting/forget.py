"""Forgets keys: first the intent is written down, then each store is rewritten, then the end is written down.

A process that is killed anywhere leaves the request; the next `noria forget`, or `noria run`, finishes it. Each store
is whole at any time, and a store without rows of the key is not changed.
"""

import collections
import contextlib
import dataclasses
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import DataError, did_you_mean
from noria.core.locks import hold
from noria.ingestion.calendar import Calendar
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.config import Config
from noria.pipeline.forgetting import in_spans, in_warmup
from noria.pipeline.forgetting.caches import in_caches
from noria.pipeline.forgetting.change import Change
from noria.pipeline.forgetting.forget_request import Request
from noria.pipeline.forgetting.in_dead_letters import in_dead_letters
from noria.pipeline.forgetting.keys import Keys
from noria.pipeline.forgetting.row_files import in_tables
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore

__all__ = ["Forgotten", "finish", "forget"]


@dataclasses.dataclass(frozen=True)
class Forgotten:
    """What was changed, or what would be.

    Attributes:
      changes: store by store; empty where a request of before was finished.
      rows: by store.
      spans: ids of the spans that held a key.
      versions: numbers of the model versions that were trained on one of these spans, and whose files are there.
      warmups: those of them whose warm-up file holds a row of a key.
      done: False for a dry run.
    """

    changes: tuple[Change, ...]
    rows: dict[str, int]
    spans: tuple[int, ...]
    versions: tuple[int, ...]
    warmups: tuple[int, ...]
    done: bool


def forget(
    config: Config,
    keys: Keys,
    *,
    reason: str,
    actor: str,
    predictions: Sequence[Path] = (),
    dry_run: bool = False,
    wait: float = 0,
) -> Forgotten:
    """Removes all rows of some keys from the home permanently.

    A request of before that was killed is finished first.

    Args:
      config: the project's settings.
      keys: whose rows.
      reason: why; `actor`: who asks.
      predictions: folders of prediction logs outside of the home.
      dry_run: find the rows, change nothing.
      wait: seconds to wait for a run that holds the project.

    Raises:
      DataError: there is no reason, no such column, or a store cannot be read.
      LockedError: a run holds the project.
    """
    home = config.home_path
    if not reason.strip() and not dry_run:
        raise DataError("forgetting needs a reason", where="noria forget", next_step='add --reason "..."')
    with hold(home, wait=wait):
        _check_columns(home, keys)
        finished = None if dry_run else finish(config)
        found = _everywhere(home, config, keys, (), predictions, only_find=True)
        if not found and finished is not None and finished.keys == keys:  # the same command again
            known = finished.report["found"]
            numbers = {name: tuple(known[name]) for name in ("spans", "versions", "warmups")}
            return Forgotten(changes=(), rows=known["rows"], done=True, **numbers)
        forgotten = _forgotten(home, keys, found, done=not dry_run)
        if dry_run:
            return forgotten
        names = ("rows", "spans", "versions", "warmups")
        report = {
            "columns": list(keys.columns),
            "keys": len(keys.keys),
            "keys_sha256": keys.digest,
            "found": {name: getattr(forgotten, name) for name in names},
        }
        held = tuple(_versions_of(found))
        request = Request(uuid.uuid4().hex, keys, reason, actor, held, report, tuple(predictions))
        # The intent first: whatever has changed, it is known why.
        request.save(home)
        _carry_out(home, config, request)
        return forgotten


def finish(config: Config) -> Request | None:
    """Finishes the request that was killed, if there is one, and returns it; the caller holds the home."""
    request = Request.load(config.home_path)
    if request is not None:
        _carry_out(config.home_path, config, request)
    return request


def _carry_out(home: Path, config: Config, request: Request) -> None:
    registry = Registry(home)
    if registry.is_forgetting(request.id) is None:
        registry.record_forgetting(request.id, request.reason, request.actor, request.report)
    _everywhere(home, config, request.keys, request.spans, request.predictions, only_find=False)
    if registry.is_forgetting(request.id) != "done":
        registry.record_forgotten(request.id)
    Request.end(home)


def _everywhere(
    home: Path,
    config: Config,
    keys: Keys,
    held: Sequence[tuple[int, int]],
    predictions: Sequence[Path],
    only_find: bool,
) -> list[Change]:
    """All stores of the home, and of the homes of its replays; `held` are versions that held a key before."""
    found: list[Change] = []
    for each in (home, *sorted(path for path in (home / "replays").glob("*") if path.is_dir())):
        segments = SegmentStore(each)
        waiting = segments.hold() if segments.folder.is_dir() else contextlib.nullcontext()
        with hold(each), SpanStore(each).hold(), waiting:
            mine = in_spans.in_segments(each, config, keys, only_find)
            mine += in_dead_letters(each, keys, only_find)
            mine += in_spans.in_landing(each, keys, only_find)
            rewritten = in_spans.in_spans(each, keys, only_find)
            mine += rewritten
            mine += in_caches(each, {*held, *_versions_of(rewritten)}, only_find)
            mine += in_tables(each, each, keys, only_find)
        prefix = "" if each == home else f"{each.relative_to(home).as_posix()}/"
        found += [dataclasses.replace(change, name=f"{prefix}{change.name}") for change in mine]
    for folder in predictions:
        found += in_tables(home, folder, keys, only_find)
    return found


def _versions_of(changes: Sequence[Change]) -> list[tuple[int, int]]:
    """The versions of spans among some changes, in the home or in a replay's."""
    names = [change.name.split("/")[-2:] for change in changes if change.store == "spans"]
    return sorted({(int(span), int(version[1:])) for span, version in names})


def _forgotten(home: Path, keys: Keys, found: list[Change], done: bool) -> Forgotten:
    ids = sorted({span for span, _ in _versions_of(found)})
    trained = [
        version
        for version in Registry(home).versions()
        if set(ids) & {version.span, *version.spans} and files.fetched(Path(version.payload)).is_dir()
    ]
    rows: collections.Counter[str] = collections.Counter()
    for change in found:
        rows[change.store] += change.rows or 0
    return Forgotten(
        changes=tuple(found),
        rows={store: count for store, count in rows.items() if count},
        spans=tuple(ids),
        versions=tuple(version.version for version in trained),
        warmups=tuple(version.version for version in trained if in_warmup.holds(version, keys)),
        done=done,
    )


def _check_columns(home: Path, keys: Keys) -> None:
    store = SpanStore(home)
    calendar = in_spans.calendar_of(store)
    known: Any = calendar.columns if calendar is not None else SegmentStore(home).columns()
    for column in keys.columns:
        if known and column not in known and column not in _special(calendar):
            raise DataError(
                f"the spans have no column {column!r}, only: {', '.join(known)}",
                where="noria forget",
                next_step=did_you_mean(column, known)
                or "name the column that identifies what is to be forgotten",
            )


def _special(calendar: Calendar | None) -> tuple[str | None, ...]:
    return () if calendar is None else (calendar.label, calendar.time)
