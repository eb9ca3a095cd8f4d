"""`tensorflow_model_server`, started with TF Serving's flags and asked by the stubs of tensorflow-serving-api."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from noria.serving import command, profiler
from noria.serving.protos import get_model_status_pb2, predict_pb2
from noria.serving.tensors import from_proto, proto_of

MODEL = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}'


class Started:
    """The executable, its configuration file and its addresses."""

    def __init__(self, folder, models):
        self.folder, self.models = folder, models
        self.config, self.socket = folder / "models.config", folder / "socket"
        self.port, self.rest = free_ports(2)

    def configure(self, *names):
        """Writes which models are served."""
        lines = "\n".join(MODEL.format(name, self.models / name) for name in names)
        self.config.write_text(f"model_config_list {{ {lines} }}")

    def predict(self, channel, model, **options):
        """Version and output of a request for x = 2."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs["x"].CopyFrom(proto_of("float", (1,), (2.0,)))
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 10, **options)
        return answer.model_spec.version.value, list(from_proto(answer.outputs["y"]).values())

    def status(self, channel, model, state):
        """The status of a model's only version, when it has this state."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        ask = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(grpc.RpcError):
                (found,) = ask(request).model_version_status
                if found.State.Name(found.state) == state:
                    return found
            time.sleep(0.05)
        raise AssertionError(f"{model} did not become {state}")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def started(small_models, tmp_path_factory):
    found = Started(tmp_path_factory.mktemp("command"), small_models)
    found.configure("half_plus_two", "lite")
    (found.folder / "monitoring.config").write_text("prometheus_config { enable: true path: '/numbers' }")
    flags = {
        "port": found.port,
        "rest_api_port": found.rest,
        "grpc_socket_path": found.socket,
        "model_config_file": found.config,
        "model_config_file_poll_wait_seconds": 0.1,
        "monitoring_config_file": found.folder / "monitoring.config",
        "prefer_tflite_model": "true",
        "enable_batching": "true",
        "grpc_channel_arguments": "grpc.max_connection_age_ms=60000,grpc.lb_policy_name=grpclb",
        "tensorflow_session_config_file": "",
        "enable_grpc_healthcheck_service": "true",
    }
    code = "import sys; from noria.serving.command import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())]
    )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{found.port}") as channel:
            grpc.channel_ready_future(channel).result(60)
        yield found
        process.terminate()
        assert 0 == process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def channel(started):
    with grpc.insecure_channel(f"127.0.0.1:{started.port}") as channel:
        yield channel


def test_a_saved_model_and_a_lite_model_answer(started, channel) -> None:
    """Both have the signature `serving_default` from x to y; by gRPC, also compressed, and on a Unix socket."""
    assert (123, [3.0]) == started.predict(channel, "half_plus_two")
    assert (123, [3.0]) == started.predict(channel, "half_plus_two", compression=grpc.Compression.Gzip)
    assert (1, [3.0]) == started.predict(channel, "lite")
    with grpc.insecure_channel(f"unix:{started.socket}") as unix:
        assert (123, [3.0]) == started.predict(unix, "half_plus_two")


def test_a_lite_model_takes_other_shapes_and_refuses_what_it_cannot_take(started, channel) -> None:
    """A fed shape replaces the model's own; one that an operation cannot take is the request's error."""
    url = f"http://127.0.0.1:{started.rest}/v1/models/lite:predict"
    with urllib.request.urlopen(url, b'{"instances": [2.0, 3.0, 4.0]}') as answer:
        assert b"3.0,3.5,4.0" in answer.read().replace(b" ", b"").replace(b"\n", b"")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "lite"
    request.inputs["z"].CopyFrom(proto_of("float", (1,), (2.0,)))
    with pytest.raises(grpc.RpcError) as error:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 10)
    assert grpc.StatusCode.INVALID_ARGUMENT == error.value.code()


def test_monitoring_is_where_its_file_says(started) -> None:
    """The path of `prometheus_config`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{started.rest}/numbers") as answer:
        assert b"# TYPE" in answer.read()


def test_the_profiler_writes_a_trace_of_what_the_models_did(started, channel) -> None:
    """Profile traces the model processes while they answer, into the folder that the client names."""
    profile = channel.unary_unary(
        "/tensorflow.ProfilerService/Profile", profiler.ProfileRequest.SerializeToString
    )
    request = profiler.ProfileRequest(
        duration_ms=200, repository_root=str(started.folder), session_id="s", host_name="h:1"
    )
    answer = profile.future(request, 20)
    while not answer.done():
        started.predict(channel, "half_plus_two")
    assert b"" == answer.result()
    assert b"/host:CPU" in (started.folder / "s" / "h_1.xplane.pb").read_bytes()


def test_a_model_with_unknown_operations_is_refused_with_their_name(started, channel) -> None:
    """Where tensorflow-text is not installed, the status of a model that needs it names the operation."""
    folder = started.models / "unknown" / "1"
    shutil.copytree(started.models / "half_plus_two" / "00000123", folder)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"ParseExampleV2", b"ParseExampleV9"))
    started.configure("half_plus_two", "lite", "unknown")
    error = started.status(channel, "unknown", "END").status.error_message
    assert "Op type not registered 'ParseExampleV9'" in error


def test_the_configuration_file_is_polled(started, channel) -> None:
    """A model that the file names later is loaded, and one that it no longer names is unloaded."""
    started.configure("half_plus_three")
    started.status(channel, "half_plus_three", "AVAILABLE")
    assert (124, [4.0]) == started.predict(channel, "half_plus_three")
    with pytest.raises(grpc.RpcError) as error:
        started.predict(channel, "half_plus_two")
    assert "Servable not found for request: Latest(half_plus_two)" == error.value.details()


def test_a_bad_file_is_named_as_tf_serving_names_it(tmp_path, capfd) -> None:
    """A configuration that cannot be parsed ends the executable with TF Serving's message and code."""
    bad = tmp_path / "models.config"
    bad.write_text("improperly formatted file")
    assert 255 == command.main([f"--model_config_file={bad}"])
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in capfd.readouterr().err
