"""Versions come and go, and processes are killed, while clients ask: nobody gets a wrong answer or an error."""

import os
import shutil
import signal
import struct
import threading
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from noria.serving.protos import predict_pb2, prediction_log_pb2
from noria.serving.tensors import proto_of

# What half_plus_two, half_plus_three and half_plus_four answer to 2.0.
TWO, THREE, FOUR = 3.0, 4.0, 5.0


@pytest.fixture(scope="module")
def root(small_models, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("served") / "m"
    root.mkdir()
    publish(root, 1, small_models / "half_plus_two" / "00000123")
    return root


@pytest.fixture(scope="module")
def server(root, serving):
    with serving(str(root)) as running:
        yield running


def publish(root: Path, version: int, model: Path) -> Path:
    """As the publication does it: written under another name, renamed."""
    beside = root / f".staging-{version}"
    shutil.copytree(model, beside)
    return beside.rename(root / str(version))


def recorded(x: float, y: float) -> bytes:
    """A warm-up file of one request with its answer."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(proto_of("float", (1,), (x,)))
    log.predict_log.response.outputs["y"].CopyFrom(proto_of("float", (1,), (y,)))
    data = log.SerializeToString()
    return struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4)  # nobody reads the checksums


class Clients:
    """Four threads that ask without a pause, two by REST and two by gRPC; `answers` holds (version, y) or an error."""

    def __init__(self, server):
        self.server = server
        self.answers: list[object] = []
        self.ending = threading.Event()
        targets = [self.by_rest, self.by_grpc] * 2
        self.threads = [threading.Thread(target=target) for target in targets]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def by_rest(self):
        while not self.ending.is_set():
            status, answer = self.server.predict({"instances": [2.0]}, "/v1/models/m")
            self.answers.append((None, answer["predictions"][0]) if status == 200 else (status, answer))

    def by_grpc(self):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(proto_of("float", [1], [2.0]))
        with grpc.insecure_channel(f"127.0.0.1:{self.server.grpc}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.ending.is_set():
                try:
                    response = stub.Predict(request, 30)
                except grpc.RpcError as error:
                    self.answers.append(("error", error.details()))
                else:
                    self.answers.append(
                        (response.model_spec.version.value, response.outputs["y"].float_val[0])
                    )

    def reach(self, *wanted: object) -> None:
        """Waits until one of these is answered from now on."""
        seen = len(self.answers)
        self.server.wait(lambda: any(each in wanted for each in self.answers[seen:]))


def states(server) -> dict[int, str]:
    _, answer = server.ask("/v1/models/m")
    return {int(each["version"]): each["state"] for each in answer["model_version_status"]}


def model_processes(server) -> list[int]:
    """The processes of the versions: children of the child of the front."""

    def children(pid: int) -> list[int]:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    return [grandchild for child in children(server.process.pid) for grandchild in children(child)]


def test_a_swap_loses_nothing(server, root, small_models) -> None:
    """Traffic moves to a new version between two requests; each answer is one version's, with its own number.

    The process of the version before is kept: one with the same graph gets its weights alone. Another graph ends it.
    """
    two, three = small_models / "half_plus_two" / "00000123", small_models / "half_plus_three" / "00000124"
    with Clients(server) as clients:
        clients.reach((1, TWO))
        publish(root, 2, three)
        clients.reach((2, THREE))
        server.wait(lambda: states(server) == {1: "END", 2: "AVAILABLE"})
        processes = set(model_processes(server))
        assert 2 == len(processes)
        publish(root, 3, two)
        clients.reach((3, TWO))
        server.wait(lambda: states(server) == {1: "END", 2: "END", 3: "AVAILABLE"})
        assert processes == set(model_processes(server))
        publish(root, 4, small_models / "half_plus_four" / "00000125")
        clients.reach((4, FOUR))
        server.wait(lambda: states(server)[3] == "END" and len(model_processes(server)) == 1)
    named = {(1, TWO), (2, THREE), (3, TWO), (4, FOUR)}
    assert named == {each for each in clients.answers if each[0]}
    assert set(clients.answers) <= named | {(None, TWO), (None, THREE), (None, FOUR)}


def test_a_bad_version_is_refused(server, root, small_models) -> None:
    """A version that does not load, fails its warm-up, or has other answers has its reason in the status.

    The one before answers.
    """
    bad = small_models.parent / "bad"
    shutil.copytree(small_models / "half_plus_three" / "00000124", bad)
    (bad / "saved_model.pb").write_bytes(b"no model")
    publish(root, 5, bad)
    extra = small_models.parent / "unwarmed"
    shutil.copytree(small_models / "half_plus_three" / "00000124", extra)
    (extra / "assets.extra").mkdir()
    (extra / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"cut off")
    server.wait(lambda: states(server).get(5) == "END")
    publish(root, 6, extra)
    server.wait(lambda: states(server).get(6) == "END")
    other = small_models.parent / "other"
    shutil.copytree(small_models / "half_plus_three" / "00000124", other)
    (other / "assets.extra").mkdir()
    (other / "assets.extra" / "tf_serving_warmup_requests").write_bytes(recorded(2.0, TWO))
    publish(root, 7, other)
    server.wait(lambda: states(server).get(7) == "END")
    _, answer = server.ask("/v1/models/m")
    reasons = {each["version"]: each["status"]["error_message"] for each in answer["model_version_status"]}
    assert "saved_model.pb" in reasons["5"]
    assert "the warm-up file is cut off at byte 0" in reasons["6"]
    assert "y is not what was recorded when the version was published: 4, was 3" in reasons["7"]
    assert (200, {"predictions": [FOUR]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
    assert "AVAILABLE" == states(server)[4]


def test_a_killed_process_is_replaced(server) -> None:
    """SIGKILL of the model process: what it was computing is computed again, so that no client sees it."""
    with Clients(server) as clients:
        clients.reach((4, FOUR))
        (killed,) = model_processes(server)
        os.kill(killed, signal.SIGKILL)
        server.wait(lambda: model_processes(server) not in ([], [killed]))
        clients.reach((4, FOUR))
    assert {(4, FOUR), (None, FOUR)} == set(clients.answers)
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert 'noria_serving_process_restarts_total{model="m",version="4"} 1' in page


def test_a_removed_version_is_unloaded(server, root) -> None:
    """When the newest folder goes, as in a rollback, the one before is loaded and serves again.

    A version repeats the newest request before it serves: it is not the first user who waits for the graph.
    """
    publish(root, 8, root / "1")
    server.wait(lambda: states(server).get(8) == "AVAILABLE")
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert 'noria_serving_batches_total{model="m",version="8"} 1\n' in page
    assert (200, {"predictions": [TWO]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
    for version in (5, 6, 7):
        shutil.rmtree(root / str(version))
    (root / "8").rename(root / ".withdrawn-8")
    server.wait(lambda: states(server)[4] == "AVAILABLE" and states(server)[8] == "END")
    assert (200, {"predictions": [FOUR]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
