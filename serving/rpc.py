"""TF Serving's gRPC API: PredictionService, ModelService, and grpc.health.v1 where it is wanted."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from noria.core.errors import NoriaError
from noria.serving import access as admission
from noria.serving import protos, service
from noria.serving.access import Access, Call
from noria.serving.audit_log import AuditLog
from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.models import Models
from noria.serving.prediction_log import REQUEST_ID, new_id
from noria.serving.prometheus import Metrics
from noria.serving.rollouts.traffic import KEY
from noria.serving.tracing import Tracing
from noria.serving.version import Version

__all__ = ["handlers"]

ADMIN_METHODS = ("HandleReloadConfigRequest",)

_CODES = {each.value[0]: each for each in grpc.StatusCode}


def handlers(
    models: Models,
    metrics: Metrics,
    health: bool,
    access: Access | None = None,
    audit: AuditLog | None = None,
    tracing: Tracing | None = None,
) -> list[Any]:
    """The generic handlers of the services; health is open to everybody."""
    rpc = _Rpc(models, metrics, audit, tracing)
    apis = {
        "PredictionService": {
            "Predict": (rpc.predict, protos.predict_pb2.PredictRequest),
            "Classify": (rpc.classify, protos.classification_pb2.ClassificationRequest),
            "Regress": (rpc.regress, protos.regression_pb2.RegressionRequest),
            "MultiInference": (rpc.multi_inference, protos.inference_pb2.MultiInferenceRequest),
            "GetModelMetadata": (rpc.metadata, protos.get_model_metadata_pb2.GetModelMetadataRequest),
        },
        "ModelService": {
            "GetModelStatus": (rpc.status, protos.get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": (rpc.reload, protos.model_management_pb2.ReloadConfigRequest),
        },
    }
    found = [
        grpc.method_handlers_generic_handler(
            f"tensorflow.serving.{name}",
            {
                method: grpc.unary_unary_rpc_method_handler(
                    _read(call, kind) if access is None else _admitted(call, kind, method, access, metrics),
                    response_serializer=_serialize,
                )
                for method, (call, kind) in methods.items()
            },
        )
        for name, methods in apis.items()
    ]
    if health:
        # HealthCheckResponse has one field, an enum: SERVING is 1, NOT_SERVING 2. grpcio-health-checking is not needed.
        async def check(request: bytes, context: Any) -> bytes:
            return b"\x08\x01" if models.ready else b"\x08\x02"

        methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
        found.append(grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods))
    return found


def _read(call: Any, kind: Any) -> Any:
    """A method that gets a message. grpc.aio's own deserializer would answer bad bytes with a Python exception."""

    async def run(request: bytes, context: Any) -> Any:
        try:
            message = kind.FromString(request)
        except Exception:  # protobuf's DecodeError differs between its implementations
            await context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        return await call(message, context)

    return run


def _admitted(call: Any, kind: Any, method: str, access: Access, metrics: Metrics) -> Any:
    """A method that reads a request when its client is known."""
    role, read = admission.ADMIN if method in ADMIN_METHODS else admission.PREDICT, _read(call, kind)

    async def run(request: bytes, context: Any) -> Any:
        given = dict(context.invocation_metadata() or ())
        names = context.auth_context().get("x509_common_name", ())
        try:
            client = await access.admit(
                Call(
                    given.get("authorization", ""),
                    given.get("x-api-key", ""),
                    names[0].decode("utf-8", "replace") if names else "",
                    _address(context.peer()),
                    method,
                ),
                role,
            )
            access.check_size(client, len(request))
        except StatusError as error:
            metrics.requests.add("", error.code.name)
            await context.abort(_CODES[error.code], error.message)
        return await read(request, context)

    return run


def _address(peer: str) -> str:
    """The host of gRPC's `ipv4:127.0.0.1:51234`."""
    return peer.partition(":")[2].rpartition(":")[0] if peer.startswith("ip") else peer


class _Rpc:
    def __init__(self, models: Models, metrics: Metrics, audit: AuditLog | None, tracing: Tracing | None):
        self.models, self.metrics, self.audit, self.tracing = models, metrics, audit, tracing

    async def predict(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            async def call(version: Version) -> Any:
                return await service.predict_proto(version, request, deadline, self.metrics)

            return await self._ask(request, call)

        return await self._counted("Predict", request.model_spec.name, run, context)

    async def classify(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            async def call(version: Version) -> Any:
                check = self.models.options.check_method
                return await service.classify(version, request, deadline, self.metrics, check)

            return await self._ask(request, call)

        return await self._counted("Classify", request.model_spec.name, run, context)

    async def regress(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            async def call(version: Version) -> Any:
                check = self.models.options.check_method
                return await service.regress(version, request, deadline, self.metrics, check)

            return await self._ask(request, call)

        return await self._counted("Regress", request.model_spec.name, run, context)

    async def multi_inference(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            service.check_tasks(request)

            async def call(version: Version) -> Any:
                return await service.multi_inference(version, request, deadline, self.metrics)

            return await self.models.ask(request.tasks[0].model_spec, call)

        name = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._counted("MultiInference", name, run, context)

    async def metadata(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            version_of = self._version
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != "signature_def":
                    raise invalid(f"Metadata field {field} is not supported")
            return service.metadata(version_of(request))

        return await _answer(run, context)

    async def status(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return service.model_status(self.models.states(request.model_spec))

        return await _answer(run, context)

    async def reload(self, request: Any, context: Any) -> Any:
        async def run(deadline: float | None) -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest."
                    " Only ModelConfigList is currently supported"
                )
            if self.audit is not None:
                names = [each.name for each in request.config.model_config_list.config]
                entry = self.audit.note("reload", client=admission.CLIENT.get(), models=names)
                try:
                    await asyncio.wrap_future(entry)
                except NoriaError as error:  # what cannot be recorded is not done
                    raise StatusError(Code.UNAVAILABLE, error.what) from error
            await self.models.reload(request.config)
            response = protos.model_management_pb2.ReloadConfigResponse()
            response.status.error_code = 0
            return response

        return await _answer(run, context)

    def _ask(self, request: Any, call: Callable[[Version], Awaitable[Any]]) -> Awaitable[Any]:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self.models.ask(request.model_spec, call)

    def _version(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self.models.find(request.model_spec)

    async def _counted(
        self, api: str, model: str, run: Callable[[float | None], Awaitable[Any]], context: Any
    ) -> Any:
        started = time.perf_counter()
        rollouts, tracing = self.models.options.rollouts, self.tracing
        trailing: list[tuple[str, str]] = []
        given: dict[str, Any] = {}
        if self.models.log is not None or rollouts is not None or tracing is not None:
            given = dict(context.invocation_metadata() or ())
            REQUEST_ID.set(given.get("x-request-id") or new_id())
            trailing.append(("x-request-id", REQUEST_ID.get()))
            KEY.set(given.get(rollouts.header, "") if rollouts is not None else "")
        if tracing is not None:
            run = _traced(tracing, api, given, run, trailing)
        try:
            response = await run(_deadline(context))
        except StatusError as error:
            self.metrics.requests.add(self.models.label(model), error.code.name)
            _trail(context, trailing)
            await context.abort(_CODES[error.code], error.message)
        _trail(context, trailing)
        self.metrics.latency.observe((time.perf_counter() - started) * 1e6, model, api, "GRPC")
        self.metrics.requests.add(model, "OK")
        return response


def _traced(
    tracing: Tracing,
    api: str,
    given: dict[str, Any],
    run: Callable[[float | None], Awaitable[Any]],
    trailing: list[tuple[str, str]],
) -> Callable[[float | None], Awaitable[Any]]:
    """`run` in a span, which the trailing metadata name in `traceparent`."""
    service = "tensorflow.serving.PredictionService"
    attributes = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": api,
        "noria.request_id": REQUEST_ID.get(),
    }

    async def traced(deadline: float | None) -> Any:
        with tracing.request(f"{service}/{api}", given, attributes) as span:
            trailing.append(("traceparent", tracing.traceparent(span)))
            code = Code.OK
            try:
                return await run(deadline)
            except StatusError as error:
                code = error.code
                if error.http >= 500:
                    tracing.failed(span, error.message)
                raise
            finally:
                span.set_attribute("rpc.grpc.status_code", int(code))

    return traced


def _trail(context: Any, trailing: list[tuple[str, str]]) -> None:
    if trailing:
        context.set_trailing_metadata(tuple(trailing))


async def _answer(run: Callable[[float | None], Awaitable[Any]], context: Any) -> Any:
    try:
        return await run(_deadline(context))
    except StatusError as error:
        await context.abort(_CODES[error.code], error.message)


def _deadline(context: Any) -> float | None:
    """On the clock of `time.monotonic`; None if the client waits without end."""
    remaining = context.time_remaining()
    return None if remaining is None or remaining > 1e9 else time.monotonic() + remaining


def _serialize(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


assert _CODES.keys() == {int(each) for each in Code}
