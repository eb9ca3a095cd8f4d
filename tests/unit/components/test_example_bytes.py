"""Examples that are put together from bytes are what tfx_bsl writes."""

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from noria.components import example_bytes
from noria.components.internals.tfx_bsl import ExamplesToRecordBatchDecoder
from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

ROWS = 40


def lists(values: list, kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.large_list(kind))


def columns(numbers: int) -> dict[str, pa.Array]:
    """Floats that each row has, one with values that are no number, and columns of every other form."""
    random = np.random.default_rng(1)
    found = {
        f"number_{i}": lists([[value] for value in random.normal(size=ROWS)], pa.float32())
        for i in range(numbers)
    }
    found["not finite"] = lists([[np.nan], [np.inf], [-0.0], [1e-40]] * (ROWS // 4), pa.float32())
    found["名" * 50] = lists([[1.5]] * ROWS, pa.float32())
    found["gaps"] = lists([[1.0], None] * (ROWS // 2), pa.float32())
    found["several"] = lists([[1.0, 2.0], [3.0]] * (ROWS // 2), pa.float32())
    found["whole"] = lists([[i**9] for i in range(ROWS)], pa.int64())
    found["text"] = lists([[b"a" * i] for i in range(ROWS)], pa.large_binary())
    return found


def messages(examples: list[bytes]) -> list[bytes]:
    """By their content: a map has no order, and NaN is not equal to itself."""
    return [tf.train.Example.FromString(one).SerializeToString(deterministic=True) for one in examples]


@pytest.mark.parametrize("names", ["all", "floats", "others", "one"])
def test_examples_are_tfx_bsls(names):
    """Any mixture of columns gives the same messages, for slices of a batch too."""
    found = columns(30)
    if names == "floats":
        found = {name: column for name, column in found.items() if name.startswith("number")}
    elif names == "others":
        found = {name: found[name] for name in ("gaps", "several", "whole", "text")}
    elif names == "one":
        found = {"number_0": found["number_0"]}
    batch = pa.RecordBatch.from_pydict(found)
    for part in (batch, batch.slice(7, 11), batch.slice(0, 1)):
        expected = tfxio.RecordBatchToExamplesEncoder(None).encode(part)
        assert messages(expected) == messages(example_bytes.encode(part))


def test_examples_are_read_by_every_reader():
    """TensorFlow's own parser and tfx_bsl's decoder read the numbers."""
    batch = pa.RecordBatch.from_pydict(
        {name: column for name, column in columns(5).items() if name != "not finite"}
    )
    examples = example_bytes.encode(batch)
    decoded = ExamplesToRecordBatchDecoder().DecodeBatch(examples)
    parsed = tf.io.parse_example(examples, {"number_3": tf.io.FixedLenFeature([], tf.float32)})["number_3"]
    np.testing.assert_array_equal(batch.column(3).flatten().to_numpy(), parsed)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        assert column.equals(decoded.column(decoded.schema.get_field_index(name)))


def test_a_schema_that_says_how_decides():
    """Where several columns may be parts of one feature, tfx_bsl encodes all of them."""
    schema = schema_pb2.Schema()
    schema.feature.add(name="value", type=schema_pb2.FLOAT)
    dense = schema.tensor_representation_group[""].tensor_representation["value"].dense_tensor
    dense.column_name = "value"
    dense.shape.dim.add(size=1)
    batch = pa.RecordBatch.from_pydict({"value": lists([[1.0], [2.0]], pa.float32())})
    expected = tfxio.RecordBatchToExamplesEncoder(schema).encode(batch)
    assert messages(expected) == messages(example_bytes.encode(batch, schema))
