"""Spans of a period, from a second to a week: a row belongs to the period of its time."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from noria.core.periods import number, start
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.formats import Rows, Table
from noria.ingestion.partition import Partition
from noria.ingestion.span_assigners.base import SOURCE, SpanAssigner, beside


class PeriodAssigner(SpanAssigner):
    """Assigns rows by their time.

    Args:
      tables: the tables.
      every: the period (`noria.core.periods.length`).
      time: the time column.
      first: number of the period that is span 1; None: the earliest one.
      done: sha256 of a source and id of a span: its rows there are committed, or were replaced by corrected ones.
      letters: gets the rows before the first span.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        every: str,
        time: str,
        first: int | None,
        done: Collection[tuple[str, int]],
        letters: DeadLetters,
    ):
        super().__init__(tables)
        self._index = {digest: i for i, digest in enumerate(self.sources)}
        self._every = every
        self._time = time
        self._done: dict[str, list[int]] = {}
        for digest, span in done:
            self._done.setdefault(digest, []).append(span)
        self._letters = letters
        self.first = first

    def sort(self, parts: Iterator[Rows], partition: Partition) -> None:
        for part in parts:
            self.seen[part.table.name] += part.batch.num_rows
            part, periods = self._new(part)
            source = np.full(len(periods), self._index[part.table.digest], np.int32)
            partition.add(beside(part.batch, **{SOURCE: source}), periods)
        if self.first is None and partition.spans:
            self.first = partition.spans[0]

    def span_of(self, key: int) -> int:
        assert self.first is not None, "the first period is given, or `sort` has found it"
        return key - self.first + 1

    def _new(self, part: Rows) -> tuple[Rows, np.ndarray]:
        """The rows that are not committed already, and their periods."""
        times = np.asarray(part.batch.column(part.batch.schema.get_field_index(self._time)))
        periods = number(self._every, times)
        if self.first is None:
            return part, periods
        early = periods < self.first
        for i in map(int, np.flatnonzero(early)):
            begin = start(self._every, self.first)
            self._letters.add(
                part.table.name,
                int(part.numbers[i]),
                part.text(i),
                f"is before the first span, which begins on {begin}",
                self._time,
                str(times[i]),
            )
        self.seen[part.table.name] -= int(early.sum())
        done = np.asarray(self._done.get(part.table.digest, []), np.int64) + self.first - 1
        keep = ~early & ~np.isin(periods, done)
        return part.filter(keep), periods[keep]
