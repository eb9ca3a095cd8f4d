"""What kind of values a column holds, found in its text, and their conversion to it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError
from noria.ingestion import times
from noria.ingestion.column_facts import MISSING, MISSING_NUMBER, PLAIN, NumberFormat

_INTEGER = r"^[+-]?\d{1,18}$"
_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

_LARGEST = float(np.finfo(np.float32).max)

NAMES = {
    "int": pa.int64(),
    "int64": pa.int64(),
    "float": pa.float64(),
    "float64": pa.float64(),
    "double": pa.float64(),
    "float32": pa.float32(),
    "string": pa.string(),
    "bytes": pa.string(),
    "bool": pa.bool_(),
    "time": pa.timestamp("s"),
}
TIME = NAMES["time"]


def named(name: str | pa.DataType) -> pa.DataType:
    """The Arrow type of a name such as `int`, `float32`, `string`, `time`.

    Raises:
      DataError: there is no such type.
    """
    if isinstance(name, pa.DataType):
        return name
    if name not in NAMES:
        raise DataError(f"a column's type must be one of {', '.join(NAMES)}; got {name!r}")
    return NAMES[name]


def unify(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds both without loss; None where there is none."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    ranks = {pa.bool_(): 0, pa.int64(): 1, pa.float32(): 2, pa.float64(): 3}
    if first in ranks and second in ranks:
        wider = max(first, second, key=lambda kind: ranks[kind])
        # An int64 does not fit a float32.
        return pa.float64() if wider == pa.float32() else wider
    return None


def stored(kind: pa.DataType) -> pa.DataType:
    """How the event table holds this kind: bools and times are int64."""
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_null(kind) else kind


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The kind of a typed (Parquet, pandas) column; None for lists, structs and the like."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_boolean(kind):
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return pa.float32()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TIME
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return pa.string() if any(is_text(kind) for is_text in texts) else None


def convert(values: pa.Array, kind: pa.DataType, form: NumberFormat = PLAIN) -> tuple[pa.Array, np.ndarray]:
    """Converts a column to how the event table holds `kind`.

    Args:
      values: `[rows]`, text (missing ones as null or one of MISSING) or typed.
      kind: the column's kind.
      form: how numbers are written in text.

    Returns:
      The values as `stored(kind)`, `[rows]`, and a mask of those that are not of this kind, which are null.
    """
    values, unreadable = texts(values)
    if pa.types.is_string(values.type):
        converted, bad = _from_text(values, kind, form)
        return converted, bad | unreadable
    none_bad = np.zeros(len(values), bool)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), stored(kind)), none_bad
    if pa.types.is_string(kind):
        return _to_text(values), none_bad
    if pa.types.is_timestamp(kind) or pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return times.parse(values)
    return _to_number(values, stored(kind))


def texts(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """A column without what Arrow has several types for: categories become values, all kinds of text `string`.

    Args:
      values: any column, `[rows]`.

    Returns:
      The column, and a mask of the bytes that are no UTF-8, which are null.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    none_bad = np.zeros(len(values), bool)
    if not _is_text(values.type):
        return values, none_bad
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
    return pc.replace_with_mask(values, mask, pa.scalar(None, values.type))


def describe(kind: pa.DataType) -> str:
    """For messages: `a whole number`."""
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_timestamp(kind):
        return "a time (ISO 8601 or seconds since 1970)"
    if pa.types.is_integer(kind):
        return "a whole number"
    if pa.types.is_null(kind):
        return "a number (the column was empty in the first spans)"
    return "a number" if pa.types.is_floating(kind) else "text"


def _from_text(texts: pa.Array, kind: pa.DataType, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
    if pa.types.is_string(kind):
        missing = pc.is_in(texts, value_set=pa.array(MISSING))
        return blank(texts, missing), np.zeros(len(texts), bool)
    values, percent = form.plain(texts)
    missing = pc.is_in(values, value_set=pa.array(MISSING_NUMBER))
    values = blank(values, missing)
    if pa.types.is_timestamp(kind):
        return times.parse(values)
    if pa.types.is_boolean(kind):
        lower = pc.utf8_lower(values)
        good = _matches(lower, r"^(true|false|1|0)$")
        truth = pc.is_in(lower, value_set=pa.array(["true", "1"])).cast(pa.int64())
        present = np.asarray(values.is_valid())
        return blank(truth, ~good), present & ~good
    target = stored(kind)
    present = np.asarray(values.is_valid())
    good = present
    try:
        numbers = pc.cast(values, target)
    except pa.ArrowInvalid:
        if target == pa.int64():
            # A column of whole numbers with a gap is often written as 3.0.
            values = pc.replace_substring_regex(values, r"^([+-]?\d+)\.0*$", r"\1")
        good = _matches(values, _INTEGER if target == pa.int64() else _FLOAT)
        # Arrow reads no leading plus.
        numbers = pc.cast(blank(pc.replace_substring_regex(values, r"^\+", ""), ~good), target)
    if percent is not None and pa.types.is_floating(target):
        shares = pa.array(
            np.where(percent, np.asarray(numbers.fill_null(0.0)) / 100, np.asarray(numbers.fill_null(0.0))),
            target,
        )
        numbers = blank(shares, ~np.asarray(numbers.is_valid()))
    numbers, infinite = _finite(numbers)
    return numbers, (present & ~good) | infinite


def _to_text(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        texts = [
            None if v is None or v != v else f"{v:.0f}" if v % 1 == 0 else repr(v) for v in values.to_pylist()
        ]
        return pa.array(texts, pa.string())
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return pc.cast(times.parse(values)[0], pa.string())
    return pc.cast(values, pa.string())


def _to_number(values: pa.Array, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    if pa.types.is_decimal(values.type) or pa.types.is_float16(values.type):
        values = pa.array([None if v is None else float(v) for v in values.to_pylist()], pa.float64())
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    bad = np.zeros(len(values), bool)
    if pa.types.is_floating(values.type):
        valid = np.asarray(values.is_valid())
        numbers = np.asarray(values.fill_null(0.0))
        valid &= ~np.isnan(numbers)
        if pa.types.is_integer(target):
            with np.errstate(invalid="ignore"):
                bad = valid & ((numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53))
            whole = np.where(valid & ~bad, numbers, 0).astype(np.int64)
            return pa.array(whole, target, mask=~valid | bad), bad
        values = pa.array(numbers, values.type, mask=~valid)
    if values.type == pa.uint64() and pa.types.is_integer(target):
        bad = np.asarray(pc.greater(values, pa.scalar(2**63 - 1, pa.uint64())).fill_null(False))
        values = blank(values, bad)
    values, infinite = _finite(values.cast(target, safe=False))
    return values, bad | infinite


def _finite(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Infinities are bad values: one of them turns every mean, and then every weight, into NaN.

    The model computes in float32, where every number beyond its range is infinite.
    """
    if not pa.types.is_floating(values.type):
        return values, np.zeros(len(values), bool)
    infinite = np.abs(np.asarray(values.fill_null(0.0))) > _LARGEST
    if not infinite.any():
        return values, infinite
    return blank(values, infinite), infinite


def _matches(texts: pa.Array, pattern: str) -> np.ndarray:
    return np.asarray(pc.match_substring_regex(texts, pattern).fill_null(False))


def _utf8(word: bytes | str | None) -> str | None:
    if not isinstance(word, bytes):
        return word
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None


def _is_text(kind: pa.DataType) -> bool:
    return plain(kind) == pa.string() and not pa.types.is_dictionary(kind)
