"""Places: which rows of a source the spans have, so that none is committed twice and none is left out.

A row's place is its number, from 0, among the source's own rows in the order in which they are cut into spans: by
time where there is a time, else as they stand. It is the same in each ingestion of the source.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from noria.core.errors import SpanError
from noria.stores.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows of one source in one span, as its manifest tells.

    Attributes:
      digest: sha256 of the source.
      span: id of the span.
      rows: how many.
      first: place of the first one, the others follow; None for spans of time, and where an earlier version of
        Noria, which did not write it down, made the span.
    """

    digest: str
    span: int
    rows: int
    first: int | None


def pieces_of(manifests: Iterable[Manifest]) -> list[Piece]:
    """What the spans have of which source."""
    return [
        Piece(source.get("sha256") or "", manifest.span, int(source.get("rows", 0)), source.get("first"))
        for manifest in manifests
        for source in manifest.sources
    ]


@dataclasses.dataclass(frozen=True)
class Range:
    """Places `first` to `end` (exclusive) of a source are, or were, in a span."""

    first: int
    end: int
    span: int


class Places:
    """The places of one source.

    Args:
      here: those that spans have.
      gone: those of spans that are not there any more: somebody deleted a damaged one.
    """

    def __init__(self, here: Iterable[Range] = (), gone: Iterable[Range] = ()):
        self.here = list(here)
        self.gone = list(gone)

    def committed(self, places: np.ndarray) -> np.ndarray:
        """Which of these places spans have, `[places]`."""
        known = np.zeros(len(places), bool)
        for each in self.here:
            known |= (places >= each.first) & (places < each.end)
        return known

    def homes(self, places: np.ndarray) -> np.ndarray:
        """Ids of the spans that had these places and are gone, `[places]`; 0 for all others."""
        spans = np.zeros(len(places), np.int64)
        for each in self.gone:
            spans[(places >= each.first) & (places < each.end)] = each.span
        return spans


def find(
    pieces: Sequence[Piece],
    entry: Mapping[str, Any],
    ids: Collection[int],
    rows: int,
    size: int,
    had: Collection[int] | None = None,
    others: Collection[int] = (),
) -> Places:
    """The places of one source.

    Args:
      pieces: what the spans have of it.
      entry: the ledger's entry of it; its `name` alone without one.
      ids: the spans that are there.
      rows: all own rows of the source.
      size: rows of a span.
      had: the spans that its rows were in when all were committed; None if that was never so.
      others: spans that had rows of other sources, and maybe none of this one.

    Raises:
      SpanError: an earlier version of Noria committed its rows, and spans at several places are gone: which rows
        they had was not written down.
    """
    ranges = [Range(first, first + count, span) for span, first, count in entry.get("ranges", ())]
    known = {(each.span, each.end - each.first): each.first for each in ranges}
    gone = [each for each in ranges if each.span not in ids]
    pieces = sorted(pieces, key=lambda piece: (piece.span, piece.first or 0))
    # Where nothing is written down: rows were committed in their order, so what is missing stood where deleted spans
    # did. Of a source that was never committed whole it is not known how much is missing.
    missing = rows - sum(piece.rows for piece in pieces)
    lost: list[int] = []
    if not ranges and (not pieces or any(piece.first is None for piece in pieces)):
        if had is not None and missing > 0:
            lost = sorted(set(had) - set(ids) - set(others))
        elif had is None and pieces:
            lost = sorted(set(range(1, pieces[-1].span)) - set(ids) - set(others))
    holes = {sum(piece.span < span for piece in pieces) for span in lost}
    if len(holes) > 1 or (lost and had is None):
        raise SpanError(
            f"spans {', '.join(map(str, lost))} are gone, and an earlier version of Noria did not write down which "
            "rows they had",
            where=f"the spans of {entry['name']}",
            next_step="restore them (all but one may do) from a backup, or name another folder as `home`: the next "
            "run fills it from the source",
        )
    here, at = [], 0
    for i, piece in enumerate([*pieces, None]):
        if i in holes:
            starts = range(at, at + missing, size)
            gone += [
                Range(first, min(first + size, at + missing), span)
                for first, span in zip(starts, lost, strict=False)
            ]
            at += missing
        if piece is not None:
            first = piece.first if piece.first is not None else known.get((piece.span, piece.rows), at)
            here.append(Range(first, first + piece.rows, piece.span))
            at = first + piece.rows
    return Places(here, gone)
