"""Which rows of a source the spans have, so that none is committed twice and none is missing.

A row's offset is its number, from 0, among the source's own rows in the order in which they are cut into spans: by
time where there is a time, else in the source's order. It is the same in each ingestion of the source.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from noria.stores.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class SourceRows:
    """Rows of one source in one span, as its manifest tells.

    Attributes:
      digest: sha256 of the source.
      span: id of the span.
      rows: how many.
      first: offset of the first one, the others follow; None for spans of time.
    """

    digest: str
    span: int
    rows: int
    first: int | None


def rows_of_sources(manifests: Iterable[Manifest]) -> list[SourceRows]:
    """What the spans have of which source."""
    return [
        SourceRows(source.get("sha256") or "", manifest.span, int(source.get("rows", 0)), source.get("first"))
        for manifest in manifests
        for source in manifest.sources
    ]


@dataclasses.dataclass(frozen=True)
class Range:
    """The offsets `first` to `end` (exclusive) of a source are, or were, in a span."""

    first: int
    end: int
    span: int


class SourceOffsets:
    """The offsets of one source.

    Args:
      here: those that spans have.
      removed: those of spans that were deleted, such as a damaged one.
    """

    def __init__(self, here: Iterable[Range] = (), removed: Iterable[Range] = ()):
        self.here = list(here)
        self.removed = list(removed)

    def committed(self, offsets: np.ndarray) -> np.ndarray:
        """Which of these offsets spans have, `[offsets]`."""
        known = np.zeros(len(offsets), bool)
        for each in self.here:
            known |= (offsets >= each.first) & (offsets < each.end)
        return known

    def deleted(self, offsets: np.ndarray) -> np.ndarray:
        """Ids of the spans that had these offsets and are deleted, `[offsets]`; 0 for all others."""
        spans = np.zeros(len(offsets), np.int64)
        for each in self.removed:
            spans[(offsets >= each.first) & (offsets < each.end)] = each.span
        return spans


def find(source_rows: Sequence[SourceRows], entry: Mapping[str, Any], ids: Collection[int]) -> SourceOffsets:
    """The offsets of one source.

    Args:
      source_rows: what the spans have of it.
      entry: the ledger's entry of it; empty without one.
      ids: the spans that are there.
    """
    ranges = [Range(first, first + count, span) for span, first, count in entry.get("ranges", ())]
    here, at = [], 0
    for part in sorted(source_rows, key=lambda part: (part.span, part.first or 0)):
        first = at if part.first is None else part.first  # a span of time has its rows in order
        here.append(Range(first, first + part.rows, part.span))
        at = first + part.rows
    return SourceOffsets(here, [each for each in ranges if each.span not in ids])
