"""A PredictResponse written as bytes is the message that protobuf would have written."""

import pytest

from noria.serving.protos import predict_pb2
from noria.serving.tensors import NUMBERS, Tensor, from_proto, pack, proto_of
from noria.serving.wire import predict_response

PARTS = {"complex64": ("float", 2), "complex128": ("double", 2)}


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (1, 1), (0, 3), (300,), (2, 3, 700)])
def test_a_message_of_each_type(dtype, shape) -> None:
    """Any type and shape, also without elements and with a length of several bytes."""
    element, parts = PARTS.get(dtype, (dtype, 1))
    count = parts
    for size in shape:
        count *= size
    values = [b"\xff"] * count if dtype == "string" else [1] * count
    outputs = {"y": Tensor(dtype, shape, pack(element, values)), "é": Tensor("float", (1,), b"\0\0\0@")}
    found = predict_pb2.PredictResponse.FromString(predict_response("m", 1 << 40, "serving_default", outputs))
    expected = predict_pb2.PredictResponse()
    expected.model_spec.name, expected.model_spec.signature_name = "m", "serving_default"
    expected.model_spec.version.value = 1 << 40
    expected.outputs["y"].CopyFrom(proto_of(dtype, shape, values))
    expected.outputs["é"].CopyFrom(proto_of("float", [1], [2.0]))
    assert expected == found
    assert outputs["y"] == from_proto(found.outputs["y"])
