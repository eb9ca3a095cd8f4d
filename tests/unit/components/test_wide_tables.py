"""Many columns: what the graphs of Transform and of the served model cost for one column more."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from noria.components import journal
from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

import tensorflow_transform as tft  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: E402
from tensorflow_transform import graph_tools, impl_helper, tf2_utils  # noqa: E402
from tensorflow_transform.saved import saved_transform_io_v2  # noqa: E402
from tensorflow_transform.tf_metadata import metadata_io  # noqa: E402

from noria.components.internals import tft_graphs  # noqa: E402
from noria.components.internals.tft import SavedModelLoader, TransformOutput  # noqa: E402
from noria.components.trainer import export, keras_model  # noqa: E402
from noria.components.trainer.families import FAMILIES  # noqa: E402
from noria.components.trainer.model_inputs import read_features  # noqa: E402
from noria.components.trainer.network import Network  # noqa: E402
from noria.components.trainer.settings import read  # noqa: E402
from noria.components.trainer.transform_layer import TransformLayer  # noqa: E402
from noria.components.transform import executor  # noqa: E402
from noria.components.transform.example_rows import ExampleRows  # noqa: E402
from noria.components.transform.request import Request  # noqa: E402

ROWS, FEW, MANY = 60, 10, 30  # of each kind of column
SOURCE = """
from noria.preprocessing import features

def preprocessing_fn(inputs):
    numbers = {name: inputs[name] for name in inputs if name != "y"}
    gaps = {f"{name}_missing": inputs[name] for name in inputs if name.startswith("gaps")}
    return features.numbers(numbers) | features.gaps(gaps) | features.label(inputs, "y")
"""


def columns(count: int) -> dict[str, list]:
    """Floats with gaps, whole numbers with gaps, and floats that are always there; one has no value at all."""
    random = np.random.default_rng(0)
    found: dict[str, list] = {"y": [0, 1] * (ROWS // 2)}
    for i in range(count):
        values = random.normal(i, 1 + i, ROWS).tolist()
        known = random.random(ROWS) < (0.8 if i else 0.0)
        found[f"gaps_{i}"] = [value if here else None for value, here in zip(values, known, strict=True)]
        found[f"whole_{i}"] = [int(10 * v) if here else None for v, here in zip(values, ~known, strict=True)]
        found[f"full_{i}"] = values[::-1]
    return found


def write(table: dict[str, list], folder: Path) -> schema_pb2.Schema:
    """The examples, in one file, and their schema."""
    schema = schema_pb2.Schema()
    for name, values in table.items():
        whole = isinstance(next((value for value in values if value is not None), 0.0), int)
        feature = schema.feature.add(name=name, type=schema_pb2.INT if whole else schema_pb2.FLOAT)
        if None in values:
            feature.value_count.max = 1
        else:
            feature.presence.min_fraction = 1.0
            feature.shape.SetInParent()
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "span-00000001-00000-of-00001.gz"), "GZIP") as records:
        for row in range(ROWS):
            example = tf.train.Example()
            for name, values in table.items():
                if values[row] is not None:
                    kind = "int64_list" if isinstance(values[row], int) else "float_list"
                    getattr(example.features.feature[name], kind).value.append(values[row])
            records.write(example.SerializeToString())
    return schema


@pytest.fixture(scope="module", params=[FEW, MANY])
def made(request, tmp_path_factory) -> tuple[int, dict[str, list], Path]:
    """A number of columns, the table, and a folder with its transform graph and a model that serves it."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "many_features.py").write_text(SOURCE)
    table = columns(request.param)
    wanted = Request(
        examples=str(folder / "examples"),
        splits=["train"],
        schema=write(table, folder / "examples" / "Split-train"),
        champion=None,
        verdict="ok",
        graph=str(folder / "graph"),
        transformed=str(folder / "transformed"),
        preprocessing="many_features.preprocessing_fn",
        label="y",
        project=str(folder),
    )
    with journal.stage("Transform") as stage:
        executor.transform(wanted, stage)
    graph = tft.TFTransformOutput(wanted.graph)
    family = FAMILIES.find("tabm", None)()
    settings = keras_model.resolved(read({"task": "binary", "label": "y"}), family)
    features = read_features(graph, "y")
    network = Network(features, settings, keras_model.build(features, settings, family))
    export.export(network, TransformLayer(graph, "y"), folder / "model", "recipe")
    return request.param, table, folder


NODES: dict[str, dict[int, int]] = {"transform": {}, "serving": {}}


def nodes(folder: Path) -> int:
    """Nodes of a SavedModel's graph, with those of its functions."""
    content = (folder / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def test_columns_share_their_operations(made):
    """A graph has a few nodes more for a column more: its input and output, none of the arithmetic."""
    count, _, folder = made
    NODES["transform"][count] = nodes(folder / "graph" / "transform_fn")
    NODES["serving"][count] = nodes(folder / "model")
    if count == MANY:
        more = 3 * (MANY - FEW)
        growth = {name: (found[MANY] - found[FEW]) / more for name, found in NODES.items()}
        assert growth["transform"] <= 3, growth
        assert growth["serving"] <= 8, growth


def test_each_column_is_scaled_by_itself(made):
    """Sparse or dense, whole or not: each is 0 in its gaps, else (x - mean) / deviation of its own values."""
    _, table, folder = made
    layer = TransformLayer(tft.TFTransformOutput(str(folder / "graph")), "y")
    file = folder / "examples" / "Split-train" / "span-00000001-00000-of-00001.gz"
    found = layer(tf.constant(list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())))
    for name, values in table.items():
        if name == "y":
            continue
        x = np.array(values, float)
        known = ~np.isnan(x)
        expected = np.zeros(ROWS)
        if known.any():
            expected[known] = (x[known] - x[known].mean()) / x[known].std()
        np.testing.assert_allclose(expected, found[name], atol=1e-5, err_msg=name)
        if name.startswith("gaps"):
            np.testing.assert_array_equal(1.0 - known, found[f"{name}_missing"])


def test_a_row_with_two_values_in_a_column_is_refused(made):
    """The second value must not move into the next column."""
    _, table, folder = made
    layer = TransformLayer(tft.TFTransformOutput(str(folder / "graph")), "y")
    example = tf.train.Example()
    for name, values in table.items():
        if name.startswith("full"):
            example.features.feature[name].float_list.value.append(values[0])
    example.features.feature["gaps_1"].float_list.value.extend([1.0, 2.0])
    with pytest.raises(tf.errors.InvalidArgumentError):
        layer(tf.constant([example.SerializeToString()]))


def test_one_walk_finds_what_tfts_walks_find(made):
    """The sources of all outputs, found in one walk, are those that TFT finds for each; so are the columns."""
    _, table, folder = made
    loader = SavedModelLoader(str(folder / "graph" / "transform_fn"))
    expected = saved_transform_io_v2._get_output_to_inputs_map(loader.structured_outputs)
    actual = tft_graphs.output_sources(loader.structured_outputs)
    assert expected.keys() == actual.keys()
    for name, sources in expected.items():
        assert {id(tensor) for tensor in sources} == {id(tensor) for tensor in actual[name]}
    inputs, outputs = loader._structured_inputs, loader.structured_outputs
    assert sorted(table) == loader.columns()
    assert sorted(graph_tools.get_dependent_inputs(loader._func_graph, inputs, outputs)) == loader.columns()
    for name in ("y", "gaps_1", "gaps_1_missing"):
        wanted = graph_tools._retrieve_source_keys([outputs[name]], inputs)
        assert wanted == tft_graphs.source_keys([outputs[name]], inputs)
        for without_control in (False, True):
            theirs, ours = (
                find([outputs[name].op], ignore_control_dependencies=without_control)
                for find in (graph_tools.retrieve_sources, tft_graphs.sources_of)
            )
            assert {id(tensor) for tensor in theirs} == {id(tensor) for tensor in ours}
    feeds = loader._get_feeds(["y"])
    theirs = saved_transform_io_v2.SavedModelLoader._get_fetches(loader, feeds)
    assert set(outputs) - {"y"} == set(theirs) == set(loader._get_fetches(feeds))


def test_stand_ins_for_inputs_are_tfts(made):
    """One stand-in for all inputs of a type has the values and shapes that TFT gives to each."""
    loader = SavedModelLoader(str(made[2] / "graph" / "transform_fn"))
    inputs = loader._structured_inputs
    expected, actual = (
        make(inputs, 1) for make in (tf2_utils.supply_missing_inputs, tft_graphs.missing_inputs)
    )
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        sides = zip(*(tf.nest.flatten(v, expand_composites=True) for v in (value, actual[name])), strict=True)
        for one, other in sides:
            assert (one.dtype, one.numpy().tolist()) == (other.dtype, other.numpy().tolist())


@pytest.mark.parametrize("annotated", [False, True])
def test_schema_is_tfts(annotated, tmp_path):
    """The schema of the outputs is the one that TFT finds in a second trace, with annotations and without."""

    def preprocessing_fn(inputs):
        found = {"twice": 2.0 * inputs["x"], "given": inputs["gaps"]}
        if annotated:
            found["bucket"] = tft.apply_buckets(inputs["x"], tf.constant([[0.0, 1.0]]))
        return found

    specs = {"x": tf.TensorSpec([None], tf.float32), "gaps": tf.SparseTensorSpec([None, None], tf.int64)}
    expected, actual = (tmp_path / name for name in ("tfts", "ours"))
    for folder, context in ((expected, contextlib.nullcontext()), (actual, tft_graphs.fast())):
        with context:
            impl_helper.trace_and_write_v2_saved_model(
                str(folder), preprocessing_fn, specs, str(tmp_path), {}, {}, {}, None
            )
    schemas = [
        metadata_io.read_metadata(str(folder / impl_helper.METADATA_DIR_NAME)).schema
        for folder in (expected, actual)
    ]
    assert schemas[0] == schemas[1]
    assert annotated == schemas[1].feature[0].HasField("int_domain")


def test_tensors_are_tfx_bsls(made, tmp_path):
    """Sparse columns that share their indices have the values and shapes that tfx_bsl gives to each."""
    _, table, folder = made
    files = [str(folder / "examples" / "Split-train" / "span-00000001-00000-of-00001.gz")]
    rows = ExampleRows(write(table, tmp_path / "again"), str(tmp_path))
    (batch,) = rows.small(files)
    sparse = [name for name, value in rows.tensors(batch).items() if isinstance(value, tf.SparseTensor)]
    assert {name for name, values in table.items() if None in values} == set(sparse)
    for part in (batch, batch.slice(3, 1)):  # of one row, in which no column has a gap between values
        expected, actual = rows._adapter.ToBatchTensors(part, True), rows.tensors(part)
        assert expected.keys() == actual.keys()
        for name, value in expected.items():
            for one, other in zip(
                *(tf.nest.flatten(v, expand_composites=True) for v in (value, actual[name])), strict=True
            ):
                assert (one.dtype, one.numpy().tolist()) == (other.dtype, other.numpy().tolist()), name


@pytest.mark.parametrize("eager", [True, False])
def test_sparse_tensors_are_tensorflows(eager):
    """Without checks of shapes; parts that are no tensors are converted and checked as ever."""

    def shapes():
        parts = (
            tf.constant([[0, 0], [2, 1]], tf.int64),
            tf.constant([1.0, 2.0]),
            tf.constant([3, 2], tf.int64),
        )
        made = tf.SparseTensor(*parts)
        spec = tf.SparseTensorSpec([None, 2], tf.float32)
        return [made.shape, made.dtype, spec._from_components(parts).shape, tf.sparse.to_dense(made).shape]

    found = []
    for fast in (contextlib.nullcontext, tft_graphs.fast):
        with fast(), contextlib.nullcontext() if eager else tf.Graph().as_default():
            found.append(shapes())
            with pytest.raises(ValueError, match="rank"):
                tf.SparseTensor([0, 1], [1.0, 2.0], [3, 2])
    assert found[0] == found[1]


def test_schemas_of_a_transform_graph_are_tfts(made):
    """Read without parsing the same text again."""
    *_, folder = made
    graph = str(folder / "graph")
    assert tft.TFTransformOutput(graph).raw_feature_spec() == TransformOutput(graph).raw_feature_spec()
    expected, actual = (kind(graph).transformed_metadata for kind in (tft.TFTransformOutput, TransformOutput))
    assert expected.schema == actual.schema


def test_inputs_are_named_as_the_columns(made):
    """The served model parses each raw column by its own name."""
    _, table, folder = made
    content = (folder / "model" / "saved_model.pb").read_bytes()
    assert all(name.encode() in content for name in table if name != "y")
