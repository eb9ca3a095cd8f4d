"""Which split a row belongs to: a stable hash of its key, so that no row ever moves between splits.

The hash is taken of the key's text, not of Arrow's or tf.Example's bytes: both change with the release, and a
column that gains a null would change its type and with it every row's place.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

_MISSING = "\x1a"  # ASCII's "substitute": a missing value is a value of its own
_SEPARATOR = "\x1f"  # ASCII's unit separator: ("a", "bc") and ("ab", "c") differ


def key_hash(table: pa.Table, key: list[str]) -> np.ndarray:
    """Hashes each row's key.

    Args:
      table: rows, `[n]`.
      key: names of the columns that make the key; order matters.

    Returns:
      `[n]` uint64, the same in every process, on every platform and in both lanes.
    """
    texts = [_text(table.column(name)) for name in key]
    joined = texts[0]
    for text in texts[1:]:
        joined = joined + _SEPARATOR + text
    return pd.util.hash_array(joined.to_numpy(dtype=object), categorize=False)


def is_eval(hashes: np.ndarray, share: float) -> np.ndarray:
    """`[n]` bool: True for the rows whose hash falls in the held-out share (0 to 1) of the hash's range."""
    return hashes < np.uint64(min(int(share * 2**64), 2**64 - 1))


def in_sample(hashes: np.ndarray, rate: float, salt: int) -> np.ndarray:
    """`[n]` bool: an independent, repeatable sample at `rate` (0 to 1); another `salt` gives another sample."""
    # splitmix64 (Steele et al. 2014) of hash + salt: the raw hash would correlate with the split.
    z = hashes + np.uint64(((salt + 1) * 0x9E3779B97F4A7C15) % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return is_eval(z ^ (z >> np.uint64(31)), rate)


def _text(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_floating(column.type):
        # 5.0 and 5 are the same key: a nullable integer column may have come in as floats.
        values = column.to_pandas()
        whole = values.notna() & (values == values.round()) & (values.abs() < 2**53)
        text = values.astype(object)
        text[whole] = values[whole].astype("int64").astype(str)
        text[~whole & values.notna()] = values[~whole & values.notna()].map(repr)
        return text.where(values.notna(), _MISSING)
    return column.cast(pa.string()).fill_null(_MISSING).to_pandas()
