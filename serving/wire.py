"""A PredictResponse as bytes: what is answered most is written without messages, whose fields cost µs each.

Numbers that protobuf stores as they are in memory are copied. protobuf itself writes the rest.
"""

import functools
from collections.abc import Mapping

from noria.serving.protos import TensorProto, predict_pb2
from noria.serving.tensors import Tensor, fill_head, to_proto

# The tags of TensorProto's fields with elements of a fixed size: number and wire type (protobuf.dev, "Encoding").
_COPIED = {"float": 5 << 3 | 2, "double": 6 << 3 | 2, "complex64": 9 << 3 | 2, "complex128": 12 << 3 | 2}
_FIRST, _SECOND = 1 << 3 | 2, 2 << 3 | 2  # fields 1 and 2, with their length


def predict_response(model: str, version: int, signature: str, outputs: Mapping[str, Tensor]) -> bytes:
    """The serialized message. `outputs` is its field 1, a map: messages of key and value."""
    parts = [
        _field(_FIRST, _field(_FIRST, name.encode()) + _field(_SECOND, _tensor(each)))
        for name, each in outputs.items()
    ]
    return b"".join([*parts, _spec(model, version, signature)])


def _tensor(tensor: Tensor) -> bytes:
    tag = _COPIED.get(tensor.dtype)
    if tag is not None:
        head = _head(tensor.dtype, tensor.shape)
        return head + _field(tag, tensor.data) if tensor.data else head
    proto = TensorProto()
    to_proto(tensor, proto)
    return bytes(proto.SerializeToString())


def _field(tag: int, content: bytes) -> bytes:
    size, head = len(content), bytearray((tag,))
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + content


@functools.lru_cache(maxsize=1024)
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    proto = TensorProto()
    fill_head(dtype, shape, proto)
    return bytes(proto.SerializeToString())


@functools.lru_cache(maxsize=1024)
def _spec(model: str, version: int, signature: str) -> bytes:
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name, spec.signature_name, spec.version.value = model, signature, version
    return bytes(response.SerializeToString())
