"""A champion from before a column changed its type gets the rows in the types that it reads."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.components.evaluator import older_model, rows
from noria.schemas import loader


def _schema(**types: int) -> schema_pb2.Schema:
    schema = schema_pb2.Schema()
    for name, kind in types.items():
        schema.feature.add(name=name, type=kind)
    return schema


def _example(**values: list) -> bytes:
    example = tf.train.Example()
    for name, found in values.items():
        kind = {int: "int64_list", float: "float_list", bytes: "bytes_list"}[type(found[0])]
        getattr(example.features.feature[name], kind).value.extend(found)
    return example.SerializeToString()


def test_the_types_that_have_changed(tmp_path: Path) -> None:
    """New features and those of the same type do not count; without a schema nothing is known."""
    assert {} == older_model.older_types(tmp_path, _schema(price=schema_pb2.FLOAT))
    (tmp_path / "schema").mkdir()
    old = _schema(price=schema_pb2.INT, x=schema_pb2.FLOAT, gone=schema_pb2.INT)
    loader.save(old, tmp_path / "schema" / "schema.pbtxt")
    now = _schema(price=schema_pb2.FLOAT, x=schema_pb2.FLOAT, new=schema_pb2.INT)
    assert {"price": schema_pb2.INT} == older_model.older_types(tmp_path, now)


def test_rows_in_older_types() -> None:
    """Fractions are rounded, and text where numbers were is missing; other features do not change."""
    found = older_model.in_older_types(
        [_example(price=[2.6], note=[b"n1"], count=[3], x=[0.5]), _example(x=[1.5])],
        {"price": schema_pb2.INT, "note": schema_pb2.INT, "count": schema_pb2.FLOAT},
    )
    spec = {
        "price": tf.io.FixedLenFeature([], tf.int64, -1),
        "note": tf.io.FixedLenFeature([], tf.int64, -1),
        "count": tf.io.FixedLenFeature([], tf.float32, -1.0),
        "x": tf.io.FixedLenFeature([], tf.float32),
    }
    parsed = {name: value.numpy().tolist() for name, value in tf.io.parse_example(found, spec).items()}
    assert {"price": [3, -1], "note": [-1, -1], "count": [3.0, -1.0], "x": [0.5, 1.5]} == parsed


def test_a_class_that_the_champion_does_not_know() -> None:
    """Its score is 0."""
    both = rows._of_one_width(
        {"candidate": np.ones((2, 3), np.float32), "baseline": np.ones((2, 2), np.float32)}
    )
    assert [[1.0, 1.0, 0.0]] * 2 == both["baseline"].tolist()
