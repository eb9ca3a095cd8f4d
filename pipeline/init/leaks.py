"""Columns that give the label away: they rarely are known when a prediction is requested."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

MOST_ROWS = 200_000  # that are looked at, from the first on
# What a column alone must explain in the rows that did not teach it: of the wrong guesses, or of a quantity's variance.
EXPLAINED = 0.98
# Rows that a guess must get wrong, so that it is no chance to get them right.
ENOUGH = 20
# With at most so many different numbers each is one value; with more, the nearest learned number counts.
FEW = 50


def found(table: pa.Table, label: pa.Array, columns: Sequence[str], classes: bool) -> list[str]:
    """The columns from which alone the label can be read.

    Each second row tells what label a value has; the other rows tell how often that is right.

    Args:
      table: the rows.
      label: class numbers or a quantity, `[rows]`, null where it is missing.
      columns: columns of numbers or texts.
      classes: whether the label holds classes.
    """
    table, label = table.slice(0, MOST_ROWS), label.slice(0, MOST_ROWS)
    known = label.is_valid()
    target = np.asarray(label.filter(known), float)
    learn = np.arange(len(target)) % 2 == 0
    leaks = []
    for name in columns:
        codes = _codes(table.column(name).filter(known).combine_chunks(), learn)
        explained = _classes if classes else _quantity
        if explained(codes, target, learn) >= EXPLAINED:
            leaks.append(name)
    return leaks


def notes(leaks: Sequence[str]) -> list[str]:
    """What `noria init` says about them."""
    return [
        f"{name} alone tells the label of nearly every row: leave it out with --drop if it is known only afterwards"
        for name in leaks
    ]


def _codes(values: pa.Array, learn: np.ndarray) -> np.ndarray:
    """Numbers of the values, `[rows]`; 0 for a missing one."""
    coded = values.dictionary_encode()
    if pa.types.is_string(values.type) or len(coded.dictionary) <= FEW:
        return np.asarray(coded.indices.fill_null(-1)) + 1
    numbers = np.asarray(values.cast(pa.float64(), safe=False).fill_null(np.nan))
    learnt = np.unique(numbers[learn & ~np.isnan(numbers)])
    if not len(learnt):
        return np.zeros(len(numbers), int)
    above = np.searchsorted(learnt, numbers).clip(max=len(learnt) - 1)
    below = (above - 1).clip(min=0)
    nearest = np.where(numbers - learnt[below] < learnt[above] - numbers, below, above)
    return np.where(np.isnan(numbers), 0, nearest + 1)


def _classes(codes: np.ndarray, target: np.ndarray, learn: np.ndarray) -> float:
    target = target.astype(int)
    counts = np.zeros((codes.max(initial=0) + 1, target.max(initial=0) + 1), np.int32)
    np.add.at(counts, (codes[learn], target[learn]), 1)
    usual = counts.sum(0).argmax()
    guess = np.where(counts.any(1), counts.argmax(1), usual)
    wrong = np.count_nonzero(guess[codes[~learn]] != target[~learn])
    by_chance = np.count_nonzero(target[~learn] != usual)
    return 1 - wrong / by_chance if by_chance >= ENOUGH else 0.0


def _quantity(codes: np.ndarray, target: np.ndarray, learn: np.ndarray) -> float:
    size = codes.max(initial=0) + 1
    rows = np.bincount(codes[learn], minlength=size)
    sums = np.bincount(codes[learn], target[learn], minlength=size)
    mean = target[learn].mean() if learn.any() else 0.0
    guess = np.where(rows > 0, sums / np.maximum(rows, 1), mean)
    spread = ((target[~learn] - mean) ** 2).sum()
    missed = ((target[~learn] - guess[codes[~learn]]) ** 2).sum()
    return 1 - missed / spread if spread > 0 and len(target) >= 2 * ENOUGH else 0.0
