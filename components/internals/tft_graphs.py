"""TFT's walks over a graph, without its cost of inputs times outputs.

TFT asks for each output, or each analyzer, on which inputs it depends, by a separate walk. Where many outputs share
operations, each walk meets all inputs: 1,500 columns took minutes. Here one walk answers for all, and outputs with the
same sources share a set.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from noria.components.keras3 import prefer_keras3

tf = prefer_keras3()

import tensorflow_transform as tft  # noqa: E402 - only after Keras 3 is fixed
from tensorflow_transform import (  # noqa: E402
    analyzer_nodes,
    graph_tools,
    impl_helper,
    schema_inference,
    tf2_utils,
    tf_utils,
)
from tensorflow_transform.saved import saved_transform_io_v2  # noqa: E402

from noria.components.internals.tensorflow import identity_set, sparse_tensor_of  # noqa: E402

# Share of a function's operations that its outputs need, from which on it is written as it is.
ENOUGH_NEEDED = 0.9


def output_sources(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The placeholders that each output depends on, by its name, as `_get_output_to_inputs_map`.

    As there, control dependencies do not count. Outputs with the same sources have the same set.
    """
    found: dict[Any, frozenset[int]] = {}  # operation -> positions of its sources in `sources`
    known: dict[frozenset[int], frozenset[int]] = {}
    sources: list[Any] = []
    sets: dict[frozenset[int], Any] = {}

    def union(parts: Iterable[frozenset[int]]) -> frozenset[int]:
        distinct = list({id(part): part for part in parts if part}.values())
        if len(distinct) < 2:
            return distinct[0] if distinct else frozenset()
        joined = frozenset().union(*distinct)
        return known.setdefault(joined, joined)

    def walk(sink: Any) -> frozenset[int]:
        waiting = [sink]
        while waiting:
            op = waiting[-1]
            if op in found:
                waiting.pop()
                continue
            inputs = {tensor.op for tensor in op.inputs}
            if missing := [one for one in inputs if one not in found]:
                waiting += missing
                continue
            waiting.pop()
            own: frozenset[int] = frozenset()
            if op.type == "Placeholder":
                own = frozenset(range(len(sources), len(sources) + len(op.outputs)))
                sources.extend(op.outputs)
            found[op] = union([own, *(found[one] for one in inputs)])
        return found[sink]

    result = {}
    for name, output in outputs.items():
        positions = union([walk(tensor.op) for tensor in tf.nest.flatten(output, expand_composites=True)])
        if positions not in sets:
            sets[positions] = identity_set(sources[position] for position in positions)
        result[name] = sets[positions]
    return result


def sources_of(sinks: Iterable[Any], ignore_control_dependencies: bool = False) -> Any:
    """The placeholders that operations depend on, as `retrieve_sources`, in plain sets: operations have a hash."""
    found = set(sinks)
    waiting = list(found)
    sources: list[Any] = []
    while waiting:
        op = waiting.pop()
        if op.type == "Placeholder":
            sources.extend(op.outputs)
        parents = {tensor.op for tensor in op.inputs}
        if not ignore_control_dependencies:
            parents.update(op.control_inputs)
        new = parents - found
        found |= new
        waiting += new
    return identity_set(sources)


def source_keys(tensors: Iterable[Any], inputs: Mapping[str, Any]) -> set[str]:
    """The inputs that some tensors depend on, as `_retrieve_source_keys`: without control dependencies."""
    return _keys(sources_of((one.op for one in tensors), ignore_control_dependencies=True), inputs)


def _keys(sources: Any, inputs: Mapping[str, Any]) -> set[str]:
    return {
        key
        for key, value in inputs.items()
        if any(part in sources for part in tf.nest.flatten(value, expand_composites=True))
    }


def missing_inputs(
    inputs: Mapping[str, Any], batch_size: int, missing_keys: Collection[str] | None = None
) -> dict[str, Any]:
    """Stand-ins for inputs, as `supply_missing_inputs`: made once for each type, and copied for each input."""
    kinds: dict[Any, list[str]] = {}
    for key in missing_keys or list(inputs):
        kinds.setdefault(tf.type_spec_from_value(inputs[key]), []).append(key)
    made = _supply_missing_inputs(inputs, batch_size, [keys[0] for keys in kinds.values()])
    # A name for each: TFT finds an output again by the name of its tensor.
    return {key: _renamed(made[keys[0]]) for keys in kinds.values() for key in keys}


def _renamed(value: Any) -> Any:
    if isinstance(value, tf.SparseTensor):
        return tf.SparseTensor(value.indices, tf.identity(value.values), value.dense_shape)
    return tf.nest.map_structure(tf.identity, value, expand_composites=True)


def _shallow_copy(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """`copy_tensors` without an operation for each tensor: a preprocessing_fn may change the dict, never a tensor."""
    return dict(tensors)


def _set_value(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    """`_set_unique_value_in_dict` without a walk over all values: names of inputs are unique."""
    mapping[tf_utils.hashable_tensor_or_op(key)] = value


def write_saved_model(module: Any, function: Any, name: str, folder: str, save_options: Any = None) -> Any:
    """`write_v2_saved_model` without a signature, which would repeat all inputs and outputs: TFT reads none."""
    concrete = saved_transform_io_v2.trace_and_update_module(
        module, function, name, strip_control_dependencies=False
    )
    tf.saved_model.save(module, folder, signatures={}, options=save_options)
    return concrete


def without_unused(function: Any, strip_control_dependencies: bool) -> Any:
    """`optimize_concrete_function`, which copies the function without the operations that no output needs.

    Where they are few, as in a table of many columns, the function remains as it is: a copy takes as long as a trace.
    """
    graph = function.graph
    unfinished = strip_control_dependencies or graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS)
    needed = _needed(tensor.op for tensor in graph.outputs)
    if unfinished or needed < ENOUGH_NEEDED * len(graph.get_operations()):
        return _optimize_concrete_function(function, strip_control_dependencies)
    return function


def _needed(sinks: Iterable[Any]) -> int:
    """Number of operations that some operations depend on, with these."""
    waiting = list(sinks)
    found = set(waiting)
    while waiting:
        op = waiting.pop()
        new = {*(tensor.op for tensor in op.inputs), *op.control_inputs} - found
        found |= new
        waiting += new
    return len(found)


def metadata(function: Any, *given: Any) -> Any:
    """The schema of a traced function's outputs, as `_trace_and_get_metadata`, which traces preprocessing_fn again.

    It does so for annotations, such as the size of a vocabulary. A graph without any needs no second trace.
    """
    if any(map(function.graph.get_collection, _ANNOTATIONS)):
        return _trace_and_get_metadata(function, *given)
    schema = schema_inference.infer_feature_schema_v2(
        function.structured_outputs, dict, evaluate_schema_overrides=True
    )
    return tft.DatasetMetadata(schema=schema)


_ANNOTATIONS = (
    schema_inference._TF_METADATA_TENSOR_COLLECTION,
    schema_inference._TF_METADATA_EXTRA_ANNOTATION,
    schema_inference._ANNOTATED_SPARSE_SHAPE_TENSORS,
    schema_inference._ANNOTATED_TRUELY_SPARSE_TENSORS,
)
_REPLACED = {
    (saved_transform_io_v2, "_get_output_to_inputs_map"): output_sources,
    (saved_transform_io_v2, "optimize_concrete_function"): without_unused,
    (saved_transform_io_v2, "write_v2_saved_model"): write_saved_model,
    (graph_tools, "retrieve_sources"): sources_of,
    (graph_tools, "_retrieve_source_keys"): source_keys,
    (graph_tools, "_set_unique_value_in_dict"): _set_value,
    (impl_helper, "_trace_and_get_metadata"): metadata,
    (tf2_utils, "supply_missing_inputs"): missing_inputs,
    (tf_utils, "copy_tensors"): _shallow_copy,
    (tf.SparseTensor, "__init__"): sparse_tensor_of(tf.SparseTensor.__init__),
}
_supply_missing_inputs = tf2_utils.supply_missing_inputs
_optimize_concrete_function = saved_transform_io_v2.optimize_concrete_function
_trace_and_get_metadata = impl_helper._trace_and_get_metadata


@contextlib.contextmanager
def fast() -> Iterator[None]:
    """Within this context TFT takes the functions of this module, with the same results; per process."""
    before = {attribute: getattr(*attribute) for attribute in _REPLACED}
    try:
        for (module, name), function in _REPLACED.items():
            setattr(module, name, function)
        yield
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)


class SavedModelLoader(saved_transform_io_v2.SavedModelLoader):
    """TFT's loader of a transform graph."""

    def __init__(self, folder: str):
        with fast():
            super().__init__(folder)

    def columns(self) -> list[str]:
        """The raw columns that any output depends on, sorted.

        With control dependencies: an assertion inside the graph needs its column, otherwise it would check zeros.
        """
        outputs = tf.nest.flatten(self.structured_outputs, expand_composites=True)
        return sorted(_keys(sources_of(tensor.op for tensor in outputs), self._structured_inputs))

    def _finalize_wrapped_function(self, unfed_input_keys: Iterable[str], fetches_keys: Iterable[str]) -> Any:
        """TFT's name; TFT traces a function around the loaded one, which costs an operation for each input."""
        missing = self._get_missing_inputs(unfed_input_keys, batch_size=1)

        def apply(inputs: Mapping[str, Any]) -> dict[str, Any]:
            flat = tf.nest.flatten({**inputs, **missing}, expand_composites=True)
            # A call would first try the other signature, and write all values into an error that nobody reads.
            outputs = self._wrapped_function._call_with_flat_signature(flat, {})
            return {key: outputs[key] for key in fetches_keys}

        return apply

    def _get_fetches(self, feeds: Any) -> dict[str, Any]:
        """TFT's name; the outputs that need no other input, each set of sources compared once."""
        given = identity_set([*feeds, *self._func_graph.internal_captures])
        covered = {
            id(sources): not sources.difference(given)
            for sources in {id(one): one for one in self._output_to_inputs_map.values()}.values()
        }
        return {
            name: output
            for name, output in self._structured_outputs.items()
            if covered[id(self._output_to_inputs_map[name])]
        }
