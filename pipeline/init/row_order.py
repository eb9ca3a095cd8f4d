"""What the order of the rows means in a table without a time: nothing, a sequence, or the label sorted."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

# Rows below which an order may be chance.
ENOUGH = 30
# Share of the changes from row to row that random order would have; below it the rows are sorted.
CHANGES = 0.2
# Gini impurity of a part's classes over that of all rows; above it the parts hold more than one class each.
IMPURITY = 0.7
# Correlation of a quantity's position with the row's number above which the rows are sorted.
CORRELATION = 0.9
RANDOM = (
    "the rows are in random order, so they are one span ({every}) and the first run trains on all of them; more rows "
    "make a new span when there are as many again: for a stream name its time with --time, or change span.every"
)
GROWING = (
    "{} follows the order of the rows, so each span has other values: the data gate ignores it (gates.data.ignore); if "
    "the values are no information for the model, leave it out with --drop"
)
# Chance of calling a table in random order a sequence, over all its columns and tests together.
LEVEL = 0.001
# A column of so few values that never fall may be a flag whose last value has come late.
MOST_LEVELS = 3
# A text column names groups of rows if it has so many values for each row, and so few rows have a value of an earlier
# part of the table.
GROUPS, COMES_BACK = 0.05, 0.05
# Parts that are compared with each other, and rows of a part below which they are not.
PARTS, PART_ROWS = 10, 20
MOST_ROWS = 200_000  # that are looked at, from the first on


def notes(label: pa.ChunkedArray, task: str, time: str | None) -> list[str]:
    """What `noria init` says about the order of the rows; nothing where a time gives it."""
    found = None if time else sorted_by(label, task)
    return [found] if found else []


def sorted_by(label: pa.ChunkedArray | pa.Array, task: str) -> str | None:
    """The note about a table that is sorted by its label, or None.

    Spans of such a table hold one class each, so each looks as if its labels were wrong. Classes are compared with the
    number of runs that random order gives (A. Wald and J. Wolfowitz, Ann. Math. Stat. 11, 1940), and the impurity of a
    part of the table with that of all rows: in a series of observations a class may last for many rows, and is no
    reason to shuffle them. Quantities are compared by Spearman's position correlation with the row's number.

    Args:
      label: the label's values in the order of the rows.
      task: `binary`, `multiclass` or `regression`.
    """
    values = label.combine_chunks() if isinstance(label, pa.ChunkedArray) else label
    values = pc.drop_null(values)
    if len(values) < ENOUGH:
        return None
    codes = pc.rank(values, tiebreaker="dense").to_numpy(zero_copy_only=False).astype(float)
    if task == "regression":
        position = np.arange(len(codes))
        known = np.ptp(codes) > 0 and abs(np.corrcoef(codes, position)[0, 1]) > CORRELATION
    else:
        impurity = _impurity(codes)
        expected = (len(codes) - 1) * impurity
        changes = np.count_nonzero(np.diff(codes))
        parts = np.mean([_impurity(part) for part in np.array_split(codes, _parts(len(codes)))])
        known = expected >= ENOUGH / 4 and changes < CHANGES * expected and parts < IMPURITY * impurity
    if not known:
        return None
    return (
        "the rows are sorted by their label, so each span would have little more than one class or level: shuffle them "
        "(on Linux: `(head -n 1 data.csv; tail -n +2 data.csv | shuf) > shuffled.csv`), or name a time with --time"
    )


def growing(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """The numeric columns that never fall from row to row (or never rise), such as a year or a counter.

    They follow the time: each span has other values, which is neither drift nor another unit.

    Args:
      table: the rows, in their order.
      columns: numeric columns.
    """
    found = []
    for name in columns:
        values = pc.drop_null(table.column(name)).to_numpy()
        steps = np.diff(values.astype(np.float64))
        if len(values) < ENOUGH or len(pc.unique(table.column(name))) <= MOST_LEVELS:
            continue
        if not (steps < 0).any() or not (steps > 0).any():
            found.append(name)
    return found


def transient(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """The columns of texts whose values do not come back, such as the number of an order or of a session.

    A model never sees such a value again after the span that it was in.

    Args:
      table: the rows, in the order of their time.
      columns: columns of texts.
    """
    found = []
    for name in columns:
        codes = table.column(name).combine_chunks().dictionary_encode().indices.fill_null(-1)
        codes = np.asarray(codes)
        codes = codes[codes >= 0]
        if len(codes) < ENOUGH or len(np.unique(codes)) < GROUPS * len(codes):
            continue
        parts = np.arange(len(codes)) * _parts(len(codes)) // len(codes)
        first = np.full(codes.max() + 1, len(codes))
        np.minimum.at(first, codes, parts)
        later = parts > 0
        if (first[codes] < parts)[later].mean() < COMES_BACK:
            found.append(name)
    return found


def _impurity(codes: np.ndarray) -> float:
    """Gini's: the chance that two rows, drawn with replacement, differ in their class."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(1 - (shares**2).sum())


def _parts(rows: int) -> int:
    return max(2, min(PARTS, rows // PART_ROWS))


def is_random(table: pa.Table, label: str, columns: Sequence[str]) -> bool:
    """Whether nothing shows that the order of the rows means something.

    Three tests for each column and the label: whether a row's position correlates with the next row's (A. Wald and
    J. Wolfowitz, Ann. Math. Stat. 14, 1943), whether the mean ranks of ten parts of the table differ (W. H. Kruskal and
    W. A. Wallis, J. Am. Stat. Assoc. 47, 1952), and whether the column's position correlation with the label differs
    between the parts (Fisher's z). A table is random if none is significant at LEVEL, corrected for their number.

    Args:
      table: the rows, in their order.
      label: the label's column.
      columns: columns that may be features.
    """
    if len(table) < ENOUGH:
        return False
    table = table.slice(0, MOST_ROWS)
    target = _ranks(table.column(label))
    parts = np.array_split(np.arange(len(table)), _parts(len(table)))
    chances = [*_chances(target, parts)]
    # A text's position means nothing, so its values are ranked by the label's mean among their rows.
    for name in columns:
        values = _ranks(table.column(name), target)
        chances += [*_chances(values, parts), _same_relation(values, target, parts)]
    return min(chances) * len(chances) > LEVEL


def _ranks(column: pa.ChunkedArray, target: np.ndarray | None = None) -> np.ndarray:
    """Ranks `[rows]` with mean 0 and deviation 1, missing values at 0; all 0 for a constant.

    Args:
      column: of any type that has an order, or texts.
      target: what texts are ordered by; None: by their own order.
    """
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if target is not None and (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        codes = values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
        means = np.bincount(codes, target) / np.maximum(1, np.bincount(codes))
        numbers = means[codes]
        known = codes > 0
    else:
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        known = values.is_valid().to_numpy(zero_copy_only=False)
        numbers = pc.rank(values, tiebreaker="dense").to_numpy(zero_copy_only=False).astype(float)
    ranks = np.zeros(len(numbers))
    if known.any():
        ranks[known] = stats.rankdata(numbers[known])
        ranks[known] -= ranks[known].mean()
    deviation = ranks.std()
    return ranks / deviation if deviation > 0 else ranks


def _chances(ranks: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """p-values of the next row's position and of the parts' means."""
    next_row = float((ranks[1:] * ranks[:-1]).sum()) / np.sqrt(len(ranks))
    between = float(sum(len(part) * ranks[part].mean() ** 2 for part in parts))
    return 2 * float(stats.norm.sf(abs(next_row))), float(stats.chi2.sf(between, len(parts) - 1))


def _same_relation(ranks: np.ndarray, target: np.ndarray, parts: Sequence[np.ndarray]) -> float:
    """p-value of one correlation of two columns in all parts."""
    found = []
    for part in parts:
        a, b = ranks[part] - ranks[part].mean(), target[part] - target[part].mean()
        scale = np.sqrt((a**2).sum() * (b**2).sum())
        if scale > 0:
            found.append((np.arctanh(np.clip((a * b).sum() / scale, -0.999, 0.999)), len(part) - 3))
    if len(found) < 2:
        return 1.0
    z, weight = np.array(found).T
    mean = (z * weight).sum() / weight.sum()
    return float(stats.chi2.sf((weight * (z - mean) ** 2).sum(), len(z) - 1))
