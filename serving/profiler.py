"""TensorFlow's ProfilerService, which TF Serving has at its gRPC port: it traces what the model processes do.

The trace is written where the client says, as TensorFlow's own server does. So only clients on this machine may ask.
"""

import asyncio
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, proto_builder

from noria.core import files
from noria.core.errors import ServingError
from noria.serving.models import Models
from noria.serving.processes import ModelProcess

MAX_SECONDS = 60.0
EMPTY = b"\x38\x01"  # ProfileResponse.empty_trace
LOCAL = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")
LOG = logging.getLogger("noria.serving")

_Field = descriptor_pb2.FieldDescriptorProto
# The first fields of tsl/profiler/protobuf/profiler_service.proto, whose messages TensorFlow's package does not have.
ProfileRequest: Any = proto_builder.MakeSimpleProtoClass(
    OrderedDict(
        duration_ms=_Field.TYPE_UINT64,
        max_events=_Field.TYPE_UINT64,
        tools=_Field.TYPE_STRING,
        opts=_Field.TYPE_BYTES,
        repository_root=_Field.TYPE_STRING,
        session_id=_Field.TYPE_STRING,
        host_name=_Field.TYPE_STRING,
    ),
    "noria.ProfileRequest",
)


def handler(models: Models) -> Any:
    """The generic handler of the service."""
    turn = asyncio.Lock()  # a process has one profiler

    async def profile(request: Any, context: Any) -> bytes:
        if not context.peer().startswith(LOCAL):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, "the profiler answers on the machine of the server only"
            )
        async with turn:
            trace = await _trace(models, min(request.duration_ms / 1000, MAX_SECONDS))
        if not trace:
            return EMPTY
        try:
            await asyncio.to_thread(_write, request, trace)
        except ServingError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.what)
        return b""

    method = grpc.unary_unary_rpc_method_handler(profile, request_deserializer=ProfileRequest.FromString)
    return grpc.method_handlers_generic_handler("tensorflow.ProfilerService", {"Profile": method})


async def _trace(models: Models, seconds: float) -> bytes:
    """A serialized XSpace: the planes of all processes, because joined messages are merged."""
    processes: list[ModelProcess] = [
        version.process
        for model in models.models.values()
        for version in model.versions.values()
        if version.live and version.process is not None
    ]
    await asyncio.gather(*(_told(each, "start") for each in processes))
    await asyncio.sleep(seconds)
    return b"".join(await asyncio.gather(*(_told(each, "stop") for each in processes)))


async def _told(process: ModelProcess, verb: str) -> bytes:
    answer = process.profile(verb)
    waited: list[asyncio.Future[Any]] = [answer, process.ended]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    return answer.result() if answer.done() else b""


def _write(request: Any, trace: bytes) -> None:
    folder = Path(request.repository_root) / request.session_id
    path = folder / f"{request.host_name.replace(':', '_') or 'server'}.xplane.pb"
    with files.explained("the trace cannot be written", path, ServingError):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(trace)
    LOG.info("the profiler has written %s", path)
