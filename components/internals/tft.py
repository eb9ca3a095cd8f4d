"""TFT without Beam: a preprocessing_fn as a graph, and its SavedModel.

`tft_beam` has the names of `tensorflow_transform.beam`, which takes 4 s to import; the Trainer does not need it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.components.keras3 import prefer_keras3

tf = prefer_keras3()

import tensorflow_transform as tft  # noqa: E402 - only after Keras 3 is fixed
from tensorflow_transform import analyzer_nodes as analyzer_nodes  # noqa: E402
from tensorflow_transform import (  # noqa: E402
    annotators,
    graph_context,
    graph_tools,
    impl_helper,
    nodes,
    tf_utils,
)
from tensorflow_transform.analyzers import _VocabOrderingType  # noqa: E402
from tensorflow_transform.saved import saved_transform_io_v2  # noqa: E402
from tensorflow_transform.tf_metadata import metadata_io, schema_utils  # noqa: E402

from noria.components.internals import tft_graphs  # noqa: E402
from noria.components.internals.tensorflow import part_of_graph  # noqa: E402
from noria.components.internals.tft_graphs import SavedModelLoader as SavedModelLoader  # noqa: E402
from noria.schemas import loader  # noqa: E402

Visitor = nodes.Visitor
Traverser = nodes.Traverser
ValueNode = nodes.ValueNode
FREQUENCY = _VocabOrderingType.FREQUENCY
METADATA_DIR = impl_helper.METADATA_DIR_NAME
feature_spec_of = schema_utils.schema_as_feature_spec


@dataclass
class Traced:
    """A preprocessing_fn as a graph, before anything is analysed."""

    preprocessing_fn: Callable[..., Any]
    specs: dict[str, Any]
    graph: Any
    inputs: Mapping[str, Any]
    outputs: Any
    fingerprint: Mapping[str, Any]
    asset_map: dict[str, str]
    temp_dir: str


def trace(preprocessing_fn: Callable[..., Any], specs: dict[str, Any], temp_dir: str) -> Traced:
    """Traces the function once, as TFT's `_AnalyzeDatasetCommon.expand` does."""
    with tft_graphs.fast():
        graph, inputs, outputs = impl_helper.trace_preprocessing_function(
            preprocessing_fn, specs, use_tf_compat_v1=False, base_temp_dir=temp_dir
        )
        asset_map = annotators.get_asset_annotations(graph)
        annotators.clear_asset_annotations(graph)
        fingerprint = graph_tools.get_analyzers_fingerprint(graph, inputs)
    return Traced(preprocessing_fn, specs, graph, inputs, outputs, fingerprint, asset_map, temp_dir)


def trainable_variables(traced: Traced) -> list[Any]:
    return traced.graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES)


def replacements(bindings: Sequence[tuple[str, int, Any]]) -> dict[str, Any]:
    """(tensor name, dtype, value) of analysed tensors, as constants by name."""
    return {name: tf.constant(value, tf.dtypes.as_dtype(dtype)) for name, dtype, value in bindings}


def intermediate_function(
    traced: Traced, bound: dict[str, Any], signature: Mapping[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function from raw tensors to the tensors that the next analyzers read.

    TFT writes it as a SavedModel and loads it again, because Beam's workers are other processes. Here it remains a
    traced function. In the first phase it is a part of the graph that exists already, as no analysed value can be
    inserted yet.
    """
    fetches = dict(signature)
    if not bound and not _reads_tables(traced.graph, fetches):
        return _Bound(None, part_of_graph(traced.graph, fetches, ((traced.specs,), {})))
    module = tf.Module()
    context = graph_context.TFGraphContext(
        module_to_export=module, temp_dir=traced.temp_dir, evaluated_replacements=bound
    )
    function = impl_helper.get_traced_transform_fn(
        traced.preprocessing_fn,
        traced.specs,
        context,
        output_keys_to_name_map={key: tensor.name for key, tensor in fetches.items()},
    )
    with tft_graphs.fast():
        saved_transform_io_v2.trace_and_update_module(
            module, function, "transform_fn", strip_control_dependencies=False
        )
    return _Bound(module, module.transform_fn)


def _reads_tables(graph: Any, fetches: Mapping[str, Any]) -> bool:
    """Whether tensors depend on a lookup table; the tables that tracing made are deleted after it."""
    tables = {tensor.name for tensor in graph.internal_captures if tensor.dtype == tf.resource}
    sources = graph_tools.retrieve_sources([tensor.op for tensor in fetches.values()])
    return any(source.name in tables for source in sources)


class _Bound:
    """A function of a dict of raw tensors. Holds the module, so that its tables remain."""

    def __init__(self, module: Any, function: Any):
        self._module = module
        self._function = function

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        with _as_written():
            return self._function(inputs)


def write_saved_model(traced: Traced, bound: dict[str, Any], folder: str) -> None:
    """Writes the final SavedModel, with `transform_fn` and TFT's metadata beside it (METADATA_DIR)."""
    with tft_graphs.fast():
        impl_helper.trace_and_write_v2_saved_model(
            folder,
            traced.preprocessing_fn,
            traced.specs,
            traced.temp_dir,
            traced.fingerprint,
            bound,
            {},
            None,
        )


def vocabulary_files(folder: str) -> dict[str, str]:
    """Names of the transform graph's assets, without TFT's '.tfrecord.gz', to their paths."""
    assets = os.path.join(TransformOutput(folder).transform_savedmodel_dir, "assets")
    names = sorted(os.listdir(assets)) if os.path.isdir(assets) else []
    return {name.removesuffix(".tfrecord.gz"): os.path.join(assets, name) for name in names}


def write_transform_output(saved_model: str, schema: Any, asset_map: dict[str, str], output: str) -> None:
    """Writes the layout that `tft.TFTransformOutput` reads.

    output/transform_fn, output/transformed_metadata (schema and, if there is one, asset_map),
    output/metadata (the raw schema). The SavedModel is moved.
    """
    os.makedirs(output, exist_ok=True)
    transformed = os.path.join(output, tft.TFTransformOutput.TRANSFORMED_METADATA_DIR)
    shutil.move(os.path.join(saved_model, METADATA_DIR), transformed)
    if asset_map:
        with open(os.path.join(transformed, tft.TFTransformOutput.ASSET_MAP), "w") as file:
            json.dump(asset_map, file)
    raw = tft.DatasetMetadata(schema=schema)
    metadata_io.write_metadata(raw, os.path.join(output, tft.TFTransformOutput.RAW_METADATA_DIR))
    shutil.move(saved_model, os.path.join(output, tft.TFTransformOutput.TRANSFORM_FN_DIR))


def reserved_tokens(traced: Traced, name: str) -> Any:
    return tf_utils.fetch_vocabulary_reserved_tokens(traced.graph, name)


class TransformOutput(tft.TFTransformOutput):
    """TFT's reader of a transform graph, without parsing a schema twice in one process."""

    def __init__(self, folder: str):
        super().__init__(folder)
        self._folder = folder

    @property
    def transformed_metadata(self) -> Any:
        return _metadata(os.path.join(self._folder, self.TRANSFORMED_METADATA_DIR))

    @property
    def raw_metadata(self) -> Any:
        return _metadata(os.path.join(self._folder, self.RAW_METADATA_DIR))


def _metadata(folder: str) -> Any:
    """As `metadata_io.read_metadata`."""
    text = Path(folder, "schema.pbtxt").read_text(encoding="utf-8")
    return tft.DatasetMetadata(schema=loader.parse(text))


class TransformGraph:
    """A written transform graph, loaded for large batches of exactly the columns it needs.

    Attributes:
      schema: of the transformed features.
      columns: raw columns that the outputs depend on.
    """

    def __init__(self, folder: str):
        output = TransformOutput(folder)
        self.schema = output.transformed_metadata.schema
        self._loader = SavedModelLoader(output.transform_savedmodel_dir)
        self.columns = self._loader.columns()
        self._loader.finalize(self.columns, set(self._loader.structured_outputs))
        self._converter = impl_helper.make_tensor_to_arrow_converter(self.schema)

    def __call__(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Raw tensors, [rows, ...], by column, to transformed tensors by feature name."""
        with _as_written():
            return self._loader.apply_transform_model(tensors)

    def to_record_batch(self, tensors: dict[str, Any]) -> Any:
        """Transformed tensors as the Arrow record batch that tfx_bsl encodes."""
        return self._converter.convert(tensors)


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
    """Within it TensorFlow runs functions without its graph optimizer.

    On 1,500 columns that takes seconds and 85 MB at the first call, and no later call is faster by it.
    """
    name, optimizer = "disable_meta_optimizer", tf.config.optimizer
    before = optimizer.get_experimental_options().get(name, False)
    optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        optimizer.set_experimental_options({name: before})
