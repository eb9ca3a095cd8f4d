"""Which rows a step trains on: a pure function of seed, window and global step. Needs numpy only.

The rows of a window follow each other, pass after pass, each pass in another random order; step s of a window takes
rows (s - origin) * batch_size and the following ones. `origin` is the global step at which training on this window
began. So a run on the same window continues the stream of the champion, and one on another window begins a new pass.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np


def rows_of(seed: int, origin: int, rows: int, first: int, count: int) -> np.ndarray:
    """Row numbers at positions first .. first+count-1 of the stream: int32 `[count]`.

    >>> rows_of(seed=1, origin=0, rows=4, first=0, count=8).tolist()
    [0, 1, 2, 3, 2, 0, 1, 3]
    >>> rows_of(seed=1, origin=0, rows=4, first=3, count=3).tolist()
    [3, 2, 0]
    """
    parts, end = [], first + count
    while first < end:
        number, start = divmod(first, rows)
        parts.append(_order(seed, origin, number, rows)[start : start + end - first])
        first += len(parts[-1])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=1)  # consecutive calls are of one pass: 5 million rows take 0.1 s and 20 MB
def _order(seed: int, origin: int, number: int, rows: int) -> np.ndarray:
    """The order of one pass: int32 `[rows]`."""
    return np.random.default_rng([seed, origin, number]).permutation(rows).astype(np.int32)


def calls(steps: int, per_call: int, check_every: int | None) -> Iterator[int]:
    """Splits steps into calls of at most `per_call`, none of which runs past a check.

    >>> list(calls(steps=25, per_call=8, check_every=10))
    [8, 2, 8, 2, 5]
    """
    done = 0
    while done < steps:
        size = min(per_call, steps - done)
        if check_every:
            size = min(size, check_every - done % check_every)
        yield size
        done += size


def steps_of(epochs: float, rows: int, batch_size: int) -> int:
    """Steps that see every row `epochs` times."""
    return max(1, math.ceil(epochs * rows / batch_size))
