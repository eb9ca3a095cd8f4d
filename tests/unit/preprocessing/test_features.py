"""The building blocks of preprocessing_fn, through real TFT on real columns, sparse and dense."""

import math
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

import flight_events  # noqa: E402
import flight_features as flights  # noqa: E402
import tensorflow_transform as tft  # noqa: E402
import tensorflow_transform.beam as tft_beam  # noqa: E402
from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: E402
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils  # noqa: E402

from noria.core.errors import ConfigError  # noqa: E402
from noria.pipeline.init.schema_inference import infer  # noqa: E402
from noria.preprocessing import features, generic  # noqa: E402
from noria.schemas import loader  # noqa: E402
from noria.schemas.list_columns import list_batches  # noqa: E402

SCHEMA = Path(__file__).parents[3] / "examples" / "flights" / "schema.pbtxt"


def _transform(function, rows: list[dict], spec: dict, folder: Path) -> tuple[dict, tft.TFTransformOutput]:
    """Analyzes and transforms rows in Beam; returns the columns and the graph."""
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(folder / "tmp")):
        graph = (
            (pipeline | beam.Create(rows), metadata)
            | tft_beam.AnalyzeDataset(function)
            | tft_beam.WriteTransformFn(str(folder / "graph"))
        )
        del graph
    output = tft.TFTransformOutput(str(folder / "graph"))
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={name: _feature(row.get(name)) for name in spec if row.get(name)}
            )
        ).SerializeToString()
        for row in rows
    ]
    parsed = tf.io.parse_example(tf.constant(examples), spec)
    columns = output.transform_features_layer()(parsed)
    return {name: value.numpy() for name, value in columns.items()}, output


def test_a_long_tail_is_scaled_by_its_logarithm(monkeypatch):
    """ln(1 + x), sparse or dense; a negative amount counts as 0, a gap stays one."""
    monkeypatch.setattr(features, "number", lambda column: column)
    amounts, expected = [[-5.0], [0.0], [math.e - 1]], [[0.0], [0.0], [1.0]]
    np.testing.assert_allclose(expected, features.log_number(tf.constant(amounts)), atol=1e-6)
    sparse = tf.SparseTensor([[0, 0], [2, 0]], [-5, 7], [3, 1])
    scaled = features.log_number(sparse)
    assert [[0, 0], [2, 0]] == scaled.indices.numpy().tolist()
    np.testing.assert_allclose([0.0, math.log(8)], scaled.values, atol=1e-6)


def _feature(value) -> tf.train.Feature:
    value = value[0] if isinstance(value, list) else value
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


ROWS = [
    {"x": [1.0], "n": [2], "word": ["a"], "minutes": [0], "late": [1]},
    {"x": [3.0], "n": [2], "word": ["a"], "minutes": [360], "late": [0]},
    {"x": [], "n": [5], "word": ["b"], "minutes": [], "late": [0]},
    {"x": [5.0], "n": [], "word": [], "minutes": [720], "late": [1]},
]


def _blocks(inputs):
    return {
        "x": features.number(inputs["x"]),
        "x_missing": features.missing(inputs["x"]),
        "word": features.category(inputs["word"], "word"),
        "n": features.category(inputs["n"], "n"),
        "bucket": features.bucket(inputs["x"], 2),
        **features.circle(inputs["minutes"], "day", 1440),
        "age": features.number(features.since(inputs["n"], inputs["minutes"])),
        **features.label(inputs, "late"),
        **features.label(inputs, "absent"),
    }


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    spec = {
        "x": tf.io.VarLenFeature(tf.float32),
        "n": tf.io.VarLenFeature(tf.int64),
        "word": tf.io.VarLenFeature(tf.string),
        "minutes": tf.io.VarLenFeature(tf.int64),
        "late": tf.io.VarLenFeature(tf.int64),
    }
    return _transform(_blocks, ROWS, spec, tmp_path_factory.mktemp("sparse"))


def test_missing_number_becomes_the_mean(sparse):
    """A gap is 0 after scaling, mean and deviation are those of the values that are there, and the gap is marked."""
    columns, _ = sparse
    deviation = math.sqrt(8 / 3)
    np.testing.assert_allclose([-2 / deviation, 0, 0, 2 / deviation], columns["x"], atol=1e-6)
    assert [0.0, 0.0, 1.0, 0.0] == columns["x_missing"].tolist()


def test_missing_category_is_a_word_of_its_own(sparse):
    """The vocabulary is named after the feature, holds `(missing)`, and one more id is for the unknown."""
    columns, graph = sparse
    words = graph.vocabulary_by_name("word")
    assert [b"(missing)", b"a", b"b"] == sorted(words)
    assert [b"a", b"a", b"b", b"(missing)"] == [words[i] for i in columns["word"]]
    assert (0, 3) == (graph.transformed_domains()["word"].min, graph.transformed_domains()["word"].max)
    assert graph.transformed_domains()["word"].is_categorical


def test_whole_numbers_can_be_categories(sparse):
    """Integers get a vocabulary of their digits."""
    columns, graph = sparse
    words = graph.vocabulary_by_name("n")
    assert [b"2", b"2", b"5", b"(missing)"] == [words[i] for i in columns["n"]]


def test_a_text_is_no_number():
    """A column that became text is named, with the way to a category."""
    with pytest.raises(TypeError, match="'p' holds text.*CATEGORIES"):
        features.numbers({"x": tf.constant([1.0]), "p": tf.constant(["AB7"])})


def test_circle(sparse):
    """Midnight, six and noon are at 0, 90 and 180 degrees; a missing time is in the middle."""
    columns, _ = sparse
    np.testing.assert_allclose([0, 1, 0, 0], columns["day_sin"], atol=1e-6)
    np.testing.assert_allclose([1, 0, 0, -1], columns["day_cos"], atol=1e-6)


def test_the_distance_of_two_times(sparse):
    """What is between two times is a number; where one of them is missing, so is the distance."""
    columns, _ = sparse
    np.testing.assert_allclose([-1, 1, 0, 0], columns["age"], atol=1e-6)  # -2, 358, and two gaps


def test_bucket_is_categorical(sparse):
    """Buckets are ids with a domain; a missing value falls into the first."""
    columns, graph = sparse
    assert 0 == columns["bucket"][2]
    assert {0, 1} == set(columns["bucket"])
    assert graph.transformed_domains()["bucket"].is_categorical


def test_label_passes_and_may_be_absent(sparse):
    """The label keeps its name and type; a label that the inputs lack gives nothing."""
    columns, _ = sparse
    assert [1, 0, 0, 1] == columns["late"].tolist()
    assert "absent" not in columns


def test_dense_columns_give_the_same(sparse, tmp_path: Path):
    """Where the schema says that nothing is missing, inputs are dense and the features of full rows the same."""
    rows = [{"x": [1.0], "word": ["a"]}, {"x": [3.0], "word": ["b"]}, {"x": [5.0], "word": ["a"]}]

    def function(inputs):
        return {
            "x": features.number(inputs["x"]),
            "x_missing": features.missing(inputs["x"]),
            "word": features.category(inputs["word"], "word"),
        }

    fixed = {"x": tf.io.FixedLenFeature([1], tf.float32), "word": tf.io.FixedLenFeature([1], tf.string)}
    ragged = {"x": tf.io.VarLenFeature(tf.float32), "word": tf.io.VarLenFeature(tf.string)}
    dense, _ = _transform(function, rows, fixed, tmp_path / "dense")
    gaps, _ = _transform(function, rows, ragged, tmp_path / "sparse")
    for name in dense:
        np.testing.assert_array_equal(gaps[name], dense[name])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_numbers_without_a_scale(kind: str, tmp_path: Path):
    """A constant, whose float32 deviation is not quite 0, is 0; what float32 cannot hold is missing and has no say."""
    constant, wild = [0.003467] * 6, [1.0, 3.0, 5.0, math.inf, -1e38, 3.0]
    rows = [{"c": [c], "x": [x]} for c, x in zip(constant, wild, strict=True)]
    column = tf.io.FixedLenFeature([1], tf.float32) if kind == "dense" else tf.io.VarLenFeature(tf.float32)

    def function(inputs):
        return {
            "c": features.number(inputs["c"]),
            "x": features.number(inputs["x"]),
            "x_missing": features.missing(inputs["x"]),
        }

    columns, _ = _transform(function, rows, {"c": column, "x": column}, tmp_path)
    assert [0.0] * 6 == columns["c"].tolist()
    np.testing.assert_allclose([-math.sqrt(2), 0, math.sqrt(2), 0, 0, 0], columns["x"], atol=1e-6)
    assert [0, 0, 0, 1, 1, 0] == columns["x_missing"].tolist()


@pytest.fixture(scope="module")
def january():
    return flight_events.table().slice(0, 1500)


def _rows(table: pa.Table) -> list[dict]:
    return [
        {name: [] if value is None else [value] for name, value in row.items()} for row in table.to_pylist()
    ]


def test_flights(january, tmp_path: Path):
    """Real flights become dense, finite features without gaps; serving works without the label."""
    spec = schema_utils.schema_as_feature_spec(loader.load(SCHEMA)).feature_spec
    columns, graph = _transform(flights.preprocessing_fn, _rows(january), spec, tmp_path)
    assert {(1500,)} == {value.shape for value in columns.values()}
    assert all(np.isfinite(value).all() for value in columns.values())
    np.testing.assert_array_equal(january["late"].fill_null(0).to_numpy(), columns["late"])
    assert abs(columns["distance"].mean()) < 1e-4
    raw = {name: feature for name, feature in spec.items() if name != "late"}
    served = graph.transform_features_layer()(tf.io.parse_example(tf.constant([b""]), raw))
    assert "late" not in served
    assert 0.0 == float(served["temp"][0])


def test_generic_plan_and_build(january, tmp_path: Path):
    """A plan made from an inferred schema makes features of the flights, too."""
    schema = infer(january, "late", "time_hour", ["flight", "tailnum"])
    plan = generic.plan(schema, "late", "time_hour", ["flight", "tailnum"])
    assert {"carrier", "origin", "dest", "manufacturer"} == set(plan.categories)
    assert "wind_gust" in plan.gaps and "distance" not in plan.gaps
    assert not {"late", "flight", "tailnum", "time_hour"} & {*plan.numbers, *plan.categories}
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    columns, _ = _transform(generic.build(plan), _rows(january), spec, tmp_path)
    assert {"time_of_day_sin", "time_of_week_cos", "wind_gust_missing", "late"} <= columns.keys()
    assert all(np.isfinite(value).all() for value in columns.values())


def test_plan_refuses_a_schema_without_the_label():
    """A label that the schema does not know is a config error that names it."""
    with pytest.raises(ConfigError, match="no feature 'late'"):
        generic.plan(schema_pb2.Schema(), "late")


def test_batches_are_lists(january):
    """Flat columns become list columns of the types that tf.Examples have."""
    batch = next(list_batches(january))
    kinds = {str(field.type.value_type) for field in batch.schema}
    assert {"int64", "float", "binary"} == kinds
