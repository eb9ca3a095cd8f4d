"""Numbers in texts and in typed columns, for the types that are stored as numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion import times
from noria.ingestion.arrow_values import blank, matches
from noria.ingestion.number_formats import NumberFormat, plain_signs

_INTEGER = r"^[+-]?\d{1,18}$"
_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

LARGEST = float(np.finfo(np.float32).max)
_EXACT = 2**53  # a float64 holds each whole number up to here


def from_text(texts: pa.Array, target: pa.DataType, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
    """Texts as `target`, an integer or floating type; and which are no such numbers."""
    values, percent = form.plain(texts)
    present = np.asarray(values.is_valid())
    good = present
    try:
        numbers = pc.cast(values, target)
    except pa.ArrowInvalid:
        values, percent = form.plain(plain_signs(_truth_as_numbers(texts)))
        if target == pa.int64():
            # A column of whole numbers with a gap is often written as 3.0.
            values = pc.replace_substring_regex(values, r"^([+-]?\d+)\.0*$", r"\1")
        good = matches(values, _INTEGER if target == pa.int64() else _FLOAT)
        # Arrow reads no leading plus.
        numbers = pc.cast(blank(pc.replace_substring_regex(values, r"^\+", ""), ~good), target)
    if percent is not None and pa.types.is_floating(target):
        plain = np.asarray(numbers.fill_null(0.0))
        shares = pa.array(np.where(percent, plain / 100, plain), target)
        numbers = blank(shares, ~np.asarray(numbers.is_valid()))
    numbers, infinite = _finite(numbers)
    return numbers, (present & ~good) | infinite


def _truth_as_numbers(texts: pa.Array) -> pa.Array:
    """A column of true, false, 0 and 1 as 0 and 1, which a column of numbers may become; another one as it is."""
    words = pc.utf8_lower(texts.drop_null().unique())
    if not pc.all(pc.is_in(words, value_set=pa.array(["true", "false", "0", "1"]))).as_py():
        return texts
    texts = pc.replace_substring_regex(texts, "^(?i:true)$", "1")
    return pc.replace_substring_regex(texts, "^(?i:false)$", "0")


def from_arrow(values: pa.Array, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Typed values as `target`, an integer or floating type; and which are no such numbers."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return times.parse(values)
    if pa.types.is_duration(values.type) or pa.types.is_time(values.type):  # ticks, whose unit would be lost
        return pa.nulls(len(values), target), np.asarray(values.is_valid())
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
                bad = valid & ((numbers != np.floor(numbers)) | (np.abs(numbers) > _EXACT))
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
    infinite = np.abs(np.asarray(values.fill_null(0.0))) > LARGEST
    if not infinite.any():
        return values, infinite
    return blank(values, infinite), infinite
