"""TensorFlow: parts of `tensorflow.python`. Each function imports what it needs, so that this module imports fast."""

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def empty_package() -> Iterator[None]:
    """Within it, single files of TensorFlow can be imported without `tensorflow/__init__.py`, which imports all others.

    For its messages (`*_pb2`), which need nothing else. TensorFlow can still be imported afterwards, and nothing is
    done where it has been imported already.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    _place_empty_package()
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


def session_parts() -> types.SimpleNamespace:
    """What runs a SavedModel as TF Serving does: `load`, `Session`, `Graph`, `OpError` and the messages of options.

    Imported as `saved_model_loader` does, and only for a process that does nothing else with TensorFlow.
    """
    _place_empty_package()
    try:
        return _session_parts()
    except (ImportError, AttributeError):
        _import_whole()
        return _session_parts()


def _session_parts() -> types.SimpleNamespace:
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.client import session
    from tensorflow.python.framework import errors_impl, ops
    from tensorflow.python.saved_model import loader_impl

    return types.SimpleNamespace(
        load=loader_impl.load,
        Session=session.Session,
        Graph=ops.Graph,
        OpError=errors_impl.OpError,
        ConfigProto=config_pb2.ConfigProto,
        CallableOptions=config_pb2.CallableOptions,
    )


def make_callable(session: Any, options: Any) -> Callable[..., list[Any]]:
    """A function from fed arrays to fetched ones, in the order of the CallableOptions.

    It skips what `Session.run` does in Python for each call, and checks no static shape, as TF Serving.
    """
    return session._make_callable_from_options(options)


def load_text_operations() -> bool:
    """Registers the operations of tensorflow-text, which TF Serving has in its executable. False if not installed.

    Its libraries alone, because its Python imports all of TensorFlow's.
    """
    from tensorflow.python.framework import load_library

    found = importlib.util.find_spec("tensorflow_text")
    if found is None or not found.submodule_search_locations:
        return False
    for library in sorted(Path(found.submodule_search_locations[0]).glob("python/*/_*.so")):
        load_library.load_op_library(str(library))
    return True


def profiler_session() -> Any:
    """TensorFlow's profiler of this process: `start(folder, options)`, then `stop()` for a serialized XSpace."""
    from tensorflow.python.profiler.internal import _pywrap_profiler

    return _pywrap_profiler.ProfilerSession()


def lite_parts() -> types.SimpleNamespace:
    """What runs a TF Lite model: `Interpreter`, and `Model`, the reader of its file.

    Raises:
      ImportError: this TensorFlow has no TF Lite.
    """
    from tensorflow.lite.python import interpreter, schema_py_generated

    return types.SimpleNamespace(Interpreter=interpreter.Interpreter, Model=schema_py_generated.Model)


def lite_signatures(interpreter: Any) -> Mapping[str, Any]:
    """The signatures that the converter has written: by name, `inputs` and `outputs` by key, as places of tensors."""
    return interpreter._get_full_signature_list()


def saved_model_loader() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`tf.saved_model.load` and `tf.constant` without the rest of TensorFlow's Python: 3 s to import instead of 10.

    `tensorflow/__init__.py` imports every public module. An empty module in its place allows an import of the loader's
    file alone; all kernels are in the shared library. If a release has moved that file, all of TensorFlow is imported.
    Only for a process that does nothing else with TensorFlow.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    _place_empty_package()
    try:
        from tensorflow.python.framework import constant_op
        from tensorflow.python.saved_model import load

        return load.load, constant_op.constant
    except (ImportError, AttributeError):
        tf = _import_whole()
        return tf.saved_model.load, tf.constant


def _place_empty_package() -> None:
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("TensorFlow is not installed")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["tensorflow"] = package


def _import_whole() -> Any:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow"]:
        del sys.modules[name]
    return importlib.import_module("tensorflow")


def write_fingerprint(folder: Path) -> None:
    """Writes `fingerprint.pb` as `tf.saved_model.save` does; does nothing if a release has no such function.

    A model without the file loads as well.
    """
    try:
        from tensorflow.python.saved_model import fingerprinting_utils
    except ImportError:
        return
    writer = getattr(fingerprinting_utils, "write_fingerprint", None)
    if writer is not None:
        writer(str(folder))


def signature_of(folder: Path, name: str) -> Any:
    """The SignatureDef of a SavedModel; None if it has none of this name, or its file has another form."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    if not path.is_file():
        return None
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(path.read_bytes())
    (graph,) = model.meta_graphs
    return graph.signature_def.get(name)


@contextlib.contextmanager
def edit_signatures(folder: Path) -> Iterator[Any]:
    """Gives the SignatureDefs of a SavedModel by name, and writes them when the block ends: nothing is traced."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(path.read_bytes())
    (graph,) = model.meta_graphs
    yield graph.signature_def
    path.write_bytes(model.SerializeToString(deterministic=True))
    write_fingerprint(folder)


def identity_set(values: Iterable[Any]) -> Any:
    """Values that have no hash, such as tensors, as a set by their identity."""
    from tensorflow.python.util import object_identity

    return object_identity.ObjectIdentitySet(values)


def sparse_tensor_of(made: Callable[..., None]) -> Callable[..., None]:
    """`SparseTensor.__init__` without its checks of shapes, where all parts are tensors of the right types.

    The parts of a table's columns come from TensorFlow's own operations, and the checks take most of the time.

    Args:
      made: TensorFlow's `__init__`, for all other parts.
    """
    from tensorflow import Tensor, int64
    from tensorflow.python.framework import tensor_util

    def init(self: Any, indices: Any, values: Any, dense_shape: Any) -> None:
        plain = all(isinstance(part, Tensor) for part in (indices, values, dense_shape))
        if not plain or indices.dtype != int64 or dense_shape.dtype != int64:
            made(self, indices, values, dense_shape)
            return
        self._indices, self._values, self._dense_shape = indices, values, dense_shape
        self._dense_shape_default = tensor_util.constant_value_as_shape(dense_shape)

    return init


def part_of_graph(graph: Any, outputs: Mapping[str, Any], signature: Any) -> Callable[..., Any]:
    """A traced FuncGraph as a function that computes some of its tensors.

    A graph that changes no state and reads none is the function as it is, since TensorFlow runs only what the outputs
    need. Another one is copied without the rest, which takes as long as a trace.

    Args:
      graph: the graph, with its inputs.
      outputs: tensors of the graph by name.
      signature: args and kwargs of the function, as type specs.
    """
    from tensorflow import nest
    from tensorflow.python.eager import wrap_function

    holder = wrap_function.VariableHolder(share_variables=True)
    one_of_each = {op.type: op for op in graph.get_operations()}.values()
    if graph.captures or any(op.op_def.is_stateful for op in one_of_each):
        whole = wrap_function.WrappedFunction(graph, variable_holder=holder)
        return whole.prune(graph.inputs, outputs, input_signature=signature)
    before = graph.outputs, graph.structured_outputs
    # In the order in which TensorFlow flattens a dictionary, by name: that is how it packs what it computes.
    graph.outputs, graph.structured_outputs = (
        nest.flatten(dict(outputs), expand_composites=True),
        dict(outputs),
    )
    try:
        part = wrap_function.WrappedFunction(graph, variable_holder=holder)
    finally:
        graph.outputs, graph.structured_outputs = before
    return lambda inputs: part._call_flat(nest.flatten(inputs, expand_composites=True), [])
