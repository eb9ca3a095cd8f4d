"""A SavedModel in a TensorFlow session, called as TF Serving calls it. Only model processes import this."""

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from noria.components.internals.tensorflow import (
    load_text_operations,
    make_callable,
    profiler_session,
    session_parts,
)
from noria.serving.grpc_status import Code, StatusError
from noria.serving.tensors import STRING, Tensor, supported

PARTS = session_parts()
_PROFILER: Any = None
# TensorFlow's names where numpy's differ.
_NUMPY = {"float": "float32", "double": "float64", "half": "float16"}
_NAMES = {value: key for key, value in _NUMPY.items()}


class SessionModel:
    """One loaded version.

    Args:
      path: the version's folder.
      tags: the tags of the MetaGraph; TF Serving's default is `serve`.
      threads: threads within one operation; with 1, a request runs in the thread that calls.

    Raises:
      StatusError: the folder holds no SavedModel that loads.
    """

    def __init__(self, path: str, tags: Sequence[str], threads: int):
        config = PARTS.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=-1 if threads == 1 else 0
        )
        config.gpu_options.allow_growth = True
        try:
            self.session, meta_graph = _load(path, tags, config)
        except Exception as error:
            raise as_status(error) from error
        self._saver = meta_graph.saver_def
        self.signatures: dict[str, bytes] = {
            name: each.SerializeToString() for name, each in meta_graph.signature_def.items()
        }
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}

    def restore(self, path: str) -> None:
        """Takes the weights of another version with the same graph, by the SavedModel's own restore operation.

        Raises:
          StatusError: they cannot be read; the weights are of no version then.
        """
        try:
            names = self._saver.restore_op_name, self._saver.filename_tensor_name
            self.session.run(names[0], {names[1]: f"{path}/variables/variables"})
        except Exception as error:
            raise as_status(error) from error

    def run(
        self, feeds: Sequence[str], fetches: Sequence[str], inputs: list[Tensor]
    ) -> tuple[list[Tensor], int]:
        """Computes the tensors named `fetches` from those named `feeds`.

        Returns:
          The tensors, and the µs that the session took.

        Raises:
          StatusError: TensorFlow's own code and message.
        """
        key = tuple(feeds), tuple(fetches)
        try:
            function = self._callables.get(key)
            if function is None:
                options = PARTS.CallableOptions(feed=key[0], fetch=key[1])
                function = self._callables[key] = make_callable(self.session, options)
            arrays = [to_array(each) for each in inputs]
            started = time.perf_counter()
            outputs = function(*arrays)
            took = int((time.perf_counter() - started) * 1e6)
            return [from_array(each) for each in outputs], took
        except Exception as error:
            raise as_status(error) from error


def profile(verb: str) -> bytes:
    """Starts or stops TensorFlow's profiler of this process; `stop` gives a serialized XSpace.

    Raises:
      StatusError: it runs already, or not.
    """
    global _PROFILER
    try:
        if verb == "start":
            _PROFILER = profiler_session()
            _PROFILER.start("", {})
            return b""
        found, _PROFILER = _PROFILER, None
        return bytes(found.stop())
    except Exception as error:
        raise as_status(error) from error


def _load(path: str, tags: Sequence[str], config: Any) -> tuple[Any, Any]:
    """The session and the MetaGraph. A model with operations of tensorflow-text is loaded again with them."""
    for last in (False, True):
        session = PARTS.Session(graph=PARTS.Graph(), config=config)
        try:
            with session.graph.as_default():
                return session, PARTS.load(session, list(tags), path)
        except Exception as error:
            session.close()
            if last or "Op type not registered" not in str(error) or not load_text_operations():
                raise
    raise AssertionError


def as_status(error: Exception) -> StatusError:
    """The error of a request or a load, with TensorFlow's own code and message where it has one."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, PARTS.OpError):
        return StatusError(Code(error.error_code), error.message or type(error).__name__)
    if isinstance(error, OSError):
        return StatusError(Code.NOT_FOUND, str(error))
    kind = Code.INVALID_ARGUMENT if isinstance(error, TypeError | ValueError) else Code.INTERNAL
    return StatusError(kind, f"{type(error).__name__}: {error}")


@functools.cache
def _dtype(name: str) -> Any:
    return np.dtype(_NUMPY.get(name, name))  # TensorFlow has registered `bfloat16`


@functools.cache  # numpy makes the name at each access
def _name(dtype: Any) -> str:
    name = _NAMES.get(dtype.name, dtype.name)
    if not supported(name):
        raise StatusError(Code.UNIMPLEMENTED, f"tensors of type {dtype} are not supported")
    return name


def to_array(tensor: Tensor) -> Any:
    """numpy's array."""
    if tensor.dtype == STRING:
        array = np.empty(len(tensor.data), dtype=object)
        array[:] = tensor.data
    else:
        array = np.frombuffer(tensor.data, _dtype(tensor.dtype))
    return array.reshape(tensor.shape)


def from_array(array: Any) -> Tensor:
    """The tensor of numpy's array."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        values = array.reshape(-1).tolist()
        return Tensor(
            STRING, array.shape, [each.encode() if isinstance(each, str) else each for each in values]
        )
    return Tensor(_name(array.dtype), array.shape, np.ascontiguousarray(array).tobytes())
