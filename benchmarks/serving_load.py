"""Clients that ask a server without a pause, in a separate process.

    python -m benchmarks.serving_load '{"protocol": "rest", "port": 8501, "model": "m", "clients": 8, "seconds": 5}'

Writes one JSON line: for each answer the moment (time.monotonic), the latency in ms, the version that gRPC's answer
names (0 by REST), and the value or an error's text. SIGTERM ends it early. The protocol `v2` is KServe's by gRPC, with
`request` in hexadecimal, and the answer to it is VALUE.
"""

import asyncio
import json
import signal
import struct
import sys
import time
from typing import Any

import grpc.aio
import orjson
import uvloop

from noria.serving.protos import predict_pb2
from noria.serving.tensors import proto_of

X, VALUE = 2.0, 3.0


async def rest(port: int, model: str, until: list[float], answers: list[Any]) -> None:
    """One connection, one request at a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = orjson.dumps({"instances": [[X]]})
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    while (started := time.monotonic()) < until[0]:
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next(
            int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length")
        )
        text = await reader.readexactly(length)
        ended = time.monotonic()
        value = orjson.loads(text)["predictions"][0][0] if b" 200 " in lines[0] else text.decode()
        answers.append((ended, (ended - started) * 1000, 0, value))
    writer.close()


async def rpc(port: int, model: str, until: list[float], answers: list[Any]) -> None:
    """One channel, one request at a time."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(proto_of("float", [1, 1], [X]))
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        while (started := time.monotonic()) < until[0]:
            try:
                response = await call(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                answers.append((time.monotonic(), 0.0, 0, error.details()))
                continue
            ended = time.monotonic()
            value = response.outputs["y"].float_val[0]
            answers.append((ended, (ended - started) * 1000, response.model_spec.version.value, value))


async def v2(port: int, request: bytes, until: list[float], answers: list[Any]) -> None:
    """As `rpc`, of KServe, whose messages are not known here: the float is looked for in the answer's bytes."""
    wanted = struct.pack("<f", VALUE)
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        while (started := time.monotonic()) < until[0]:
            response = await call(request, timeout=30)
            ended = time.monotonic()
            value = VALUE if wanted in response else "another answer"
            answers.append((ended, (ended - started) * 1000, 0, value))


async def main(given: dict[str, Any]) -> None:
    answers: list[Any] = []
    until = [time.monotonic() + given["seconds"]]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: until.__setitem__(0, 0.0))
    grpc_port, model = given.get("grpc_port", given["port"]), given["model"]
    kinds = {
        "rest": lambda: rest(given["port"], model, until, answers),
        "grpc": lambda: rpc(grpc_port, model, until, answers),
        "v2": lambda: v2(grpc_port, bytes.fromhex(given["request"]), until, answers),
    }
    used = ["rest", "grpc"] if given["protocol"] == "both" else [given["protocol"]]
    await asyncio.gather(*(kinds[used[each % len(used)]]() for each in range(given["clients"])))
    print(json.dumps(answers))


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(json.loads(sys.argv[1])))
