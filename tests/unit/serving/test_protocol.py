"""TF Serving's protocol, request by request, against a real server.

The expected answers are those of TensorFlow Serving's own sources and tests: http_rest_api_handler_test.cc,
json_tensor_test.cc, predict_util.cc, tensorflow_model_server_test.py.
"""

import gzip
import json
import math

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from noria.serving.protos import (
    SignatureDefMap,
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from noria.serving.tensors import from_proto, proto_of

DEFAULT = "/v1/models/default"
PAIR = "/v1/models/pair"


@pytest.fixture(scope="module")
def server(small_models, tmp_path_factory, serving):
    """`default` (half_plus_two, 123), `pair` and `rare`, with the label `stable` on 123."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    with serving("--models", str(models_config(file, small_models))) as running:
        file.write_text(file.read_text().replace("#", ""))  # the label, now that 123 is available
        running.wait(lambda: running.predict({"instances": [1.0]}, f"{DEFAULT}/labels/stable")[0] == 200)
        yield running


def models_config(file, small_models):
    file.write_text(
        f"""model_config_list {{
  config {{ name: "default" base_path: "{small_models / "half_plus_two"}" model_platform: "tensorflow"
    #version_labels {{ key: "stable" value: 123 }}
  }}
  config {{ name: "pair" base_path: "{small_models / "pair"}" model_platform: "tensorflow" }}
  config {{ name: "rare" base_path: "{small_models / "rare"}" model_platform: "tensorflow" }}
}}"""
    )
    return file


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(name="default", x=(2.0,), shape=(1,), **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for key, value in spec.items():
        setattr(request.model_spec, key, value)
    request.inputs["x"].CopyFrom(proto_of("float", shape, x))
    return request


def test_predict_by_row_and_by_column(server) -> None:
    """`instances` gives `predictions`, `inputs` gives `outputs`; a static shape is not checked."""
    assert (200, {"predictions": [3.0, 3.5, 4.0]}) == server.predict({"instances": [2.0, 3.0, 4.0]})
    assert (200, {"outputs": [3.0, 3.5, 4.0]}) == server.predict({"inputs": [2.0, 3.0, 4.0]})
    assert (200, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}) == server.predict(
        {"instances": [[1.0, 2.0], [3.0, 4.0]]}
    )
    assert (200, {"predictions": [3.0]}) == server.predict({"instances": [{"x": 2}]})


@pytest.mark.parametrize("where", ["/versions/123", "/labels/stable", "/LABELS/%73table"])
def test_version_and_label(server, where) -> None:
    """A version or a label chooses; the path is case-insensitive, and names are percent-decoded."""
    assert (200, {"predictions": [3.0]}) == server.predict(
        {"instances": [2.0]}, f"/V1/Models/%64efault{where}"
    )


def test_several_inputs_and_outputs(server) -> None:
    """Several inputs and outputs are objects; an output called `_bytes` is base64."""
    row = {"number": 21, "word": "a"}
    expected = {"double": 42, "large": True, "raw_bytes": {"b64": "YQ=="}, "word": "a"}
    assert (200, {"predictions": [expected]}) == server.predict({"instances": [row]}, PAIR)
    columns = {"number": [1, 20], "word": ["é", {"b64": "YQ=="}], "ignored": [1]}
    status, answer = server.predict({"inputs": columns}, PAIR)
    assert (200, [2, 40], ["é", "a"]) == (status, answer["outputs"]["double"], answer["outputs"]["word"])
    assert [False, True] == answer["outputs"]["large"]


def test_classify_and_regress(server) -> None:
    """Classify gives pairs of label and score, regress one number; a context goes into every example."""
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}
    assert (200, {"results": [[["", 3.0]]]}) == server.ask(f"{DEFAULT}:classify", body)
    body["signature_name"] = "classify_labels"
    assert (200, {"results": [[["positive", 3.0]]]}) == server.ask(f"{DEFAULT}:classify", body)
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": [8.0]}]}
    assert (200, {"results": [3.0, 6.0]}) == server.ask(f"{DEFAULT}:regress", body)
    body = {"signature_name": "regress_x_to_y", "context": {"x": 2.0}, "examples": [{"x2": 1.0}]}
    assert (200, {"results": [3.0]}) == server.ask(f"{DEFAULT}:regress", body)


def test_status_and_metadata(server) -> None:
    """States and signatures as protobuf's JSON: versions as strings, defaults printed."""
    state = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (DEFAULT, f"{DEFAULT}/versions/123"):
        assert (200, {"model_version_status": [state]}) == server.ask(path)
    status, found = server.ask(f"{DEFAULT}/metadata")
    assert (200, {"name": "default", "signature_name": "", "version": "123"}) == (status, found["model_spec"])
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
    shape = {"dim": dims, "unknown_rank": False}
    assert {"x": {"name": "x:0", "dtype": "DT_FLOAT", "tensor_shape": shape}} == signature["inputs"]
    assert ("tensorflow/serving/predict", {}) == (signature["method_name"], signature["defaults"])


ERRORS = [
    ("GET", "/v1/models", None, 400, "Missing model name in request."),
    ("GET", "/v1/models/x", None, 404, "Could not find any versions of model x"),
    ("GET", f"{DEFAULT}/versions/9", None, 404, "Could not find version 9 of model default"),
    ("POST", "/v1/models/x:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(x)"),
    (
        "POST",
        f"{DEFAULT}/versions/50:predict",
        {"instances": [1]},
        404,
        "Servable not found for request: Specific(default, 50)",
    ),
    (
        "POST",
        f"{DEFAULT}/labels/no:predict",
        {"instances": [1]},
        400,
        "Unrecognized servable version label: no",
    ),
    ("GET", f"{DEFAULT}:predict", None, 400, f"Malformed request: GET {DEFAULT}:predict"),
    ("POST", DEFAULT, {}, 400, f"Malformed request: POST {DEFAULT}"),
    ("GET", f"{DEFAULT}/version/5", None, 400, f"Malformed request: GET {DEFAULT}/version/5"),
    ("GET", "/v1/foo", None, 400, "Malformed request: GET /v1/foo"),
    ("PUT", DEFAULT, {}, 400, f"Malformed request: PUT {DEFAULT}"),
    ("DELETE", DEFAULT, None, 400, f"Malformed request: DELETE {DEFAULT}"),
    ("POST", f"{DEFAULT}:predict?a=b", {}, 400, f"Malformed request: POST {DEFAULT}:predict?a=b"),
    (
        "GET",
        f"{DEFAULT}/versions/99999999999999999999",
        None,
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), ERRORS)
def test_errors_of_paths(server, method, path, body, status, message) -> None:
    """A request that names nothing that serves has TF Serving's code and message."""
    assert (status, message) == server.error(path, body, method)


BODIES = [
    (b"", "JSON Parse error: The document is empty"),
    (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
    (b"x", "JSON Parse error: Invalid value. at offset: 0"),
    (b"[1]", "JSON Value: [1] Is not object"),
    ({"signature_name": 100, "instances": [1]}, "'signature_name' key must be a string value."),
    ({"signature_name": "x", "instances": [1]}, 'Serving signature name: "x" not found in signature def'),
    (
        {"instances": [1], "inputs": [1]},
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys",
    ),
    ({"other": 1}, "Missing 'inputs' or 'instances' key"),
    ({"instances": 1}, "Expecting 'instances' to be an list/array"),
    ({"instances": []}, "No values in 'instances' array"),
    ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
    ({"instances": [1, {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
    ({"instances": [[1, 2], [1, 2, 3]]}, "Expecting tensor size: 2 but got: 3"),
    ({"instances": [[1, 2], [[1], [2]]]}, "Expecting shape [2] but got: [2,1]"),
    ({"instances": [{"y": 1}]}, "JSON object: does not have named input: y"),
    ({"inputs": {"y": 1}}, "Missing named input: x in 'inputs' object."),
    ({"instances": ["x"]}, 'JSON Value: "x" Type: String is not of expected type: float'),
    ({"instances": [True]}, "JSON Value: true Type: True is not of expected type: float"),
    ({"instances": [{"b64": "YQ=="}]}, "Type: Object is not of expected type: float"),
]


@pytest.mark.parametrize(("body", "message"), BODIES)
def test_errors_of_rest(server, body, message) -> None:
    """A body that does not fit has status 400 and TF Serving's message."""
    status, found = server.error(f"{DEFAULT}:predict", body)
    assert (400, True) == (status, message in found), found


PAIRS = [
    ({"instances": [1, 2]}, "instances is a plain list, but expecting list of objects"),
    ({"instances": [{"number": 1}]}, "keys must be equal to: number,word"),
    (
        {"instances": [{"number": 1.0, "word": "a"}]},
        "JSON Value: 1.0 Type: Number is not of expected type: int64",
    ),
    ({"instances": [{"number": 1, "word": {"b64": "?"}}]}, "Unable to base64 decode"),
    ({"inputs": [1]}, "inputs is a plain value/list, but expecting an object"),
]


@pytest.mark.parametrize(("body", "message"), PAIRS)
def test_errors_of_several_inputs(server, body, message) -> None:
    """Rows must name exactly the inputs, with values of their types."""
    status, found = server.error(f"{PAIR}:predict", body)
    assert (400, True) == (status, message in found), found


EXAMPLES = [
    ({}, "key 'examples' is expected and was not found"),
    ({"examples": []}, "'examples' value is an empty array"),
    ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
    ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
    ({"examples": [{"x": [1, 2.0]}]}, "Unexpected element type in feature: x expecting type: int64"),
    ({"examples": [{"x": 1 << 63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
    ({"examples": [{"x": "a"}]}, "Data types don't match"),
]


@pytest.mark.parametrize(("body", "message"), EXAMPLES)
def test_errors_of_examples(server, body, message) -> None:
    """An example holds numbers or texts; the model's own refusal comes through."""
    status, found = server.error(f"{DEFAULT}:classify", body | {"signature_name": "classify_x_to_y"})
    assert (400, True) == (status, message in found), found


def test_what_is_no_json_is_read(server) -> None:
    """NaN and infinities come and go as bare words; bytes after the object, depth and gzip are no matter."""
    status, answer = server.ask(
        f"{DEFAULT}:predict", b'{"instances": [NaN, Infinity, -Infinity, 1.8e308]} rest'
    )
    nan, *others = answer["predictions"]
    assert (200, True, [math.inf, -math.inf, math.inf]) == (status, math.isnan(nan), others)
    deep = b'{"instances": [2.0], "unused": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    assert (200, {"predictions": [3.0]}) == server.ask(f"{DEFAULT}:predict", deep)
    deep = b'{"instances": [2.0], "signature_name": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert 400 == server.ask(f"{DEFAULT}:predict", deep)[0]
    status, answer = server.ask(f"{DEFAULT}:regress", b'{"examples": [{"\xff": 1.0}]}')
    assert (400, {"error": "the names of features and signatures must be UTF-8"}) == (status, answer)
    packed = gzip.compress(json.dumps({"instances": [2.0]}).encode())
    assert (200, {"predictions": [3.0]}) == server.ask(f"{DEFAULT}:predict", packed, Content_Encoding="gzip")


def test_pages(server) -> None:
    """Outside of /v1/ there are metrics, readiness and a description; anything else is a 404 page."""
    status, page = server.ask("/x")
    assert (404, True) == (status, page.startswith("<HTML>"))
    assert (200, "ready\n") == server.ask("/ready")
    assert (400, "Unexpected path: /monitoring/x. Should be /monitoring/prometheus/metrics") == server.ask(
        "/monitoring/x"
    )
    server.predict({"instances": [2.0]})
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert "# TYPE :tensorflow:serving:request_count counter" in page
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"}' in page
    labels = 'model_name="default",API="predict",entrypoint="REST"'
    name = f":tensorflow:serving:request_latency_bucket{{{labels}"
    buckets = [line for line in page.splitlines() if line.startswith(name)]
    assert 34 == len(buckets)
    assert ('le="10"' in buckets[0], 'le="+Inf"' in buckets[-1]) == (True, True)
    status, document = server.ask("/openapi.json")
    assert (200, "3.1.0", True) == (status, document["openapi"], f"{PAIR}:predict" in document["paths"])


def test_grpc_predict(prediction) -> None:
    """The answer is in typed fields, with the signature and version that it comes from."""
    response = prediction.Predict(predict_request(x=(2.0, 4.0), shape=(2,)), 10)
    spec = response.model_spec
    assert ("default", "serving_default", 123) == (spec.name, spec.signature_name, spec.version.value)
    y = response.outputs["y"]
    assert ([3.0, 4.0], b"", 1) == (list(y.float_val), y.tensor_content, y.dtype)
    request = predict_request()
    request.inputs["x"].ClearField("float_val")
    request.inputs["x"].tensor_content = b"\0\0\0\x40"
    request.output_filter.append("y")
    assert [3.0] == list(prediction.Predict(request, 10).outputs["y"].float_val)


def test_grpc_types(prediction) -> None:
    """Integers, booleans and strings go through gRPC unchanged."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "pair"
    request.inputs["number"].CopyFrom(proto_of("int64", [2], [-3, 11]))
    request.inputs["word"].CopyFrom(proto_of("string", [2], [b"\xff\0", b""]))
    outputs = prediction.Predict(request, 10).outputs
    found = {name: list(from_proto(outputs[name]).values()) for name in outputs}
    words = [b"\xff\0", b""]
    assert {"double": [-6, 22], "large": [False, True], "word": words, "raw_bytes": words} == found


def rare_request(signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "rare", signature
    for name, proto in inputs.items():
        request.inputs[name].CopyFrom(proto)
    return request


def test_inputs_with_a_default(server, prediction) -> None:
    """A PredictRequest need not have an input with a default in the signature; REST must, as in TF Serving."""
    x, k = proto_of("float", [2], [1.0, 2.0]), proto_of("float", [], [3.0])
    assert [10.0, 20.0] == prediction.Predict(rare_request(x=x), 10).outputs["y"].float_val
    assert [3.0, 6.0] == prediction.Predict(rare_request(x=x, k=k), 10).outputs["y"].float_val
    error = rpc_error(lambda: prediction.Predict(rare_request(k=k), 10))
    assert INVALID == error.code()
    assert "alias: x(feed name: serving_default_x:0) not found in request and no default" in error.details()
    error = rpc_error(lambda: prediction.Predict(rare_request(x=x, z=k), 10))
    assert (INVALID, True) == (error.code(), "Sent extra: {z}." in error.details())
    assert 400 == server.predict({"inputs": {"x": [1.0]}}, "/v1/models/rare")[0]


def test_rare_types_by_grpc(server, prediction) -> None:
    """Complex and half numbers come back in their own fields, one value for all rows too; REST refuses them."""
    z, h = proto_of("complex64", [2], [1.0, 2.0, 3.0, 4.0]), proto_of("half", [2], [0x3C00, 0x4000])
    answer = prediction.Predict(rare_request("double", z=z, h=h), 10).outputs
    assert [2.0, 4.0, 6.0, 8.0] == answer["z"].scomplex_val
    assert [1.0, 2.0, 3.0, 4.0] == answer["wide"].dcomplex_val
    values = {name: list(from_proto(each).values()) for name, each in answer.items()}
    assert ([2 + 4j, 6 + 8j], [2.0, 4.0], [1.0, 2.0]) == (values["z"], values["h"], values["b"])
    del z.scomplex_val[2:]
    assert [2.0, 4.0] * 2 == prediction.Predict(rare_request("double", z=z, h=h), 10).outputs[
        "z"
    ].scomplex_val
    assert (
        501
        == server.predict({"signature_name": "double", "inputs": {"z": [1], "h": [1]}}, "/v1/models/rare")[0]
    )


def test_a_type_that_nobody_can_send(prediction) -> None:
    """An output of a type without a place in an answer is refused, and the model continues."""
    x = proto_of("float", [1], [0.5])
    error = rpc_error(lambda: prediction.Predict(rare_request("tiny", x=x), 10))
    assert grpc.StatusCode.UNIMPLEMENTED == error.code()
    assert "are not supported" in error.details()
    assert [5.0] == prediction.Predict(rare_request(x=x), 10).outputs["y"].float_val


def test_bytes_that_are_no_message(channel) -> None:
    """A request that protobuf cannot read is INTERNAL, as of a C++ server."""
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert grpc.StatusCode.INTERNAL == rpc_error(lambda: call(b"\xff\xff", timeout=10)).code()


def rpc_error(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def changed(**change):
    request = predict_request()
    if change.pop("no_spec", False):
        request.ClearField("model_spec")
    for key, value in change.items():
        setattr(request.model_spec, key, value)
    return request


def with_inputs(*names):
    request = predict_request()
    for name in names:
        request.inputs[name].CopyFrom(request.inputs["x"])
    return request


def with_filter(*names):
    request = predict_request()
    request.output_filter.extend(names)
    return request


INVALID = grpc.StatusCode.INVALID_ARGUMENT
RPC_ERRORS = [
    (changed(no_spec=True), INVALID, "Missing ModelSpec"),
    (changed(name=""), INVALID, "ModelSpec has no name specified."),
    (changed(name="no"), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(no)"),
    (
        changed(signature_name="no"),
        grpc.StatusCode.FAILED_PRECONDITION,
        'Serving signature key "no" not found.',
    ),
    (
        with_inputs("z"),
        INVALID,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    ),
    (
        with_filter("no"),
        INVALID,
        "output tensor alias not found in signature: no Outputs expected to be in the set {y}.",
    ),
    (with_filter("y", "y"), INVALID, "duplicate output tensor alias: y"),
]


@pytest.mark.parametrize(("request_", "code", "message"), RPC_ERRORS, ids=range(len(RPC_ERRORS)))
def test_grpc_errors(prediction, request_, code, message) -> None:
    """A wrong request has TF Serving's code and message."""
    with pytest.raises(grpc.RpcError) as error:
        prediction.Predict(request_, 10)
    assert (code, message) == (error.value.code(), error.value.details())


def test_grpc_classify_regress_and_both(prediction) -> None:
    """Classify, Regress and MultiInference answer for tf.Examples, and refuse another signature and no rows."""
    classify = classification_pb2.ClassificationRequest()
    regress = regression_pb2.RegressionRequest()
    both = inference_pb2.MultiInferenceRequest()
    for name, request in (("classify_x_to_y", classify), ("regress_x_to_y", regress)):
        request.model_spec.name = "default"
        request.model_spec.signature_name = name
        task = both.tasks.add(method_name=f"tensorflow/serving/{name.split('_')[0]}")
        task.model_spec.CopyFrom(request.model_spec)
    for request in (classify, regress, both):
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    answer = prediction.Classify(classify, 10)
    only = answer.result.classifications[0].classes[0]
    assert (3.0, "") == (only.score, only.label)
    assert 3.0 == prediction.Regress(regress, 10).result.regressions[0].value
    first, second = prediction.MultiInference(both, 10).results
    assert 3.0 == first.classification_result.classifications[0].classes[0].score
    assert 3.0 == second.regression_result.regressions[0].value
    assert ("regress_x_to_y", 123) == (second.model_spec.signature_name, second.model_spec.version.value)

    def refused(method, request):
        with pytest.raises(grpc.RpcError) as error:
            method(request, 10)
        return error.value.code(), error.value.details()

    both.tasks[0].method_name = "tensorflow/serving/predict"
    unimplemented = "Unsupported signature method_name: tensorflow/serving/predict"
    assert (grpc.StatusCode.UNIMPLEMENTED, unimplemented) == refused(prediction.MultiInference, both)
    both.tasks[0].CopyFrom(both.tasks[1])
    assert (INVALID, "Duplicate evaluation of signature: regress_x_to_y") == refused(
        prediction.MultiInference, both
    )
    classify.input.Clear()
    assert (INVALID, "Input is empty.") == refused(prediction.Classify, classify)
    regress.model_spec.signature_name = "serving_default"
    code, message = refused(prediction.Regress, regress)
    assert (INVALID, True) == (code, message.startswith("No regression inputs found in SignatureDef:"))


def test_grpc_metadata_and_status(prediction, channel) -> None:
    """Metadata hold all signatures; the status ignores a label."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "default"
    response = prediction.GetModelMetadata(request, 10)
    found = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert (123, 5) == (response.model_spec.version.value, len(found.signature_def))
    del request.metadata_field[:]
    with pytest.raises(grpc.RpcError, match="must specify at least one metadata_field"):
        prediction.GetModelMetadata(request, 10)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "default"
    status.model_spec.version_label = "anything"
    (version,) = (
        model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, 10).model_version_status
    )
    assert (123, 30, 0) == (version.version, version.state, version.status.error_code)


def test_reload(server, channel, small_models) -> None:
    """A new configuration replaces the list of models; one that is not valid changes nothing."""
    service = model_service_pb2_grpc.ModelServiceStub(channel)

    def reload(**names):
        request = model_management_pb2.ReloadConfigRequest()
        for name, folder in names.items():
            request.config.model_config_list.config.add(
                name=name, base_path=folder, model_platform="tensorflow"
            )
        return request

    same = {"default": str(small_models / "half_plus_two"), "pair": str(small_models / "pair")}
    three = str(small_models / "half_plus_three")
    assert 0 == service.HandleReloadConfigRequest(reload(**same, three=three), 60).status.error_code
    assert (200, {"predictions": [4.0]}) == server.predict({"instances": [2.0]}, "/v1/models/three")
    with pytest.raises(grpc.RpcError, match="to have an absolute path or URI"):
        service.HandleReloadConfigRequest(reload(relative="a/b"), 60)
    twice = reload(**same)
    twice.config.model_config_list.config.add().CopyFrom(twice.config.model_config_list.config[0])
    with pytest.raises(grpc.RpcError, match="Illegal to list model default multiple times"):
        service.HandleReloadConfigRequest(twice, 60)
    label = reload(**same)
    label.config.model_config_list.config[0].version_labels["stable"] = 123
    service.HandleReloadConfigRequest(label, 60)
    label.config.model_config_list.config[0].version_labels["stable"] = 7
    with pytest.raises(grpc.RpcError) as error:
        service.HandleReloadConfigRequest(label, 60)
    assert grpc.StatusCode.FAILED_PRECONDITION == error.value.code()
    service.HandleReloadConfigRequest(reload(**same), 60)
    assert 404 == server.ask("/v1/models/three")[0]
    assert (200, {"predictions": [3.0]}) == server.predict({"instances": [2.0]})
