"""TensorFlow: parts of `tensorflow.python`. Each function imports what it needs, so that this module imports fast."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def saved_model_loader() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`tf.saved_model.load` and `tf.constant` without the rest of TensorFlow's Python: 3 s to import instead of 10.

    `tensorflow/__init__.py` imports every public module. An empty module in its place allows an import of the loader's
    file alone; all kernels are in the shared library. If a release has moved that file, all of TensorFlow is imported.
    Only for a process that does nothing else with TensorFlow.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("TensorFlow is not installed")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["tensorflow"] = package
    try:
        from tensorflow.python.framework import constant_op
        from tensorflow.python.saved_model import load

        return load.load, constant_op.constant
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow"]:
            del sys.modules[name]
        import tensorflow as tf

        return tf.saved_model.load, tf.constant


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


def identity_set(values: Iterable[Any]) -> Any:
    """Values that have no hash, such as tensors, as a set by their identity."""
    from tensorflow.python.util import object_identity

    return object_identity.ObjectIdentitySet(values)


def part_of_graph(graph: Any, outputs: Mapping[str, Any], signature: Any) -> Callable[..., Any]:
    """A traced FuncGraph as a function that computes some of its tensors.

    Args:
      graph: the graph, with its inputs.
      outputs: tensors of the graph by name.
      signature: args and kwargs of the function, as type specs.
    """
    from tensorflow.python.eager import wrap_function

    holder = wrap_function.VariableHolder(share_variables=True)
    whole = wrap_function.WrappedFunction(graph, variable_holder=holder)
    return whole.prune(graph.inputs, outputs, input_signature=signature)
