"""What a signature asks for and gives: checks as TF Serving's predict_util.cc, classifier.cc and regressor.cc."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.protos import dtype_name
from noria.serving.tensors import Tensor, from_proto

DEFAULT = "serving_default"
CLASSIFY, REGRESS, PREDICT = (f"tensorflow/serving/{verb}" for verb in ("classify", "regress", "predict"))


class Signature:
    """One signature of a version: names of tensors, types, and whether rows of several requests may share a batch.

    They may where the first dimension of every input and output is open in the signature. A PredictRequest may lack the
    inputs in `defaults`.
    """

    def __init__(self, name: str, proto: Any):
        self.name, self.proto = name, proto
        self.inputs: dict[str, Any] = {key: proto.inputs[key] for key in sorted(proto.inputs)}
        self.outputs: dict[str, Any] = {key: proto.outputs[key] for key in sorted(proto.outputs)}
        # Names in the graph, read once: an access to a message is slow, and a model may have a hundred columns.
        self.feeds = tuple(info.name for info in self.inputs.values())
        self.tensors = {key: info.name for key, info in self.outputs.items()}
        self._all = list(self.outputs), self._fetches(self.outputs)
        self.dtypes = {key: dtype_name(info.dtype) for key, info in self.inputs.items()}
        self.defaults = {key: from_proto(proto.defaults[key]) for key in proto.defaults}
        self._shapes = {key: _shape(info) for key, info in self.inputs.items()}
        dense = all(
            info.WhichOneof("encoding") == "name" for info in (*self.inputs.values(), *self.outputs.values())
        )
        shapes = (*self._shapes.values(), *(_shape(info) for info in self.outputs.values()))
        self.by_row = bool(self.inputs) and dense and all(each and each[0] == -1 for each in shapes)

    def mergeable(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether these inputs may share a batch: a shape that the signature does not foresee runs alone."""
        return self.by_row and all(_fits(each.shape, self._shapes[key]) for key, each in inputs.items())

    def check_inputs(self, inputs: Mapping[str, Tensor]) -> None:
        """Refuses what TF Serving refuses; shapes are not checked.

        Raises:
          StatusError: names or types that differ from the signature's.
        """
        if self.inputs.keys() != inputs.keys():
            raise self._other_inputs(inputs.keys())
        for key, tensor in inputs.items():
            if tensor.dtype != self.dtypes[key]:
                raise invalid(f"input {key} must be of type {self.dtypes[key]}, got {tensor.dtype}")

    def choose_outputs(self, wanted: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """The outputs that a request asks for, all if it names none, and their tensors.

        Raises:
          StatusError: an unknown or repeated name.
        """
        if not wanted:
            return self._all
        for place, key in enumerate(wanted):
            if key not in self.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {key} Outputs expected to be in the set "
                    f"{_set(self.outputs)}."
                )
            if key in wanted[:place]:
                raise invalid(f"duplicate output tensor alias: {key}")
        return list(wanted), self._fetches(wanted)

    def check_classify(self) -> list[str]:
        """The outputs of a classification, `classes` first.

        Raises:
          StatusError: the signature is for something else.
        """
        self._check_examples("classification", (1, 2), "Expected one or two output Tensors, found")
        found: list[str] = [key for key in ("classes", "scores") if key in self.outputs]
        if not found:
            raise invalid(
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                f"Signature was: {self.proto}"
            )
        return found

    def check_regress(self) -> list[str]:
        """The output of a regression.

        Raises:
          StatusError: the signature is for something else.
        """
        self._check_examples("regression", (1,), "Expected one output Tensor.")
        if "outputs" not in self.outputs:
            raise invalid(f"No regression outputs found in SignatureDef: {self.proto}")
        return ["outputs"]

    def _fetches(self, outputs: Iterable[str]) -> tuple[str, ...]:
        """One tensor may have two names: it is fetched once."""
        return tuple(dict.fromkeys([self.tensors[name] for name in outputs]))

    def _other_inputs(self, given: AbstractSet[str]) -> StatusError:
        extra, missing = sorted(given - self.inputs.keys()), sorted(self.inputs.keys() - given)
        if len(given) > len(self.inputs) or (len(given) < len(self.inputs) and not self.defaults):
            return invalid(
                f"input size does not match signature: {len(given)}!={len(self.inputs)} "
                f"len({_set(sorted(given))}) != len({_set(self.inputs)}). "
                f"Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
            )
        return invalid(
            f"Signature input alias: {missing[0]}(feed name: {self.inputs[missing[0]].name}) not found in request and "
            f"no default value provided. Inputs expected to be in the request {_set(sorted(given))}, "
            f"or default input alias set: {','.join(self.defaults)}"
        )

    def _check_examples(self, kind: str, counts: Iterable[int], message: str) -> None:
        if len(self.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if len(self.outputs) not in counts:
            raise invalid(f"{message} {len(self.outputs)}" if message.endswith("found") else message)
        if "inputs" not in self.inputs:
            raise invalid(f"No {kind} inputs found in SignatureDef: {self.proto}")


def find(signatures: Mapping[str, Signature], name: str, verb: str) -> Signature:
    """The signature of a request, with the error that TF Serving gives for this verb.

    Raises:
      StatusError: there is none of this name.
    """
    name = name or DEFAULT
    if name in signatures:
        return signatures[name]
    if verb == "predict":
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if verb == "json":
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    if verb == "multi":
        raise invalid(f"Requested signature not found in model graph: {name}")
    raise invalid(f"No signature was found with the name: {name}")


def _set(names: Iterable[str]) -> str:
    return f"{{{','.join(names)}}}"


def _shape(info: Any) -> tuple[int, ...] | None:
    """Sizes of the dimensions, -1 where open; None if not even their number is known."""
    return None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)


def _fits(shape: tuple[int, ...], static: tuple[int, ...] | None) -> bool:
    if static is None or len(shape) != len(static):
        return False
    if shape[1:] == static[1:] and static[:1] == (-1,):
        return True
    return all(size == wanted or wanted == -1 for size, wanted in zip(shape, static, strict=True))
