"""TFT on Beam (`tensorflow_transform.beam`): the graph of its analyzers, their combiners and their cache."""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from noria.components.internals import tft, tft_graphs  # before TFT: they fix Keras 3

from tensorflow_transform.beam import (  # isort: skip
    analysis_graph_builder,
    analyzer_cache,
    analyzer_impls,
    beam_nodes,
)
from tensorflow_transform.beam import common as beam_common  # isort: skip

DatasetKey = analyzer_cache.DatasetKey
DatasetCacheMetadata = analyzer_cache.DatasetCacheMetadata
CombinerWrapper = analyzer_impls._CombinerWrapper
split_inputs_by_key = analyzer_impls._split_inputs_by_key
merge_outputs_by_key = analyzer_impls._merge_outputs_by_key
join_boundary_rows: Callable[..., Any] = analyzer_impls._join_boundary_rows  # TFT's hint is not a type
empty_vocabulary = analyzer_impls.maybe_add_empty_vocabulary_dummy
count_and_token_to_bytes = analyzer_impls._count_and_token_to_bytes
unique_path = beam_common.get_unique_temp_path
CACHE_MANIFEST = analyzer_cache._ManifestFile._MANIFEST_FILE_NAME
CACHE_METADATA = analyzer_cache._METADATA_FILE_NAME

__all__ = ["beam_nodes"]


def build(
    traced: tft.Traced, dataset_keys: Sequence[DatasetKey], cache: Mapping[DatasetKey, Any]
) -> tuple[tft.ValueNode, Mapping[DatasetKey, Mapping[Any, tft.ValueNode]]]:
    """The graph of operations that ends in the SavedModel, and per dataset the nodes that fill its cache."""
    with tft_graphs.fast():
        root, cache_nodes, _ = analysis_graph_builder.build(
            traced.graph,
            traced.inputs,
            traced.outputs,
            dataset_keys=list(dataset_keys),
            cache_dict=dict(cache),
        )
    return root, cache_nodes or {}


def datasets_to_read(
    preprocessing_fn: Callable[..., Any],
    specs: dict[str, Any],
    keys: Sequence[DatasetKey],
    cache: Mapping[DatasetKey, Any],
) -> set[DatasetKey]:
    """The datasets whose rows the analysis needs; the cache covers the others."""
    with tft_graphs.fast():
        return set(
            analysis_graph_builder.get_analysis_dataset_keys(
                preprocessing_fn, specs, list(keys), cache, force_tf_compat_v1=False
            )
        )


def is_final(operation: Any) -> bool:
    """Whether this CreateSavedModel is the last one: earlier ones put out single tensors, by name."""
    return operation.label == "CreateSavedModel"


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
