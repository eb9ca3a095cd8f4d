"""Rows as serialized tf.Examples.

tfx_bsl builds a message for each row, which takes most of the time where there are many columns. One float32 takes the
same bytes in each row but for its own four, so these columns are bytes that are copied for all rows, into which the
numbers are put. tfx_bsl encodes the other columns.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from tfx_bsl.public import tfxio

from noria.components.single_values import single_values

_MESSAGE, _LIST = b"\x0a", b"\x12"  # field 1 and field 2, with a length before their content


def encode(batch: pa.RecordBatch, schema: Any = None) -> list[bytes]:
    """The rows of list columns as tf.Examples.

    Args:
      batch: one list column for each feature, a null list if it is missing.
      schema: of the features (`schema_pb2.Schema`), if it must give their shapes.
    """
    # With a representation, several columns may be parts of one feature.
    simple = schema is None or not schema.tensor_representation_group
    numbers = single_values(batch, [pa.float32()]) if simple else {}
    rest = {
        name: column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if name not in numbers
    }
    others = [b""] * batch.num_rows
    if rest or not numbers:
        others = tfxio.RecordBatchToExamplesEncoder(schema).encode(pa.RecordBatch.from_pydict(rest))
    if not numbers:
        return others
    rows = _rows(numbers)
    found = (row.tobytes() + _features(other) for row, other in zip(rows, others, strict=True))
    return [_MESSAGE + _sized(features) for features in found]


def _rows(numbers: dict[str, np.ndarray]) -> np.ndarray:
    """The bytes of all columns, row by row: uint8 `[rows, bytes]`."""
    entries = [_entry(name.encode()) for name in numbers]
    ends = np.cumsum([len(entry) for entry in entries])
    matrix = np.stack(list(numbers.values()), axis=1).astype("<f4")
    rows = np.tile(np.frombuffer(b"".join(entries), np.uint8), (len(matrix), 1))
    rows[:, (ends[:, None] - 4 + np.arange(4)).ravel()] = matrix.view(np.uint8)
    return rows


def _entry(name: bytes) -> bytes:
    """An entry of the map from names to features, whose number is 0: it is the last four bytes."""
    feature = _LIST + _sized(_MESSAGE + _sized(bytes(4)))
    return _MESSAGE + _sized(_MESSAGE + _sized(name) + _LIST + _sized(feature))


def _features(example: bytes) -> bytes:
    """The content of the only field of an example."""
    start = 1
    while start < len(example) and example[start] >= 0x80:
        start += 1
    return example[start + 1 :]


def _sized(content: bytes) -> bytes:
    """Content behind its length, a varint.

    >>> _sized(b"ab"), _sized(bytes(300))[:2]
    (b'\\x02ab', b'\\xac\\x02')
    """
    size, length = len(content), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*length, size]) + content
