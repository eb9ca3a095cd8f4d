"""JSON in and out as TF Serving's json_tensor_test.cc has it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.serving import json_request, json_response, json_text
from noria.serving.grpc_status import StatusError
from noria.serving.protos import SignatureDef
from noria.serving.signatures import Signature
from noria.serving.tensors import Tensor, join, pack, split


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9000000.0, "9e+06"),
        (999999.0, "999999.0"),
        (0.2, "0.2"),
        (0.00003, "3e-05"),
        (1.0, "1.0"),
        (0.1234567, "0.123456702"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_decimals(value, text) -> None:
    """A float32 has six digits if they read back as it, else nine; whole numbers end in `.0`."""
    stored = Tensor("float", (1,), pack("float", [value]))
    assert f'{{"outputs":[{text}]}}'.encode() == json_response.predictions({"y": stored}, False)


@given(st.lists(st.floats(width=32), min_size=1))
def test_floats_survive(values) -> None:
    """Any float32 reads back as the same number."""
    tensor = Tensor("float", (len(values),), pack("float", values))
    body = json_text.parse(json_response.predictions({"y": tensor}, True))
    assert list(map(repr, tensor.values())) == list(map(repr, pack_again(body["predictions"])))


def pack_again(values):
    return Tensor("float", (len(values),), pack("float", values)).values()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text('ab"\\\n\u00e9\U0001f600'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=4),
)


@given(st.dictionaries(st.text("xy", max_size=2), JSON, max_size=4))
def test_the_parsers_agree(value) -> None:
    """The parser without recursion reads what orjson reads."""
    import orjson

    text = orjson.dumps(value)
    assert orjson.loads(text) == json_text.parse_flat(text.decode("latin-1"))


@given(st.binary(max_size=30))
def test_no_bytes_crash_the_parser(text) -> None:
    """Whatever a client sends gives an object or an error with a status."""
    for body in (text, b'{"a":' + text):
        try:
            assert isinstance(json_text.parse(body), dict)
        except StatusError as error:
            assert 400 == error.http


@given(JSON)
def test_no_value_crashes_the_conversion(value) -> None:
    """Whatever JSON a client sends as rows or columns gives tensors or an error with a status."""
    proto = SignatureDef()
    proto.inputs["x"].dtype = 1
    proto.inputs["s"].dtype = 7
    for names in (["x"], ["s"], ["x", "s"]):
        part = SignatureDef()
        for name in names:
            part.inputs[name].CopyFrom(proto.inputs[name])
        signature = Signature("default", part)
        for body in ({"instances": value}, {"instances": [value, value]}, {"inputs": value}):
            try:
                inputs, _ = json_request.predict_inputs(body, signature)
                assert set(names) == inputs.keys()
            except StatusError as error:
                assert error.http in (400, 501)


@pytest.mark.parametrize(
    ("text", "place"), [(r"\ud800", 7), (r"a\udc00b", 8), (r"\ud800\ud800\udc00", 7), (r"\\\ud83d\u0041", 9)]
)
def test_half_of_a_surrogate_pair_is_no_string(text: str, place: int) -> None:
    """It is refused as RapidJSON refuses it; a whole pair, and a backslash before `ud800`, are text."""
    with pytest.raises(StatusError, match=f"The surrogate pair in string is invalid. at offset: {place}"):
        json_text.parse(f'{{"x": "{text}"}}'.encode())
    assert {"x": "\U0001f600 \\ud800"} == json_text.parse(rb'{"x": "\ud83d\ude00 \\ud800"}')
    assert {"x": "\U0001f600", "y": math.inf} == json_text.parse(rb'{"x": "\ud83d\ude00", "y": Infinity}')


def test_zero_rows_and_shapes() -> None:
    """No rows are an empty list; rows of unequal number, and a scalar, cannot be rows."""
    empty = Tensor("float", (0, 2), b"")
    assert b'{"predictions":[]}' == json_response.predictions({"y": empty}, True)
    hollow = Tensor("int32", (2, 0), b"")
    assert b'{"predictions":[[],[]]}' == json_response.predictions({"y": hollow}, True)
    one, two = (Tensor("float", (size,), pack("float", [1.0] * size)) for size in (1, 2))
    with pytest.raises(StatusError, match="has inconsistent batch size: 2 expecting: 1"):
        json_response.predictions({"a": one, "b": two}, True)
    with pytest.raises(StatusError, match="has no shape information"):
        json_response.predictions({"a": Tensor("float", (), pack("float", [1.0]))}, True)


@given(st.lists(st.lists(st.binary(max_size=3), min_size=1, max_size=3), min_size=1, max_size=4))
def test_split_undoes_join(rows) -> None:
    """Tensors that were put together come apart as they were."""
    parts = [Tensor("string", (len(each), 1), each) for each in rows]
    assert parts == split(join(parts), [len(each) for each in rows])
