"""Columns whose type has changed since older spans were written: they are read in the new type.

    spans/retyped.json     {"price": "double"}: column -> Arrow type

The Parquet files of the spans stay as they are, so a type can be changed back without loss.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core import files
from noria.core.errors import SpanError

FILE = "retyped.json"

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def load(folder: Path) -> dict[str, pa.DataType]:
    """The columns with a new type; none where the file does not exist.

    Raises:
      SpanError: the file is damaged.
    """
    path = folder / FILE
    try:
        return {
            name: pa.type_for_alias(arrow_type)
            for name, arrow_type in json.loads(path.read_text("utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise SpanError(
            f"the new types of columns cannot be read: {error}",
            where=path,
            next_step="delete it, and set the types again: noria migrate COLUMN=TYPE",
        ) from error


def save(folder: Path, types: Mapping[str, pa.DataType]) -> None:
    """Adds columns with a new type."""
    known = {**load(folder), **types}
    files.write_json(folder / FILE, {name: str(arrow_type) for name, arrow_type in sorted(known.items())})


def retyped(batches: Iterable[pa.RecordBatch], types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Batches with these columns in their new types; other columns do not change."""
    for batch in batches:
        names = batch.schema.names
        if not any(name in types for name in names):
            yield batch
            continue
        columns = [
            cast(column, types.get(name, column.type))
            for name, column in zip(names, batch.columns, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, names)


def cast(values: pa.Array, target: pa.DataType) -> pa.Array:
    """A stored column in another stored type; null where the new type does not hold the value.

    Args:
      values: int64, float64, float32 or string, `[rows]`.
      target: one of these.
    """
    if values.type == target:
        return values
    if pa.types.is_string(target):
        return _texts(values)
    if pa.types.is_string(values.type):
        good = pc.match_substring_regex(values, _NUMBER).fill_null(False)
        trimmed = pc.utf8_ltrim(pc.utf8_trim_whitespace(values), characters="+")
        values = pc.replace_with_mask(trimmed, pc.invert(good), pa.scalar(None, pa.string()))
        values = values.cast(pa.float64())
    if pa.types.is_integer(target):
        numbers = np.asarray(values.fill_null(0.0), np.float64)
        whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**63)
        lost = ~np.asarray(values.is_valid()) | ~whole
        return pa.array(np.where(lost, 0, numbers).astype(np.int64), target, mask=lost)
    return values.cast(target, safe=False)


def lost(values: pa.Array, target: pa.DataType) -> np.ndarray:
    """Which values `cast` changes or makes null, `[rows]`: whole numbers beyond 2^53 that become floats, too."""
    new = cast(values, target)
    mask = np.asarray(values.is_valid()) & ~np.asarray(new.is_valid())
    if pa.types.is_integer(values.type) and pa.types.is_floating(target):
        exact = 2**53 if target == pa.float64() else 2**24
        mask |= np.abs(np.asarray(values.fill_null(0))) > exact
    return mask


def _texts(values: pa.Array) -> pa.Array:
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    coded = values.dictionary_encode()
    words = [
        None if v is None or v != v else f"{v:.0f}" if v % 1 == 0 else repr(v)
        for v in coded.dictionary.to_pylist()
    ]
    return pa.array(words, pa.string()).take(coded.indices)
