"""Every reach into tensorflow_transform's and tfx_bsl's internals, in one place.

tests/unit/components/test_transform.py holds the equality with stock TFT: a release that changes
one of these names or meanings breaks that test, not a user. Read in TFT 1.16.0 and 1.21.0, which differ in
format only. Each name stands in TFT's own module under the name used here.
"""

import os
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noria.components.keras3 import prefer_keras3

tf = prefer_keras3()

import tensorflow_transform as tft  # noqa: E402 - only after Keras is settled
from tensorflow.python.eager import wrap_function  # noqa: E402
from tensorflow_transform import (  # noqa: E402
    analyzer_nodes,
    annotators,
    graph_context,
    graph_tools,
    impl_helper,
    nodes,
    tf_utils,
)
from tensorflow_transform.analyzers import _VocabOrderingType  # noqa: E402
from tensorflow_transform.beam import (  # noqa: E402
    analysis_graph_builder,
    analyzer_cache,
    analyzer_impls,
    beam_nodes,
)
from tensorflow_transform.beam import common as beam_common  # noqa: E402
from tensorflow_transform.saved import saved_transform_io_v2  # noqa: E402
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io  # noqa: E402
from tfx_bsl.coders import example_coder  # noqa: E402
from tfx_bsl.tfxio import tensor_adapter, tf_example_record  # noqa: E402

Visitor = nodes.Visitor
Traverser = nodes.Traverser
ValueNode = nodes.ValueNode
DatasetKey = analyzer_cache.DatasetKey
DatasetCacheMetadata = analyzer_cache.DatasetCacheMetadata
TensorAdapter = tensor_adapter.TensorAdapter
ExamplesToRecordBatchDecoder = example_coder.ExamplesToRecordBatchDecoder
RecordBatchToExamplesEncoder = example_coder.RecordBatchToExamplesEncoder
CombinerWrapper = analyzer_impls._CombinerWrapper
PackedCombinerWrapper = analyzer_impls._PackedCombinerWrapper
split_inputs_by_key = analyzer_impls._split_inputs_by_key
merge_outputs_by_key = analyzer_impls._merge_outputs_by_key
join_boundary_rows = analyzer_impls._join_boundary_rows
empty_vocabulary = analyzer_impls.maybe_add_empty_vocabulary_dummy
count_and_token_to_bytes = analyzer_impls._count_and_token_to_bytes
unique_path = beam_common.get_unique_temp_path
FREQUENCY = _VocabOrderingType.FREQUENCY
METADATA_DIR = impl_helper.METADATA_DIR_NAME
CACHE_MANIFEST = analyzer_cache._ManifestFile._MANIFEST_FILE_NAME
CACHE_METADATA = analyzer_cache._METADATA_FILE_NAME


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


def tfxio(files: Sequence[str], schema: Any) -> tf_example_record.TFExampleRecord:
    """The reader of gzip TFRecords of tf.Example; its schema decides which columns become which tensors."""
    return tf_example_record.TFExampleRecord(
        list(files), schema=schema, telemetry_descriptors=["noria", "Transform"]
    )


def trace(preprocessing_fn: Callable[..., Any], specs: dict[str, Any], temp_dir: str) -> Traced:
    """Traces the function once, as TFT's `_AnalyzeDatasetCommon.expand` does."""
    graph, inputs, outputs = impl_helper.trace_preprocessing_function(
        preprocessing_fn, specs, use_tf_compat_v1=False, base_temp_dir=temp_dir
    )
    asset_map = annotators.get_asset_annotations(graph)
    annotators.clear_asset_annotations(graph)
    fingerprint = graph_tools.get_analyzers_fingerprint(graph, inputs)
    return Traced(preprocessing_fn, specs, graph, inputs, outputs, fingerprint, asset_map, temp_dir)


def trainable_variables(traced: Traced) -> list[Any]:
    return traced.graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES)


def build(
    traced: Traced, dataset_keys: Sequence[DatasetKey], cache: Mapping[DatasetKey, Any]
) -> tuple[ValueNode, Mapping[DatasetKey, Mapping[bytes, ValueNode]]]:
    """The graph of operations that ends in the SavedModel, and per dataset the nodes that fill its cache."""
    root, cache_nodes, _ = analysis_graph_builder.build(
        traced.graph, traced.inputs, traced.outputs, dataset_keys=list(dataset_keys), cache_dict=dict(cache)
    )
    return root, cache_nodes or {}


def datasets_to_read(
    preprocessing_fn: Callable[..., Any],
    specs: dict[str, Any],
    keys: Sequence[DatasetKey],
    cache: Mapping[DatasetKey, Any],
) -> set[DatasetKey]:
    """The datasets whose rows the analysis needs; the cache covers the others."""
    return set(
        analysis_graph_builder.get_analysis_dataset_keys(
            preprocessing_fn, specs, list(keys), cache, force_tf_compat_v1=False
        )
    )


def is_final(operation: Any) -> bool:
    """Whether this CreateSavedModel is the last one: earlier ones put out single tensors, by name."""
    return operation.label == "CreateSavedModel"


def replacements(bindings: Sequence[tuple[str, int, Any]]) -> dict[str, Any]:
    """(tensor name, dtype, value) of analysed tensors, as constants by name."""
    return {name: tf.constant(value, tf.dtypes.as_dtype(dtype)) for name, dtype, value in bindings}


def intermediate_function(
    traced: Traced, bound: dict[str, Any], signature: Mapping[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function from raw tensors to the tensors that the next analyzers read.

    TFT writes it as a SavedModel and loads it again, since Beam's workers are other processes. Here it
    stays what it is: a traced function. In the first phase it is a part of the graph traced already, as
    nothing is analysed yet that could be put into it.
    """
    fetches = dict(signature)
    if not bound and not _reads_tables(traced.graph, fetches):
        whole = wrap_function.WrappedFunction(
            traced.graph, variable_holder=wrap_function.VariableHolder(share_variables=True)
        )
        part = whole.prune(traced.graph.inputs, fetches, input_signature=((traced.specs,), {}))
        return _Bound(None, part)
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
    saved_transform_io_v2.trace_and_update_module(
        module, function, "transform_fn", strip_control_dependencies=False
    )
    return _Bound(module, module.transform_fn)


def _reads_tables(graph: Any, fetches: Mapping[str, Any]) -> bool:
    """Whether tensors depend on a lookup table; those that tracing made are gone when it is over."""
    tables = {tensor.name for tensor in graph.internal_captures if tensor.dtype == tf.resource}
    sources = graph_tools.retrieve_sources([tensor.op for tensor in fetches.values()])
    return any(source.name in tables for source in sources)


class _Bound:
    """A function of a dict of raw tensors. Keeps the module, and so its tables, alive beside it."""

    def __init__(self, module: Any, function: Any):
        self._module = module
        self._function = function

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self._function(inputs)


def write_saved_model(traced: Traced, bound: dict[str, Any], folder: str) -> None:
    """Writes the final SavedModel, with `transform_fn` and TFT's metadata beside it (METADATA_DIR)."""
    impl_helper.trace_and_write_v2_saved_model(
        folder, traced.preprocessing_fn, traced.specs, traced.temp_dir, traced.fingerprint, bound, {}, None
    )


def vocabulary_files(folder: str) -> dict[str, str]:
    """Names of the transform graph's assets, without TFT's '.tfrecord.gz', to their paths."""
    assets = os.path.join(tft.TFTransformOutput(folder).transform_savedmodel_dir, "assets")
    names = sorted(os.listdir(assets)) if os.path.isdir(assets) else []
    return {name.removesuffix(".tfrecord.gz"): os.path.join(assets, name) for name in names}


def write_transform_output(saved_model: str, schema: Any, asset_map: dict[str, str], output: str) -> None:
    """Lays the SavedModel out as `tft.TFTransformOutput` reads it.

    output/transform_fn, output/transformed_metadata (schema and, if there is one, asset_map),
    output/metadata (the raw schema). The SavedModel is moved.
    """
    import json

    os.makedirs(output, exist_ok=True)
    metadata = metadata_io.read_metadata(os.path.join(saved_model, METADATA_DIR))
    transformed = os.path.join(output, tft.TFTransformOutput.TRANSFORMED_METADATA_DIR)
    metadata_io.write_metadata(metadata, transformed)
    if asset_map:
        with open(os.path.join(transformed, tft.TFTransformOutput.ASSET_MAP), "w") as file:
            json.dump(asset_map, file)
    raw = dataset_metadata.DatasetMetadata(schema=schema)
    metadata_io.write_metadata(raw, os.path.join(output, tft.TFTransformOutput.RAW_METADATA_DIR))
    shutil.rmtree(os.path.join(saved_model, METADATA_DIR))
    shutil.move(saved_model, os.path.join(output, tft.TFTransformOutput.TRANSFORM_FN_DIR))


def reserved_tokens(traced: Traced, name: str) -> Any:
    return tf_utils.fetch_vocabulary_reserved_tokens(traced.graph, name)


class TransformGraph:
    """A written transform graph, loaded for large batches of exactly the columns it needs.

    Attributes:
      schema: of the transformed features.
      columns: raw columns that the outputs depend on.
    """

    def __init__(self, folder: str):
        output = tft.TFTransformOutput(folder)
        self.schema = output.transformed_metadata.schema
        self._loader = saved_transform_io_v2.SavedModelLoader(output.transform_savedmodel_dir)
        wanted = set(self._loader.structured_outputs)
        # With control dependencies: a check inside the graph must see its column, or it checks made-up zeros.
        self.columns = sorted(
            graph_tools.get_dependent_inputs(
                self._loader._func_graph, self._loader._structured_inputs, self._loader.structured_outputs
            )
        )
        self._loader.finalize(self.columns, wanted)
        self._converter = impl_helper.make_tensor_to_arrow_converter(self.schema)

    def __call__(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Raw tensors, [rows, ...], by column, to transformed tensors by feature name."""
        return self._loader.apply_transform_model(tensors)

    def to_record_batch(self, tensors: dict[str, Any]) -> Any:
        """Transformed tensors as the Arrow record batch that tfx_bsl encodes."""
        return self._converter.convert(tensors)


def read_manifest(folder: str) -> dict[bytes, int]:
    """TFT's list of a dataset's cache entries: key to number of the file."""
    path = os.path.join(folder, CACHE_MANIFEST)
    if not os.path.exists(path):
        return {}
    with open(path, "rb") as file:
        return pickle.load(file)


def write_manifest(folder: str, manifest: dict[bytes, int]) -> None:
    with open(os.path.join(folder, CACHE_MANIFEST), "wb") as file:
        file.write(pickle.dumps(manifest, protocol=0))


__all__ = [
    "FREQUENCY",
    "CombinerWrapper",
    "DatasetKey",
    "PackedCombinerWrapper",
    "Traced",
    "TransformGraph",
    "analyzer_nodes",
    "beam_nodes",
    "build",
    "tf",
    "tft",
    "tfxio",
    "trace",
]
