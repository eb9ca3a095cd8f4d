"""Places: which rows of a source the spans have, so that none is committed twice and none is missing.

A row's place is its number, from 0, among the source's own rows in the order in which they are cut into spans: by
time where there is a time, else in the source's order. It is the same in each ingestion of the source.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from noria.stores.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows of one source in one span, as its manifest tells.

    Attributes:
      digest: sha256 of the source.
      span: id of the span.
      rows: how many.
      first: place of the first one, the others follow; None for spans of time.
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
      gone: those of spans that were deleted, such as a damaged one.
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


def find(pieces: Sequence[Piece], entry: Mapping[str, Any], ids: Collection[int]) -> Places:
    """The places of one source.

    Args:
      pieces: what the spans have of it.
      entry: the ledger's entry of it; empty without one.
      ids: the spans that are there.
    """
    ranges = [Range(first, first + count, span) for span, first, count in entry.get("ranges", ())]
    here, at = [], 0
    for piece in sorted(pieces, key=lambda piece: (piece.span, piece.first or 0)):
        first = at if piece.first is None else piece.first  # a span of time has its rows in order
        here.append(Range(first, first + piece.rows, piece.span))
        at = first + piece.rows
    return Places(here, [each for each in ranges if each.span not in ids])
