"""Clients that ask a server without a pause, in a separate process.

    python -m benchmarks.serving_load '{"protocol": "rest", "port": 8501, "model": "m", "clients": 8, "seconds": 5}'

Writes one JSON line: `cpu_seconds` that the clients took, and `answers`: for each one the moment (time.monotonic), the
latency in ms, the version that gRPC's answer names (0 by REST), and the value or an error's text. SIGTERM ends it
early. The protocol `v2` is KServe's by gRPC, with `request` in hexadecimal, and the answer to it is VALUE.

Server and clients share the machine, so a client must cost less than what it measures. A request here is always the
same bytes. For gRPC these are the two frames of HTTP/2 that a unary call needs; grpcio's client takes as much of a
processor as its server does.
"""

import asyncio
import json
import signal
import struct
import sys
import time
from typing import Any

import orjson
import uvloop

from noria.serving.protos import predict_pb2
from noria.serving.tensors import proto_of

X, VALUE = 2.0, 3.0
# HTTP/2 (RFC 9113): the types of frames that come, and flags.
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
LARGEST_WINDOW = (1 << 31) - 1


class Client(asyncio.Protocol):
    """One connection, one request at a time.

    Args:
      until: until when, on the clock of `time.monotonic`; one element, which may change.
      answers: gets each answer.
      done: told when the last one has come, or the connection has ended.
    """

    def __init__(self, until: list[float], answers: list[Any], done: asyncio.Future[None]):
        self.until, self.answers, self.done = until, answers, done
        self.buffer = b""
        self.started = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.answers.append((time.monotonic(), 0.0, 0, f"the connection ended: {error}"))
            self.done.set_result(None)

    def next(self) -> None:
        """Sends a request, or ends."""
        self.started = time.monotonic()
        if self.started < self.until[0]:
            self.transport.write(self.request())
        elif not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def answered(self, version: int, value: Any) -> None:
        ended = time.monotonic()
        self.answers.append((ended, (ended - self.started) * 1000, version, value))
        self.next()

    def request(self) -> bytes:
        raise NotImplementedError


class RestClient(Client):
    """TF Serving's REST API; KServe's first protocol is the same."""

    def __init__(self, model: str, *given: Any):
        super().__init__(*given)
        body = orjson.dumps({"instances": [[X]]})
        head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body

    def request(self) -> bytes:
        return self._request

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, text = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not found or len(text) < int(length):
            return
        self.buffer = b""
        good = b" 200 " in head.partition(b"\r\n")[0]
        self.answered(0, orjson.loads(text)["predictions"][0][0] if good else text.decode())


class GrpcClient(Client):
    """A unary call with the same message again and again."""

    def __init__(self, path: str, message: bytes, *given: Any):
        super().__init__(*given)
        # HPACK (RFC 7541): POST and http are in its table, other values stand for themselves.
        headers = b"\x83\x86" + b"".join(
            name + bytes([len(value)]) + value
            for name, value in (
                (b"\x04", path.encode()),
                (b"\x01", b"x"),  # :authority
                (b"\x0f\x10", b"application/grpc"),
                (b"\x00\x02te", b"trailers"),
                (b"\x00\x0cgrpc-timeout", b"30S"),
            )
        )
        self._headers, self._data = headers, struct.pack(">?I", False, len(message)) + message
        self._stream = -1
        self._message = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        window = struct.pack(">HI", 4, LARGEST_WINDOW)  # SETTINGS_INITIAL_WINDOW_SIZE
        more = struct.pack(">I", LARGEST_WINDOW - 65_535)
        transport.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, window) + frame(8, 0, 0, more)
        )
        self.next()

    def request(self) -> bytes:
        self._stream += 2
        return frame(HEADERS, END_HEADERS, self._stream, self._headers) + frame(
            DATA, END_STREAM, self._stream, self._data
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            if kind == DATA:
                self._message += payload
            elif kind == SETTINGS and not flags & ACK:
                self.transport.write(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self.transport.write(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                self.transport.close()
            elif kind == RESET or kind == HEADERS and flags & END_STREAM:
                message, self._message = self._message[5:], b""
                self.answered(*(self.read(message) if message else (0, f"no answer: {payload!r}")))

    def read(self, message: bytes) -> tuple[int, Any]:
        """The version and the value of PredictionService's answer."""
        response = predict_pb2.PredictResponse.FromString(message)
        return response.model_spec.version.value, response.outputs["y"].float_val[0]


class V2Client(GrpcClient):
    """KServe's, whose messages are not known here: the float is looked for in the answer's bytes."""

    def read(self, message: bytes) -> tuple[int, Any]:
        return 0, VALUE if struct.pack("<f", VALUE) in message else "another answer"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def predict_request(model: str) -> bytes:
    """The PredictRequest of X."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(proto_of("float", [1, 1], [X]))
    return request.SerializeToString()


async def main(given: dict[str, Any]) -> None:
    answers: list[Any] = []
    until = [time.monotonic() + given["seconds"]]
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: until.__setitem__(0, 0.0))
    ports = {"rest": given["port"], "grpc": given.get("grpc_port", given["port"])}
    model, message = given["model"], bytes.fromhex(given.get("request") or "")
    kinds = {
        "rest": lambda *more: RestClient(model, *more),
        "grpc": lambda *more: GrpcClient(
            "/tensorflow.serving.PredictionService/Predict", predict_request(model), *more
        ),
        "v2": lambda *more: V2Client("/inference.GRPCInferenceService/ModelInfer", message, *more),
    }
    used = ["rest", "grpc"] if given["protocol"] == "both" else [given["protocol"]]
    before, ends = time.process_time(), []
    for each in range(given["clients"]):
        kind, done = used[each % len(used)], loop.create_future()
        port = ports["rest" if kind == "rest" else "grpc"]
        await loop.create_connection(lambda: kinds[kind](until, answers, done), "127.0.0.1", port)  # noqa: B023
        ends.append(done)
    await asyncio.gather(*ends)
    print(json.dumps({"cpu_seconds": time.process_time() - before, "answers": answers}))


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(json.loads(sys.argv[1])))
