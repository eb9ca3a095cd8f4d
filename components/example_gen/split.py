"""The split of a row: by its place in the span, or by the hash of its key, with which no row ever changes sides.

Neighbours in time are alike: a model that has seen both neighbours of a row knows its label better than that of any
row of the next span. So whole blocks of consecutive rows are held out (Roberts et al., "Cross-validation
strategies for data with temporal, spatial, hierarchical, or phylogenetic structure", 2017).

The hash is that of the key's text, not of Arrow's or tf.Example's bytes. These change with the release, and a column
that gets its first null would change its type, and the split of every row.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from noria.core import splitmix64

_MISSING = "\x1a"  # ASCII's "substitute": a missing value differs from every other value
# Numbers that become text at once: each step costs 50 µs a column, and the texts take memory.
_AT_ONCE = 1 << 18
_SEPARATOR = "\x1f"  # ASCII's unit separator: ("a", "bc") and ("ab", "c") differ


def key_hash(table: pa.Table, key: list[str]) -> np.ndarray:
    """Hashes each row's key.

    Args:
      table: rows, `[n]`.
      key: names of the key's columns; their order matters.

    Returns:
      `[n]` uint64, the same in every process, on every platform and in both lanes.
    """
    texts = _texts([table.column(name) for name in key])
    joined = pc.binary_join_element_wise(*texts, pa.scalar(_SEPARATOR, pa.large_string()))
    return pd.util.hash_array(np.asarray(joined, dtype=object), categorize=False)


def place_hash(first: int, count: int, span: int) -> np.ndarray:
    """Hashes of rows by their span's id and their place in it, from `first`: `[count]` uint64."""
    return splitmix64.mix(np.arange(first, first + count, dtype=np.uint64) + _salted(span))


def is_eval(hashes: np.ndarray, share: float) -> np.ndarray:
    """`[n]` bool: True for the rows whose hash falls in the held-out share (0 to 1) of the hash's range."""
    return hashes < np.uint64(min(int(share * 2**64), 2**64 - 1))


def in_blocks(first: int, count: int, rows: int, share: float, blocks: int, salt: int) -> np.ndarray:
    """Holds out blocks of consecutive rows, at random places.

    A block has a power of two of rows, so that rows that are added at the end of the span
    move no other row. Rows that are added or removed before that move the blocks behind them.

    Args:
      first: place of the first of these rows in the span, from 0.
      count: number of these rows.
      rows: of the whole span.
      share: of the rows that are held out (0 to 1).
      blocks: least number of blocks, if the span has a row for each; at most twice as many are taken.
      salt: the span's id; each span has its blocks at other places.

    Returns:
      `[count]` bool: True for the rows that are held out.
    """
    length = 2.0 ** np.floor(np.log2(max(1.0, rows * share / blocks)))
    every = length / share
    places = np.arange(first, first + count)
    group, place = np.divmod(places, every)
    drawn = splitmix64.mix(group.astype(np.uint64) + _salted(salt))
    begin = np.floor(drawn / 2.0**64 * (every - length + 1))
    return (place >= begin) & (place < begin + length)


def in_sample(hashes: np.ndarray, rate: float, salt: int) -> np.ndarray:
    """`[n]` bool: an independent, repeatable sample at `rate` (0 to 1); another `salt` gives another sample."""
    # The raw hash would correlate with the split.
    return is_eval(splitmix64.mix(hashes + _salted(salt)), rate)


def _salted(salt: int) -> np.uint64:
    """SplitMix64's state after `salt + 1` steps from 0."""
    return np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)


def _texts(columns: list[pa.ChunkedArray]) -> list[pa.Array]:
    """Each column as text, `[rows]`; numbers with fractions by many columns at once."""
    texts: dict[int, pa.Array] = {}
    floats = [index for index, column in enumerate(columns) if pa.types.is_floating(column.type)]
    many = max(1, _AT_ONCE // max(1, len(columns[0])))
    for start in range(0, len(floats), many):
        some = floats[start : start + many]
        values = [columns[index].to_numpy().astype(np.float64) for index in some]
        joined = _float_text(np.concatenate(values))
        for place, index in enumerate(some):
            rows = len(values[place])
            texts[index] = joined.slice(place * rows, rows)
    for index in set(range(len(columns))) - set(floats):
        texts[index] = columns[index].cast(pa.string()).fill_null(_MISSING).cast(pa.large_string())
    return [texts[index] for index in range(len(columns))]


def _float_text(values: np.ndarray) -> pa.Array:
    # 5.0 and 5 are the same key: an integer column with nulls may arrive as floats.
    size = np.abs(values)
    whole = (values == np.round(values)) & (size < 2**53)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    text = pc.if_else(pa.array(whole), integers, pa.array(values).cast(pa.string()))
    # Arrow writes the same digits as Python's repr, but uses exponents for other numbers.
    missing = np.isnan(values)
    other = ~whole & ~missing & ~((size >= 1e-4) & (size < 1e10))
    written = pa.array([repr(value) for value in values[other].tolist()], pa.string())
    text = pc.replace_with_mask(text, pa.array(other), written)
    return pc.if_else(pa.array(missing), _MISSING, text).cast(pa.large_string())
