"""What the front and a model process send each other: frames of a JSON header and raw tensors.

Not pickle: a model process runs whatever its SavedModel holds, and must not run anything in the front.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from noria.serving.tensors import STRING, Tensor

PREFIX = struct.Struct("<IQ")  # bytes of the header, bytes of the tensors
MAX_HEADER = 1 << 30


def encode(header: Any, tensors: Sequence[Tensor] = ()) -> bytes:
    """One frame: `header` is anything that JSON holds."""
    described: list[Any] = []
    parts: list[bytes] = []
    for tensor in tensors:
        if tensor.dtype == STRING:
            described.append([tensor.dtype, tensor.shape, [len(value) for value in tensor.data]])
            parts.extend(tensor.data)
        else:
            described.append([tensor.dtype, tensor.shape, len(tensor.data)])
            parts.append(tensor.data)
    text = orjson.dumps([header, described])
    return b"".join((PREFIX.pack(len(text), sum(map(len, parts))), text, *parts))


def decode(text: bytes | memoryview, payload: bytes) -> tuple[Any, list[Tensor]]:
    """The header and the tensors of a frame, given its two parts."""
    header, described = orjson.loads(text)
    tensors, start = [], 0
    for dtype, shape, size in described:
        data: Any
        if dtype == STRING:
            data = []
            for length in size:
                data.append(payload[start : start + length])
                start += length
        else:
            data = payload[start : start + size]
            start += size
        tensors.append(Tensor(dtype, tuple(shape), data))
    return header, tensors


class Reader:
    """Puts frames together from the pieces that a socket delivers."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Any, list[Tensor]]]:
        """The frames that are complete with `data`."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= PREFIX.size:
            header, payload = PREFIX.unpack_from(buffer)
            if header > MAX_HEADER:
                raise ValueError(f"a frame with a header of {header} bytes")
            middle, end = PREFIX.size + header, PREFIX.size + header + payload
            if len(buffer) < end:
                return
            frame = decode(bytes(buffer[PREFIX.size : middle]), bytes(buffer[middle:end]))
            del buffer[:end]
            yield frame
