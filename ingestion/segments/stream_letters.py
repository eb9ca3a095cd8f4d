"""The dead letters of a stream: each with partition, offset and reason. A replayed one is in once."""

import base64
from collections.abc import Collection
from typing import Any

from noria.core import files
from noria.core.errors import DataError
from noria.ingestion.segments.ingester import Ingester
from noria.ingestion.segments.segment_store import Draft, Part, SegmentStore, read_letters
from noria.ingestion.streams.base import Messages

__all__ = ["find", "letters", "name_of", "replay"]


def name_of(letter: dict[str, Any]) -> str:
    """How people name a dead letter: `segment-partition-offset`. A topic that is made again has old offsets again."""
    return f"{letter['segment']}-{letter['partition']}-{letter['offset']}"


def letters(segments: SegmentStore) -> list[dict[str, Any]]:
    """All dead letters that were not replayed, in the order of segment, partition and offset.

    Raises:
      DataError: a file is damaged.
    """
    with segments.hold(read=True):
        replayed = set(segments.state().replayed)
        found = [each for segment in segments.pending() for each in segment.letters()]
        for path in sorted(files.fetched(segments.home / "dead-letters").glob("stream-*.jsonl")):
            found += read_letters(path, int(path.stem.split("-")[1]))
    known = {name_of(each): each for each in found}
    left = [each for name, each in known.items() if name not in replayed]
    return sorted(left, key=lambda each: (each["segment"], each["partition"], each["offset"]))


def find(segments: SegmentStore, name: str) -> dict[str, Any]:
    """One dead letter.

    Raises:
      DataError: there is none of that name.
    """
    for each in letters(segments):
        if name_of(each) == name:
            return each
    raise DataError(
        f"there is no dead letter {name!r}",
        where=segments.home / "dead-letters",
        next_step="`noria deadletter list` shows their names",
    )


def replay(work: Ingester, names: Collection[str] | None = None) -> tuple[list[str], list[dict[str, Any]]]:
    """Reads dead letters again, with today's config, and commits those that can be read as one segment.

    Args:
      work: the project's ingester; it may not have run yet.
      names: the letters; None for all.

    Returns:
      The names of those that are in now, and the letters that still cannot be read, each with today's reason.
    """
    segments = work.segments
    chosen = [each for each in letters(segments) if names is None or name_of(each) in names]
    for name in names or ():
        find(segments, name)
    decoder = work.decoder()
    if not chosen or decoder is None:
        return [], chosen
    draft, bad, good = Draft(), [], []
    for each in chosen:
        value = base64.b64decode(each["base64"]) if "base64" in each else each["value"].encode()
        headers = {name: text.encode() for name, text in each.get("headers", {}).items()}
        partition, offset = each["partition"], each["offset"]
        messages = Messages(partition, offset, [offset], [each["time"]], [value], offset + 1, [headers])
        rows, dead = work.decoded(decoder, messages)
        if dead:
            bad.append({**each, "reason": dead[0]["reason"]})
            continue
        part = draft.parts.setdefault(partition, Part(start=None, first=offset, next=offset + 1))
        part.batches.append(rows)
        part.events += 1
        part.next = offset + 1
        good.append(name_of(each))
    if good:
        draft.replayed = tuple(good)
        segment, _ = segments.commit(
            draft,
            identity={},
            every=work.settings.every,
            column=work.settings.time,
            ends={},
            now=work.now(),
        )
        if segment is None:
            raise DataError(
                "another process has replayed some of these dead letters at the same time",
                where=segments.folder,
                next_step="run the command again",
            )
    return good, bad
