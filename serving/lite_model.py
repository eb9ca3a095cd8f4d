"""A TF Lite model, called as TF Serving's tflite_session.cc calls it. Only model processes import this."""

import time
from collections.abc import Sequence
from typing import Any

from flatbuffers import flexbuffers

from noria.components.internals.tensorflow import lite_parts, lite_signatures
from noria.serving.grpc_status import Code, StatusError
from noria.serving.protos import SignatureDef
from noria.serving.session_model import as_status, from_array, to_array
from noria.serving.signatures import DEFAULT, PREDICT
from noria.serving.tensors import NUMBERS, STRING, Tensor

METADATA = b"signature_defs_metadata"


class LiteModel:
    """One loaded version.

    Its signatures are those that the file has as SignatureDefs, else those of the converter, else one
    (`serving_default`) with the names of its tensors.

    Args:
      path: the file.
      threads: threads within one operation.

    Raises:
      StatusError: it is not a TF Lite model, or has an operation that the interpreter does not know.
    """

    def __init__(self, path: str, threads: int):
        try:
            parts = lite_parts()
            with open(path, "rb") as file:
                content = file.read()
            self._interpreter = parts.Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            self._inputs = {each["name"]: each for each in inputs}
            self._outputs = {each["name"]: each for each in outputs}
            found = self._defs(parts.Model.GetRootAs(content)) or self._listed() or {DEFAULT: self._default()}
            self.signatures: dict[str, bytes] = {
                name: each.SerializeToString() for name, each in found.items()
            }
        except Exception as error:  # TF Lite raises ValueError, RuntimeError and its own
            raise as_status(error) from error

    def restore(self, path: str) -> None:
        """A TF Lite model has no weights apart from its graph.

        Raises:
          StatusError: always; the version is loaded in another process then.
        """
        raise StatusError(Code.UNIMPLEMENTED, "a TF Lite model is loaded as a whole")

    def run(
        self, feeds: Sequence[str], fetches: Sequence[str], inputs: list[Tensor]
    ) -> tuple[list[Tensor], int]:
        """Computes the tensors named `fetches` from those named `feeds`.

        Returns:
          The tensors, and the µs that the interpreter took.

        Raises:
          StatusError: a shape that the model cannot take, or an operation fails.
        """
        try:
            started = time.perf_counter()
            indices = [self._inputs[name]["index"] for name in feeds]
            arrays = [to_array(each) for each in inputs]
            shapes = {each["index"]: tuple(each["shape"]) for each in self._interpreter.get_input_details()}
            if [shapes[index] for index in indices] != [each.shape for each in arrays]:
                for index, array in zip(indices, arrays, strict=True):
                    self._interpreter.resize_tensor_input(index, array.shape)
                self._interpreter.allocate_tensors()
            for index, array in zip(indices, arrays, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            found = [
                from_array(self._interpreter.get_tensor(self._outputs[name]["index"])) for name in fetches
            ]
            return found, int((time.perf_counter() - started) * 1e6)
        except Exception as error:
            raise as_status(error) from error

    def _defs(self, model: Any) -> dict[str, Any]:
        """The SignatureDefs in the file's metadata."""
        found: dict[str, Any] = {}
        for place in range(model.MetadataLength()):
            metadata = model.Metadata(place)
            if metadata.Name() != METADATA:
                continue
            texts = flexbuffers.Loads(model.Buffers(metadata.Buffer()).DataAsNumpy().tobytes())
            for name, text in texts.items():
                signature = SignatureDef.FromString(text.encode() if isinstance(text, str) else text)
                for infos, known in ((signature.inputs, self._inputs), (signature.outputs, self._outputs)):
                    for key in infos:
                        infos[key].name = _known(infos[key].name, known)
                found[name] = signature
        return found

    def _listed(self) -> dict[str, Any]:
        """The signatures that the converter has written."""
        return {
            name: self._signature(
                {key: self._named(self._inputs, index) for key, index in each["inputs"].items()},
                {key: self._named(self._outputs, index) for key, index in each["outputs"].items()},
            )
            for name, each in lite_signatures(self._interpreter).items()
        }

    def _default(self) -> Any:
        return self._signature(
            {name.split(":")[0]: each for name, each in self._inputs.items()},
            {name.split(":")[0]: each for name, each in self._outputs.items()},
        )

    def _signature(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
        signature = SignatureDef(method_name=PREDICT)
        for infos, given in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for key, each in given.items():
                info = infos[key]
                info.name, info.dtype = each["name"], _number(each["dtype"])
                for size in each["shape_signature"]:
                    info.tensor_shape.dim.add().size = int(size)
        return signature

    def _named(self, known: dict[str, Any], index: int) -> Any:
        return next(each for each in known.values() if each["index"] == index)


def _known(name: str, known: dict[str, Any]) -> str:
    """The tensor's name in the model: early converters have cut off the `:0`.

    Raises:
      StatusError: the model has no such tensor.
    """
    for each in (name, name.split(":")[0]):
        if each in known:
            return each
    raise StatusError(Code.INTERNAL, f"Unknown tensor '{name}'.")


def _number(dtype: Any) -> int:
    name = from_array(dtype(0) if dtype.__name__ != "bytes_" else dtype(b"")).dtype
    return NUMBERS[STRING if name == STRING else name]
