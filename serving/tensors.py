"""Tensors as bytes, so that the front needs no numpy: joined and split by rows, and from and to TensorProto."""

import math
import struct
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from noria.serving.grpc_status import invalid
from noria.serving.protos import TensorProto, dtype_name

# dtype -> its number, bytes per element, the field of TensorProto, and the array type code of its bytes. A complex
# number has two elements there.
_NUMERIC: dict[str, tuple[int, int, str, str]] = {
    "float": (1, 4, "float_val", "f"),
    "double": (2, 8, "double_val", "d"),
    "int32": (3, 4, "int_val", "i"),
    "uint8": (4, 1, "int_val", "B"),
    "int16": (5, 2, "int_val", "h"),
    "int8": (6, 1, "int_val", "b"),
    "complex64": (8, 8, "scomplex_val", "f"),
    "int64": (9, 8, "int64_val", "q"),
    "bool": (10, 1, "bool_val", "B"),
    "bfloat16": (14, 2, "half_val", "H"),
    "uint16": (17, 2, "int_val", "H"),
    "complex128": (18, 16, "dcomplex_val", "d"),
    "half": (19, 2, "half_val", "H"),
    "uint32": (22, 4, "uint32_val", "I"),
    "uint64": (23, 8, "uint64_val", "Q"),
}
STRING = "string"
NUMBERS = {STRING: 7} | {name: row[0] for name, row in _NUMERIC.items()}
MAX_RANK = 254  # TensorFlow's


class Tensor(NamedTuple):
    """A dense tensor. Several are made for each request: a dataclass that cannot be changed takes three times as long.

    Args:
      dtype: TensorFlow's name of the type, as `float`.
      shape: size of each dimension.
      data: its elements in row-major order: little-endian bytes, or for strings a list of bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Any

    @property
    def rows(self) -> int:
        """Size of the first dimension; 0 for a scalar."""
        return self.shape[0] if self.shape else 0

    def values(self) -> Sequence[Any]:
        """The elements as Python values, in row-major order."""
        if self.dtype == STRING:
            return self.data
        if self.dtype == "half":
            return struct.unpack(f"<{len(self.data) // 2}e", self.data)
        elements = array(_NUMERIC[self.dtype][3])
        elements.frombytes(self.data)
        if self.dtype == "bfloat16":  # the upper half of a float
            return struct.unpack(
                f"<{len(elements)}f", array("I", [each << 16 for each in elements]).tobytes()
            )
        if self.dtype in ("complex64", "complex128"):
            return list(map(complex, elements[::2], elements[1::2]))
        return [bool(each) for each in elements] if self.dtype == "bool" else elements


def first(tensor: Tensor) -> Any:
    """The first element as a Python value; None if there is none."""
    if not tensor.data:
        return None
    width = 1 if tensor.dtype == STRING else _NUMERIC[tensor.dtype][1]
    return Tensor(tensor.dtype, (1,), tensor.data[:width]).values()[0]


def supported(dtype: str) -> bool:
    return dtype == STRING or dtype in _NUMERIC


def pack(dtype: str, values: Sequence[Any]) -> Any:
    """Python values as a tensor's data.

    Raises:
      OverflowError, TypeError: a value does not fit.
    """
    return list(values) if dtype == STRING else array(_NUMERIC[dtype][3], values).tobytes()


def join(parts: Sequence[Tensor]) -> Tensor:
    """Tensors that differ only in their first dimension, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    rows = sum(each.shape[0] for each in parts)
    data: Any
    if first.dtype == STRING:
        data = [value for each in parts for value in each.data]
    else:
        data = b"".join([each.data for each in parts])
    return Tensor(first.dtype, (rows, *first.shape[1:]), data)


def split(tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The inverse of `join`: parts with `sizes` rows each, which sum up to the tensor's."""
    per_row = math.prod(tensor.shape[1:])
    if tensor.dtype != STRING:
        per_row *= _NUMERIC[tensor.dtype][1]
    parts, start = [], 0
    for size in sizes:
        end = start + size * per_row
        parts.append(Tensor(tensor.dtype, (size, *tensor.shape[1:]), tensor.data[start:end]))
        start = end
    return parts


def from_proto(proto: Any) -> Tensor:
    """A tensor of a request. As in TensorFlow, a value list that is too short repeats its last value.

    Raises:
      StatusError: the type is not supported, or shape and values contradict each other.
    """
    dtype = dtype_name(proto.dtype)
    if not supported(dtype):
        raise invalid(f"tensors of type {dtype} are not supported")
    given = proto.tensor_shape  # each access to a message costs as much as ten to a Python object
    shape = tuple([dim.size for dim in given.dim])
    if given.unknown_rank or (shape and min(shape) < 0) or len(shape) > MAX_RANK:
        raise invalid(f"Tensor proto has an incomplete shape: {list(shape)}")
    count = math.prod(shape)
    if dtype == STRING:
        values = list(proto.string_val)
        if not values and proto.tensor_content:
            raise invalid("string tensors must be in string_val, not in tensor_content")
        return Tensor(dtype, shape, _fill(values, count, b"", shape))
    _, width, field, code = _NUMERIC[dtype]
    content = proto.tensor_content
    if content:
        if len(content) != count * width:
            raise invalid(
                f"Tensor proto has {len(content)} bytes of content, "
                f"but shape {list(shape)} of {dtype} needs {count * width}"
            )
        return Tensor(dtype, shape, content)
    try:
        elements = array(code, getattr(proto, field))
    except OverflowError:
        raise invalid(f"Tensor proto has a value that does not fit into {dtype}") from None
    return Tensor(dtype, shape, _fill(elements, count, 0, shape, width // elements.itemsize).tobytes())


def to_proto(tensor: Tensor, proto: Any) -> None:
    """Fills a TensorProto, values in the typed fields as TF Serving does."""
    fill_head(tensor.dtype, tensor.shape, proto)
    if tensor.dtype == STRING:
        proto.string_val.extend(tensor.data)
        return
    _, _, field, code = _NUMERIC[tensor.dtype]
    elements = array(code)
    elements.frombytes(tensor.data)
    getattr(proto, field).extend(elements)


def fill_head(dtype: str, shape: Sequence[int], proto: Any) -> None:
    """Fills type and shape of a TensorProto."""
    proto.dtype = NUMBERS[dtype]
    proto.tensor_shape.SetInParent()  # a scalar has a shape without dimensions
    dims = proto.tensor_shape.dim
    for size in shape:
        dims.add(size=size)


def proto_of(dtype: str, shape: Sequence[int], values: Sequence[Any]) -> Any:
    """A TensorProto of Python values."""
    proto = TensorProto()
    to_proto(Tensor(dtype, tuple(shape), pack(dtype, values)), proto)
    return proto


def _fill(values: Any, count: int, empty: Any, shape: tuple[int, ...], parts: int = 1) -> Any:
    """`values` with as many elements as the shape has, of `parts` numbers each."""
    given = len(values) // parts
    if len(values) == count * parts:
        return values
    if given > count or len(values) % parts:
        raise invalid(f"Tensor proto has {given} values, but shape {list(shape)} has {count} elements")
    if count > 1 << 28:
        raise invalid(f"Tensor proto with shape {list(shape)} is too large for its {given} values")
    values.extend((list(values[-parts:]) or [empty] * parts) * (count - given))
    return values
