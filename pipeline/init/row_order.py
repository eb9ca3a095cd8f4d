"""Whether a table without a time is sorted by its label."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Rows below which an order may be chance.
ENOUGH = 30
# Share of the changes from row to row that random order would have; below it the rows are sorted.
CHANGES = 0.2
# Correlation of a quantity's rank with the row's number above which the rows are sorted.
CORRELATION = 0.9


def notes(label: pa.ChunkedArray, task: str, time: str | None) -> list[str]:
    """What `noria init` says about the order of the rows; nothing where a time gives it."""
    found = None if time else sorted_by(label, task)
    return [found] if found else []


def sorted_by(label: pa.ChunkedArray | pa.Array, task: str) -> str | None:
    """The note about a table that is sorted by its label, or None.

    Spans of such a table hold one class each, so each looks as if its labels were wrong. Classes are compared with the
    number of runs that random order gives (A. Wald and J. Wolfowitz, Ann. Math. Stat. 11, 1940), quantities by
    Spearman's rank correlation with the row's number.

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
        place = np.arange(len(codes))
        known = np.ptp(codes) > 0 and abs(np.corrcoef(codes, place)[0, 1]) > CORRELATION
    else:
        shares = np.unique(codes, return_counts=True)[1] / len(codes)
        expected = (len(codes) - 1) * (1 - (shares**2).sum())
        changes = np.count_nonzero(np.diff(codes))
        known = expected >= ENOUGH / 4 and changes < CHANGES * expected
    if not known:
        return None
    return (
        "the rows are sorted by their label, so a span would hold hardly more than one class or level: shuffle them "
        "(on Linux: `(head -n 1 data.csv; tail -n +2 data.csv | shuf) > shuffled.csv`), or name a time with --time"
    )
