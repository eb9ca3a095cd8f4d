"""The maths of moving a model to a refreshed transform graph. Needs numpy only.

Entries of a vocabulary are found again by what they say, not by their number; numbers are found again by the
straight line between what the old and the new graph make of the same raw rows.
"""

import dataclasses

import numpy as np

TOLERANCE = 1e-5  # residual of the line, relative to the spread of the old values


@dataclasses.dataclass(frozen=True)
class RowMap:
    """For each new row of a table indexed by id: the old row that it continues, or -1 for a new one.

    Attributes:
      source: int64 `[new rows]`.
      unknown: old rows of unknown values: what a new entry was until now.
      detail: what happened, for people.
      agree: share of sampled rows that mean what they meant, 1 where entries say so.
    """

    source: np.ndarray
    unknown: np.ndarray
    detail: str
    agree: float = 1.0

    @property
    def identical(self) -> bool:
        return self.agree == 1.0 and bool(np.array_equal(self.source, np.arange(len(self.source))))

    def apply(self, table: np.ndarray, new_entries: str = "oov") -> np.ndarray:
        """Moves the rows of a table `[old rows, ...]`.

        Args:
          table: the champion's weights.
          new_entries: `oov`: new entries start from the mean of the old unknown rows, where there are any;
            `mean`: from the mean of all old rows; `zero` (optimizer slots): from 0.
        """
        if new_entries == "zero":
            start = np.zeros(table.shape[1:], table.dtype)
        elif new_entries == "oov" and len(self.unknown):
            start = table[self.unknown].mean(0, dtype=np.float64).astype(table.dtype)
        else:
            start = table.mean(0, dtype=np.float64).astype(table.dtype)
        moved = table[np.maximum(self.source, 0)].copy()
        moved[self.source < 0] = start
        return moved


def map_vocabulary(
    old: list[bytes], new: list[bytes], old_rows: int, new_rows: int, old_lowest: int = 0, new_lowest: int = 0
) -> RowMap:
    """Maps rows by vocabulary entry.

    Entry i has the id i, and so the row i - lowest. Rows before (id -1) and after the entries (hash buckets)
    are for unknown values; they keep their order, and any further ones continue the last old one.

    >>> map_vocabulary([b"a", b"b"], [b"c", b"b", b"a"], old_rows=3, new_rows=4).source.tolist()
    [-1, 1, 0, 2]
    """
    positions = {entry: i - old_lowest for i, entry in enumerate(old)}
    source = np.full(new_rows, -1, np.int64)
    for i, entry in enumerate(new):
        source[i - new_lowest] = positions.get(entry, -1)
    unknown_old = _unknown(len(old), old_rows, old_lowest)
    unknown_new = _unknown(len(new), new_rows, new_lowest)
    if len(unknown_old):
        for i, row in enumerate(unknown_new):
            source[row] = unknown_old[min(i, len(unknown_old) - 1)]
    known = set(new)
    gone = [entry for entry in old if entry not in known]
    added = sum(entry not in positions for entry in new)
    moved = sum(positions.get(entry, i - new_lowest) != i - new_lowest for i, entry in enumerate(new))
    detail = f"{len(old)} entries -> {len(new)}: {added} new, {len(gone)} gone, {moved} moved"
    return RowMap(source, unknown_old, detail)


def _unknown(entries: int, rows: int, lowest: int) -> np.ndarray:
    return np.asarray([row for row in range(rows) if not 0 <= row + lowest < entries], np.int64)


def map_ids(old: np.ndarray, new: np.ndarray, old_rows: int, new_rows: int) -> RowMap:
    """Maps rows of a feature without a vocabulary (buckets) by what both graphs gave the same raw rows.

    Each new id continues the old id that most of its rows had; an id that no row has, the same id.

    Args:
      old: ids `[n]` from 0 by the champion's graph.
      new: ids `[n]` from 0 of the same rows by the new graph.
    """
    seen = np.zeros((new_rows, old_rows), np.int64)
    np.add.at(seen, (new, old), 1)
    source = np.arange(new_rows, dtype=np.int64)
    source[source >= old_rows] = -1
    met = seen.sum(1) > 0
    source[met] = seen[met].argmax(1)
    agree = float((source[new] == old).mean()) if len(new) else 1.0
    detail = f"{agree:.2%} of {len(new)} sampled rows keep the weights of their old id"
    return RowMap(source, np.zeros(0, np.int64), detail, agree)


@dataclasses.dataclass(frozen=True)
class Line:
    """old = scale * new + shift, with the largest residual relative to the spread of the old values.

    `missing` are the old and the new value of a missing number, which may not be on the line.
    """

    scale: float
    shift: float
    residual: float
    missing: tuple[float, float] | None = None

    @property
    def exact(self) -> bool:
        return self.residual <= TOLERANCE

    @property
    def identical(self) -> bool:
        fills = self.missing is None or self.missing[0] == self.missing[1]
        return self.scale == 1.0 and self.shift == 0.0 and fills

    def __str__(self) -> str:
        missing = f", missing {self.missing[0]:.6g} = {self.missing[1]:.6g}" if self.missing else ""
        return f"old = {self.scale:.9g} * new + {self.shift:.9g}{missing}, residual {self.residual:.1e}"


def fit_line(old: np.ndarray, new: np.ndarray, missing: tuple[float, float] | None = None) -> Line:
    """Least squares in float64 of the champion's values against the new graph's values of the same rows.

    Args:
      old: values `[n]` by the champion's graph.
      new: values `[n]` of the same rows by the new graph.
      missing: what a missing number becomes by the old and by the new graph. Rows like that do not count in
        the fit: where they are filled with the mean, the mean has moved and they have not.

    >>> line = fit_line(old=np.array([0.0, 1.0, 2.0]), new=np.array([10.0, 12.0, 14.0]))
    >>> round(line.scale, 6), round(line.shift, 6), line.exact
    (0.5, -5.0, True)
    """
    good = np.isfinite(old) & np.isfinite(new)
    if missing is not None:
        good &= (old != missing[0]) | (new != missing[1])
    old, new = old[good].astype(np.float64), new[good].astype(np.float64)
    if not len(old) or np.array_equal(old, new):
        scale, shift, residual = 1.0, 0.0, 0.0
    else:
        centre_old, centre_new = old.mean(), new.mean()
        variance = np.square(new - centre_new).sum()
        # Of one value only, a shift is all that can be seen.
        scale = float(((new - centre_new) * (old - centre_old)).sum() / variance) if variance else 1.0
        shift = float(centre_old - scale * centre_new)
        spread = np.abs(old - centre_old).max() or 1.0
        residual = float(np.abs(scale * new + shift - old).max() / spread)
    return Line(scale, shift, residual, missing)
