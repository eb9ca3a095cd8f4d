"""Helpers for Arrow columns and batches."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["BATCH_ROWS", "blank", "decoded", "filtered", "is_text", "matches"]

# Rows of a batch that a reader makes.
BATCH_ROWS = 65_536


def filtered(batch: pa.RecordBatch, keep: np.ndarray) -> pa.RecordBatch:
    """The rows to keep. RecordBatch has a `filter` from Arrow 12 on only."""
    mask = pa.array(keep)
    return pa.RecordBatch.from_arrays([column.filter(mask) for column in batch.columns], batch.schema.names)


def is_text(arrow_type: pa.DataType) -> bool:
    """Whether an Arrow type is text, or bytes, which may be text in UTF-8."""
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(arrow_type) for test in texts)


def decoded(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """A column without what Arrow has several types for: categories become values, all kinds of text `string`.

    Args:
      values: any column, `[rows]`.

    Returns:
      The column, and a mask of the bytes that are not UTF-8, which are null.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    none_bad = np.zeros(len(values), bool)
    if not is_text(values.type):
        return values, none_bad
    # A damaged Parquet file has texts that are not UTF-8, and only a cast from bytes checks it.
    values = values.cast(pa.binary())
    try:
        return values.cast(pa.string()), none_bad
    except pa.ArrowInvalid:
        coded = values.dictionary_encode()
        read = pa.array([_utf8(word) for word in coded.dictionary.to_pylist()], pa.string()).take(
            coded.indices
        )
        return read, np.asarray(values.is_valid()) & ~np.asarray(read.is_valid())


def blank(values: pa.Array, mask: pa.Array | np.ndarray) -> pa.Array:
    """`values` with null where `mask` is true.

    Not by `if_else`: in Arrow 18 it reads the wrong bytes of a slice of a text column, without an error.
    """
    mask = mask if isinstance(mask, pa.Array) else pa.array(mask)
    if not mask.null_count and not mask.true_count:
        return values
    return pc.replace_with_mask(values, mask, pa.scalar(None, values.type))


def matches(texts: pa.Array, pattern: str) -> np.ndarray:
    """Which texts match a regular expression, `[rows]`; a missing one does not."""
    return np.asarray(pc.match_substring_regex(texts, pattern).fill_null(False))


def _utf8(word: bytes | str | None) -> str | None:
    if not isinstance(word, bytes):
        return word
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None
