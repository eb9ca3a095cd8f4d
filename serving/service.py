"""The requests of TF Serving's PredictionService, for both protocols."""

import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from noria.serving import signatures, warmup, wire
from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.prediction_log import ARM
from noria.serving.prometheus import Metrics
from noria.serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)
from noria.serving.rollouts.traffic import OUTPUTS
from noria.serving.signatures import CLASSIFY, REGRESS, Signature
from noria.serving.tensors import STRING, Tensor, from_proto
from noria.serving.tracing import timed
from noria.serving.version import Version

CLOSE = 1e-3  # relative, and for numbers below 1 absolute: what two processors may differ by


async def predict(
    version: Version,
    signature: Signature,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str] = (),
    deadline: float | None = None,
    metrics: Metrics | None = None,
) -> dict[str, Tensor]:
    """Computes outputs of a signature by name.

    Args:
      outputs: the names wanted; all if empty.
      deadline: on the clock of `time.monotonic`.
      metrics: None for a request that is neither counted nor logged, as those of the warm-up.

    Raises:
      StatusError: inputs or outputs that the signature does not have, or the model fails.
    """
    signature.check_inputs(inputs)
    wanted, fetches = signature.choose_outputs(outputs)
    tensors = [inputs[name] for name in signature.inputs]
    mergeable = signature.mergeable(inputs)
    tensors, took = await _run(version, signature.feeds, fetches, tensors, mergeable, deadline)
    if metrics is not None:
        metrics.runtime.observe(took, version.model, "Predict", "TF1")
    by_tensor = dict(zip(fetches, tensors, strict=True))
    found = {name: by_tensor[signature.tensors[name]] for name in wanted}
    if metrics is not None:
        _answered(version, signature, inputs, found)
    return found


async def predict_proto(
    version: Version, request: Any, deadline: float | None = None, metrics: Metrics | None = None
) -> bytes:
    """The serialized PredictResponse of a PredictRequest.

    Raises:
      StatusError: see `predict`.
    """
    signature = signatures.find(version.signatures, request.model_spec.signature_name, "predict")
    given = request.inputs
    inputs = signature.defaults | {name: from_proto(given[name]) for name in given}
    outputs = await predict(version, signature, inputs, list(request.output_filter), deadline, metrics)
    return wire.predict_response(version.model, version.number, signature.name, outputs)


async def classify(
    version: Version,
    request: Any,
    deadline: float | None = None,
    metrics: Metrics | None = None,
    check_method: bool = False,
) -> Any:
    """The ClassificationResponse of a ClassificationRequest.

    Raises:
      StatusError: the signature is not a classification, the input is empty, or the model fails.
    """
    signature = signatures.find(version.signatures, request.model_spec.signature_name, "classify")
    _check_method(signature, CLASSIFY, "classification", check_method)
    names = signature.check_classify()
    tensors, count = await _on_examples(
        version, [(signature, names)], request.input, "Classify", deadline, metrics
    )
    response = classification_pb2.ClassificationResponse()
    _fill_spec(response.model_spec, version, signature.name)
    _fill_classes(response.result, tensors[0], count)
    return response


async def regress(
    version: Version,
    request: Any,
    deadline: float | None = None,
    metrics: Metrics | None = None,
    check_method: bool = False,
) -> Any:
    """The RegressionResponse of a RegressionRequest.

    Raises:
      StatusError: the signature is not a regression, the input is empty, or the model fails.
    """
    signature = signatures.find(version.signatures, request.model_spec.signature_name, "regress")
    _check_method(signature, REGRESS, "regression", check_method)
    names = signature.check_regress()
    tensors, count = await _on_examples(
        version, [(signature, names)], request.input, "Regress", deadline, metrics
    )
    response = regression_pb2.RegressionResponse()
    _fill_spec(response.model_spec, version, signature.name)
    _fill_regressions(response.result, tensors[0], count)
    return response


def check_tasks(request: Any) -> None:
    """Refuses a MultiInferenceRequest that is wrong for every model.

    Raises:
      StatusError: no task, a task without a model, or tasks for several models.
    """
    names = [task.model_spec.name for task in request.tasks]
    if not names:
        raise invalid("Inference request must have at least one task")
    if not all(names):
        raise invalid("Found ModelSpec with an empty model name.")
    if len(set(names)) > 1:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


async def multi_inference(
    version: Version, request: Any, deadline: float | None = None, metrics: Metrics | None = None
) -> Any:
    """The MultiInferenceResponse: several classifications and regressions of the same examples, in one run.

    Raises:
      StatusError: a task that is neither, a signature twice, or the model fails.
    """
    seen, wanted = set(), []
    for task in request.tasks:
        signature_name = task.model_spec.signature_name or signatures.DEFAULT
        if signature_name in seen:
            raise invalid(f"Duplicate evaluation of signature: {signature_name}")
        seen.add(signature_name)
        signature = signatures.find(version.signatures, signature_name, "multi")
        if task.method_name == CLASSIFY:
            wanted.append((signature, signature.check_classify()))
        elif task.method_name == REGRESS:
            wanted.append((signature, signature.check_regress()))
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
    found, count = await _on_examples(version, wanted, request.input, "MultiInference", deadline, metrics)
    response = inference_pb2.MultiInferenceResponse()
    for task, (signature, _), tensors in zip(request.tasks, wanted, found, strict=True):
        result = response.results.add()
        _fill_spec(result.model_spec, version, signature.name)
        if task.method_name == CLASSIFY:
            _fill_classes(result.classification_result, tensors, count)
        else:
            _fill_regressions(result.regression_result, tensors, count)
    return response


def metadata(version: Version) -> Any:
    """The GetModelMetadataResponse with all signatures."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signature_map(version))
    return response


def signature_map(version: Version) -> Any:
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.signatures.items():
        found.signature_def[name].CopyFrom(signature.proto)
    return found


def model_status(versions: Sequence[Version]) -> Any:
    """The GetModelStatusResponse."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        added = response.model_version_status.add(version=version.number, state=int(version.state))
        # Set also when it is OK: it is printed.
        added.status.error_code = version.error.code if version.error else 0
        added.status.error_message = version.error.message if version.error else ""
    return response


async def warm(version: Version, metrics: Metrics) -> None:
    """Sends a version the requests of its warm-up file, and compares its answers with those in the file, if it has any.

    Raises:
      StatusError: one of them fails, or has another answer.
    """
    started, count = time.perf_counter(), 0
    for log in warmup.records(version.folder):
        kind = log.WhichOneof("log_type")
        count += 1
        if kind == "predict_log":
            answer = predict_pb2.PredictResponse.FromString(
                await predict_proto(version, log.predict_log.request)
            )
            _compare(answer.outputs, log.predict_log.response.outputs, count)
        elif kind == "classify_log":
            await classify(version, log.classify_log.request)
        elif kind == "regress_log":
            await regress(version, log.regress_log.request)
        elif kind == "multi_inference_log":
            await multi_inference(version, log.multi_inference_log.request)
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}, record {count}")
    if count:
        metrics.warmup.observe((time.perf_counter() - started) * 1e6, str(version.folder), "OK")


def _compare(outputs: Mapping[str, Any], recorded: Mapping[str, Any], record: int) -> None:
    """Numbers of an answer may differ from the recorded ones by what another processor computes."""
    for name in recorded:
        if name not in outputs:
            raise StatusError(Code.FAILED_PRECONDITION, f"warm-up record {record}: there is no output {name}")
        found, wanted = from_proto(outputs[name]), from_proto(recorded[name])
        if found.dtype not in ("float", "double"):
            continue
        pairs = list(zip(found.values(), wanted.values(), strict=False))
        wrong = next((each for each in pairs if not math.isclose(*each, rel_tol=CLOSE, abs_tol=CLOSE)), None)
        if found.shape != wanted.shape or wrong is not None:
            values = f"{wrong[0]:g}, was {wrong[1]:g}" if wrong is not None else f"shape {list(found.shape)}"
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"warm-up record {record}: {name} is not what was recorded when the version was published: {values}",
            )


async def _on_examples(
    version: Version,
    wanted: Sequence[tuple[Signature, list[str]]],
    proto: Any,
    api: str,
    deadline: float | None,
    metrics: Metrics | None,
) -> tuple[list[dict[str, Tensor]], int]:
    """The outputs of each signature for the examples of an Input, and how many examples there are."""
    examples = serialized_examples(proto)
    tensor = Tensor(STRING, (len(examples),), examples)
    feeds = list(dict.fromkeys(signature.inputs["inputs"].name for signature, _ in wanted))
    fetches = list(dict.fromkeys([signature.tensors[name] for signature, names in wanted for name in names]))
    for signature, _ in wanted:
        if signature.dtypes["inputs"] != STRING:
            raise invalid(
                f"input `inputs` of signature {signature.name} must be of type string to take examples, "
                f"got {signature.dtypes['inputs']}"
            )
    mergeable = all(signature.mergeable({"inputs": tensor}) for signature, _ in wanted)
    tensors, took = await _run(version, feeds, fetches, [tensor] * len(feeds), mergeable, deadline)
    if metrics is not None:
        metrics.runtime.observe(took, version.model, api, "TF1")
        metrics.examples.observe(len(examples), version.model)
        metrics.example_total.add(version.model, by=len(examples))
    by_tensor = dict(zip(fetches, tensors, strict=True))
    found = [{name: by_tensor[signature.tensors[name]] for name in names} for signature, names in wanted]
    if metrics is not None:
        for (signature, _), outputs in zip(wanted, found, strict=True):
            _answered(version, signature, {"inputs": tensor}, outputs)
    return found, len(examples)


def _run(version: Version, *request: Any) -> Awaitable[tuple[list[Tensor], int]]:
    """`Queue.run`, in a span where there are traces."""
    return timed(version.queue.run(*request), version.model, version.number, ARM.get())


def _answered(
    version: Version, signature: Signature, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """For the prediction log, and for the guards of a rollout."""
    OUTPUTS.set(outputs)
    if version.log is not None:
        version.log.add(version.model, version.number, signature.name, inputs, outputs)


def serialized_examples(proto: Any) -> list[bytes]:
    """The examples of an Input, each with the context's bytes before its own.

    Raises:
      StatusError: there are none.
    """
    kind = proto.WhichOneof("kind")
    examples = [each.SerializeToString() for each in getattr(proto, kind).examples] if kind else []
    if not examples:
        raise invalid("Input is empty.")
    if kind == "example_list_with_context":
        context = proto.example_list_with_context.context.SerializeToString()
        examples = [context + each for each in examples]
    return examples


def _fill_spec(spec: Any, version: Version, signature: str) -> None:
    spec.name = version.model
    spec.signature_name = signature
    spec.version.value = version.number


def _check_method(signature: Signature, method: str, kind: str, wanted: bool) -> None:
    if wanted and signature.proto.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.proto.method_name}"
        )


def _fill_classes(result: Any, tensors: Mapping[str, Tensor], count: int) -> None:
    classes, scores = tensors.get("classes"), tensors.get("scores")
    for tensor, dtype, name in ((classes, STRING, "classes"), (scores, "float", "scores")):
        if tensor is None:
            continue
        if len(tensor.shape) != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {list(tensor.shape)}")
        if tensor.dtype != dtype:
            raise invalid(f"Expected {name} Tensor of DT_{dtype.upper()}. Got: DT_{tensor.dtype.upper()}")
        if tensor.shape[0] != count:
            raise invalid(f"Expected {name} output batch size of {count}. Got: {tensor.shape[0]}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    shape = (classes or scores).shape  # type: ignore[union-attr]  # one of them is there
    labels = classes.values() if classes is not None else None
    values = scores.values() if scores is not None else None
    for row in range(count):
        added = result.classifications.add()
        for place in range(row * shape[1], (row + 1) * shape[1]):
            each = added.classes.add()
            if labels is not None:
                each.label = labels[place].decode("utf-8", "replace")
            if values is not None:
                each.score = values[place]


def _fill_regressions(result: Any, tensors: Mapping[str, Tensor], count: int) -> None:
    tensor = tensors["outputs"]
    if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(tensor.shape)}"
        )
    if tensor.shape[0] != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {tensor.shape[0]}")
    if tensor.dtype != "float":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: DT_{tensor.dtype.upper()}")
    for value in tensor.values():
        result.regressions.add().value = value
