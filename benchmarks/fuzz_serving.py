"""Requests that nobody meant, through the server's front: right codes, no crash, no growth.

    python -m benchmarks.fuzz_serving [--inputs 1000000] [--connections 5000] [--first 0] [--quick]

Each input is a request of a small corpus, by REST or by gRPC, changed at random; the input's number is its seed. It
goes through the code of `noria serve` from the ASGI scope, or from the bytes of the message, to the answer; the model's
process is a function here, because TensorFlow sees tensors that fit the signature only. Connections are real ones, to
uvicorn: cut off, half-closed, slow, malformed, or with a wrong length; in between a good request must be answered.

A finding is an answer that is not of the protocol (a 5xx, a body that is not JSON, an exception), or that takes longer
than 5 s of the processor. Writes fuzz_serving.json and returns 1 where there was a finding, or the memory has grown.
"""

import asyncio
import collections
import contextlib
import gzip
import json
import logging
import random
import resource
import socket
import struct
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import uvicorn

from benchmarks import measure
from noria.serving.models import Models, Options
from noria.serving.prometheus import Metrics
from noria.serving.protos import SignatureDef, predict_pb2, regression_pb2
from noria.serving.rest import Rest
from noria.serving.rpc import _Rpc
from noria.serving.server import HttpProtocol
from noria.serving.tensors import STRING, Tensor, pack, proto_of
from noria.serving.tf_serving_config import single_model
from noria.serving.version import State, Version

SLOW = 5.0  # seconds of processor time; of a connection, seconds
GROWTH = 20 << 20  # bytes; less is not growth
REFUSED = {400, 404, 413}
CODES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}
SIGNATURES = {
    "serving_default": ({"x": "float"}, {"y": "float"}),
    "pair": ({"number": "int64", "word": STRING}, {"double": "int64", "raw_bytes": STRING, "large": "bool"}),
    "classify": ({"inputs": STRING}, {"scores": "float"}),
    "regress": ({"inputs": STRING}, {"outputs": "float"}),
}
NUMBERS = {"float": 1, STRING: 7, "int64": 9, "bool": 10}
PREDICT, CLASSIFY, REGRESS = (f"/v1/models/default:{verb}" for verb in ("predict", "classify", "regress"))
CORPUS: list[tuple[str, str, bytes]] = [
    ("POST", PREDICT, b'{"instances": [1.0, 2.5, -3e4]}'),
    ("POST", PREDICT, b'{"instances": [[1.0, 2.0], [3.0, 4.0]], "signature_name": "serving_default"}'),
    ("POST", PREDICT, b'{"inputs": {"x": [1, 2, NaN, Infinity]}}'),
    ("POST", PREDICT, '{"signature_name": "pair", "instances": [{"number": 3, "word": "\u00e9"}]}'.encode()),
    (
        "POST",
        PREDICT,
        b'{"signature_name": "pair", "inputs": {"number": [1, 2], "word": [{"b64": "YQ=="}, "b"]}}',
    ),
    (
        "POST",
        CLASSIFY,
        b'{"signature_name": "classify", "context": {"a": 1}, "examples": [{"x": 2.0, "y": ["a"]}]}',
    ),
    (
        "POST",
        REGRESS,
        b'{"signature_name": "regress", "examples": [{"x": 2.0}, {"x": true, "z": {"b64": "YQ=="}}]}',
    ),
    ("POST", "/v1/models/default/versions/1:predict", b'{"instances": [1.0]}'),
    ("POST", "/v1/models/default/labels/stable:predict", b'{"instances": [1.0]}'),
    ("GET", "/v1/models/default", b""),
    ("GET", "/v1/models/default/versions/1/metadata", b""),
]
TOKENS = [
    *b"[]{}:,\"'\\0.eE+-\n\x00",
    *(
        each.encode()
        for each in ("NaN", "-Infinity", "null", "true", "1e999", "-0", "01", "1.", ".5", "\\ud800")
    ),
    *(
        each.encode()
        for each in ('{"b64":', '"instances"', '"inputs"', '"signature_name"', '"examples"', "[[[[")
    ),
    *(
        each.encode()
        for each in ("9223372036854775808", "0.1" * 20, "\u00ff", "\\u0000", '"b64": "a"', "%00", "/", "?")
    ),
    b"\xff\xfe",
    b"\xf0\x9f\x98\x80",
]


class Process:
    """What a model's process answers: each output has the rows of the first input."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pid, self.memory = 0, 0

    def run(self, feeds: Sequence[str], fetches: Sequence[str], inputs: Sequence[Tensor], done: Any) -> None:
        shape = inputs[0].shape
        count = len(inputs[0].data) if inputs[0].dtype == STRING else len(inputs[0].values())
        outputs = []
        for name in fetches:
            dtype = name.split("/")[1]
            flat = shape if name.split("/")[0] != "scores" else (*shape, 1)
            values = [b"\xff"] * count if dtype == STRING else pack(dtype, [1] * count)
            outputs.append(Tensor(dtype, flat, values))
        asyncio.get_running_loop().call_soon(done, [0, 0, 1], outputs)


class Aborted(Exception):
    """gRPC's `abort`."""


class Context:
    """Of a gRPC call."""

    code: Any = None

    def invocation_metadata(self) -> tuple[Any, ...]:
        return ()

    def set_trailing_metadata(self, pairs: Any) -> None:
        """Nobody reads them."""

    def time_remaining(self) -> None:
        return None

    async def abort(self, code: Any, message: str) -> None:
        self.code = code
        raise Aborted(message)


def signature(inputs: dict[str, str], outputs: dict[str, str]) -> Any:
    made = SignatureDef(method_name="tensorflow/serving/predict")
    for infos, given in ((made.inputs, inputs), (made.outputs, outputs)):
        for key, dtype in given.items():
            infos[key].name, infos[key].dtype = f"{key}/{dtype}", NUMBERS[dtype]
            infos[key].tensor_shape.dim.add().size = -1
            if key == "scores":
                infos[key].tensor_shape.dim.add().size = 1
    return made


async def served() -> Models:
    """The model `default`, whose version 1 answers, with the label `stable`."""
    from noria.serving.signatures import Signature

    models = Models(Options(poll_seconds=0), Metrics())
    config = single_model("default", "/nowhere").model_config_list.config[0]
    model = models.models["default"] = models._model(config)
    models.labels["default"] = {"stable": 1}
    version: Version = model._make(1, Path("/nowhere/1"))
    version.signatures = {name: Signature(name, signature(*each)) for name, each in SIGNATURES.items()}
    version.state, process = State.AVAILABLE, Process()
    version.process = process  # type: ignore[assignment]  # a function in its place
    version.queue.connect(process)  # type: ignore[arg-type]
    model.versions[1] = version
    return models


def changed(draw: random.Random, data: bytes) -> bytes:
    """The bytes with up to eight changes, now and then a very deep or a very long one."""
    text = bytearray(data)
    for _ in range(draw.choice((0, 1, 1, 2, 3, 8))):
        place = draw.randrange(len(text) + 1)
        match draw.randrange(7):
            case 0:
                text[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del text[place : place + draw.randrange(1, 6)]
            case 2 | 3:
                token = draw.choice(TOKENS)
                text[place:place] = bytes([token]) if isinstance(token, int) else token
            case 4:
                end = place + draw.randrange(1, 30)
                text[place:place] = text[place:end] * draw.randrange(1, 4)
            case 5:
                del text[place:]
            case 6:
                other = draw.choice(CORPUS)[2]
                text[place:place] = other[draw.randrange(len(other) + 1) :]
    if draw.random() < 0.0005:
        place, depth = draw.randrange(len(text) + 1), draw.choice((1_000, 100_000))
        text[place:place] = draw.choice((b"[", b'{"a":')) * depth
    elif draw.random() < 0.0005:
        text[len(text) // 2 : len(text) // 2] = draw.choice((b"1,", b'"a",', b" ")) * 200_000
    return bytes(text)


async def by_rest(app: Rest, draw: random.Random) -> str:
    """What kind of answer it was.

    Raises:
      AssertionError: it is not of the protocol.
    """
    method, path, body = draw.choice(CORPUS)
    body, headers = changed(draw, body), []
    if draw.random() < 0.1:
        path = changed(draw, path.encode()).decode("latin-1")
        path = path if path.startswith("/") else f"/{path}"
    if draw.random() < 0.03:
        method = draw.choice(("PUT", "DELETE", "HEAD", "OPTIONS", "GET", "POST"))
    if draw.random() < 0.05:
        body = gzip.compress(body, 1)
        body = changed(draw, body) if draw.random() < 0.5 else body
        headers.append((b"content-encoding", b"gzip"))
    parts = [body[: len(body) // 2], body[len(body) // 2 :]] if draw.random() < 0.2 else [body]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "headers": headers,
        "client": ("10.0.0.1", 1),
    }
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in parts]
    messages[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    status, text = sent[0]["status"], sent[1]["body"]
    if path[:4].lower() != "/v1/":
        assert status in (200, *REFUSED), (status, text)
        return f"REST {status}"
    # Bytes of a request that are not UTF-8 come back as they are, as in TF Serving.
    found = json.loads(text.decode("utf-8", "surrogateescape")) if text else None
    if status == 200:
        assert found is None or isinstance(found, dict), text
    else:
        assert status in REFUSED and list(found) == ["error"] and isinstance(found["error"], str), (
            status,
            text,
        )
    return f"REST {status}"


async def by_grpc(api: _Rpc, draw: random.Random) -> str:
    """As `by_rest`."""
    kind, call = draw.choice(
        ((predict_pb2.PredictRequest, api.predict), (regression_pb2.RegressionRequest, api.regress))
    )
    request = kind()
    request.model_spec.name = "default"
    if kind is predict_pb2.PredictRequest:
        request.inputs["x"].CopyFrom(proto_of("float", (2,), (1.0, 2.0)))
        request.output_filter.append("y")
    else:
        request.model_spec.signature_name = "regress"
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    data = bytearray(request.SerializeToString())
    for _ in range(draw.choice((0, 1, 2, 5))):
        place, size = draw.randrange(len(data)) if data else 0, draw.choice((1, 1, 1, 4))
        other = (
            size if draw.random() < 0.8 else draw.choice((0, 1, 4))
        )  # a length that fits, more often than not
        data[place : place + size] = draw.randbytes(other)
    try:
        message = kind.FromString(bytes(data))
    except Exception:  # gRPC answers INTERNAL before the service sees it
        return "gRPC no message"
    context = Context()
    try:
        response = await call(message, context)
    except Aborted:
        assert context.code in CODES, context.code
        return f"gRPC {context.code.name}"
    if isinstance(response, bytes):  # it was written without protobuf, which must be able to read it
        predict_pb2.PredictResponse.FromString(response)
    else:
        response.SerializeToString()
    return "gRPC OK"


GOOD = (
    b'POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"instances": [1.0]}'
)
BAD = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/models/default HTTP/1.1\r\n" + b"a: b\r\n" * 2_000 + b"\r\n",
]


async def connection(port: int, draw: random.Random) -> None:
    """One connection that somebody treats badly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        data = GOOD if draw.random() < 0.5 else draw.choice(BAD)
        data = data if draw.random() < 0.5 else changed(draw, data)
        match draw.randrange(5):
            case 0:  # half-closed within the request
                writer.write(data[: draw.randrange(len(data) + 1)])
                writer.write_eof()
                await asyncio.wait_for(reader.read(), SLOW)
            case 1:  # gone without a word
                writer.write(data)
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            case 2:  # a byte now and then
                for each in data[:40]:
                    writer.write(bytes([each]))
                    await asyncio.sleep(0)
            case 3:  # many requests at once
                writer.write(data * draw.randrange(1, 20))
                await asyncio.wait([asyncio.ensure_future(reader.read(1000))], timeout=0.05)
            case 4:
                writer.write(data)
                await asyncio.wait([asyncio.ensure_future(reader.read(1000))], timeout=0.05)
    writer.close()


async def good(port: int) -> None:
    """A good request on a new connection.

    Raises:
      AssertionError: it has no answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GOOD)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), SLOW)
    assert b" 200 " in head, head
    writer.close()


def memory() -> int:
    """Bytes in memory now."""
    if not Path("/proc/self/statm").exists():
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def run(first: int, inputs: int, connections: int, result: dict[str, Any]) -> None:
    """Everything; findings and figures go into `result`."""
    models = await served()
    app, api = Rest(models, models.metrics), _Rpc(models, models.metrics, None, None)
    kinds: collections.Counter[str] = collections.Counter()
    findings, slowest, base, started = [], 0.0, 0, time.monotonic()
    for number in range(first, first + inputs):
        draw, before = random.Random(number), time.process_time()
        try:
            kinds[await (by_grpc(api, draw) if draw.random() < 0.2 else by_rest(app, draw))] += 1
        except Exception:
            findings.append({"input": number, "what": traceback.format_exc()[-2000:]})
        took = time.process_time() - before
        slowest = max(slowest, took)
        if took > SLOW:
            findings.append({"input": number, "what": f"it took {took:.1f} s"})
        if number == first + inputs // 5:
            base = memory()  # what is allocated once is there
    growth = memory() - base
    result |= {"inputs": inputs, "seconds": time.monotonic() - started, "slowest_s": slowest}
    config = uvicorn.Config(
        app, http=HttpProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    logging.disable()  # of each connection that is cut off
    listener = socket.create_server(("127.0.0.1", 0))
    server, port = uvicorn.Server(config), listener.getsockname()[1]
    serving = asyncio.ensure_future(server._serve(sockets=[listener]))
    for number in range(connections):
        try:
            await connection(port, random.Random(number))
            if number % 20 == 0:
                await good(port)
        except Exception:
            findings.append({"connection": number, "what": traceback.format_exc()[-2000:]})
    server.should_exit = server.force_exit = True
    await serving
    result |= {
        "connections": connections,
        "growth_mb": growth / 1e6,
        "answers": dict(sorted(kinds.items())),
        "findings": findings[:100],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzzes, prints, and returns 1 where something was found."""
    made = measure.parser(__doc__)
    made.add_argument("--inputs", type=int, help="(default: 1,000,000)")
    made.add_argument("--connections", type=int, help="(default: 5,000)")
    made.add_argument("--first", type=int, default=0, help="the first input's number")
    options = measure.options(made, argv)
    machine, given = options.machine(), options.given
    inputs = given.inputs or options.size(1_000_000, 5_000)
    result: dict[str, Any] = {}
    asyncio.run(run(given.first, inputs, given.connections or options.size(5_000, 100), result))
    options.save("fuzz_serving", result, machine)
    measure.show("Answers", ["kind", "count"], list(result["answers"].items()))
    figures = ("inputs", "connections", "seconds", "slowest_s", "growth_mb")
    measure.show("Fuzzing", ["", ""], [(name, result[name]) for name in figures])
    for each in result["findings"][:5]:
        print(each, file=sys.stderr)
    return int(bool(result["findings"]) or result["growth_mb"] > GROWTH / 1e6)


if __name__ == "__main__":
    sys.exit(main())
