"""TF Serving's REST API as an ASGI application, with what it lacks: `/ready`, `/live` and an OpenAPI description.

Paths and messages are those of http_rest_api_util.cc. Errors are JSON with an HTTP status, also for a path that is not
understood; only outside of `/v1/` there is a page that says 404.
"""

import asyncio
import functools
import inspect
import math
import re
import time
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf import json_format

from noria.serving import access as admission
from noria.serving import admin, json_request, json_response, json_text, service, signatures
from noria.serving.access import Access, Call, Client
from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.models import Models
from noria.serving.openapi import description
from noria.serving.prediction_log import REQUEST_ID, new_id
from noria.serving.prometheus import Metrics
from noria.serving.protos import classification_pb2, model_pb2, regression_pb2
from noria.serving.rollouts.traffic import KEY
from noria.serving.tracing import Tracing
from noria.serving.version import Version

PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.I | re.A,
)
STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.I | re.A
)
CERTIFICATE = "noria.certificate"  # the key of a client's common name in the ASGI scope
NOT_FOUND = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
LARGE = 1 << 16  # bytes
OPEN = ("/live", "/ready")  # to everybody: an orchestrator has no token
JSON, TEXT, PAGE = b"application/json", b"text/plain", b"text/html"

# The option that prints fields with their default was renamed in protobuf 5.
_PRINT_ALL = (
    "always_print_fields_with_no_presence"
    if "always_print_fields_with_no_presence" in inspect.signature(json_format.MessageToJson).parameters
    else "including_default_value_fields"
)


class Rest:
    """The application.

    Args:
      models: what it serves.
      timeout: seconds after which a request is given up.
      metrics_path: where Prometheus reads; None for nowhere.
      cors: whether browsers may call from other origins.
      max_body: bytes of a body, unpacked.
      access: who may ask; None for everybody.
      tracing: where spans go; None for no traces.
    """

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        timeout: float = 30.0,
        metrics_path: str | None = None,
        cors: bool = False,
        max_body: int = 1 << 30,
        access: Access | None = None,
        tracing: Tracing | None = None,
    ):
        self.access, self.tracing = access, tracing
        self.models, self.metrics, self.timeout = models, metrics, timeout
        self.metrics_path, self.cors, self.max_body = metrics_path, cors, max_body
        rollouts = models.options.rollouts
        self._key_header = rollouts.header.encode() if rollouts is not None else b""
        self._verbs: dict[str, Callable[..., Any]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if scope["query_string"]:
            path += f"?{scope['query_string'].decode('latin-1')}"
        request_id = _header(scope, b"x-request-id") or new_id().encode()
        more: list[tuple[bytes, bytes]] = []
        if path[:4].lower() == "/v1/":
            REQUEST_ID.set(request_id.decode("latin-1"))
            if self._key_header:
                KEY.set(_header(scope, self._key_header).decode("latin-1"))
            kind = JSON
            if self.tracing is None:
                status, body = await self._api(scope, receive, path, more)
            else:
                status, body = await self._traced(self.tracing, scope, receive, path, more)
        elif path.startswith("/admin/") and self.models.options.rollouts is not None:
            kind = JSON
            status, body = await self._admin(scope, receive, path, more)
        else:
            status, kind, body = await self._page(scope, path, more)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more]
        headers.append((b"x-request-id", request_id))
        if self.cors:
            headers += [
                (b"access-control-allow-origin", b"*"),
                (b"access-control-allow-methods", b"POST, GET"),
                (b"access-control-allow-headers", b"Content-Type"),
            ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _traced(
        self, tracing: Tracing, scope: Any, receive: Any, path: str, more: list[tuple[bytes, bytes]]
    ) -> tuple[int, bytes]:
        """`_api` in a span. The answer's `traceparent` names it."""
        method, verb = scope["method"], PREDICTION.fullmatch(path)
        route = "/v1/models/{model}" + (f":{verb[4].lower()}" if verb is not None else "")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "url.path": path,
            "noria.request_id": REQUEST_ID.get(),
        }
        with tracing.request(f"{method} {route}", headers, attributes) as span:
            more.append((b"traceparent", tracing.traceparent(span).encode()))
            status, body = await self._api(scope, receive, path, more)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                tracing.failed(span, body.decode("utf-8", "replace")[:1000])
            return status, body

    async def _api(
        self, scope: Any, receive: Any, path: str, more: list[tuple[bytes, bytes]]
    ) -> tuple[int, bytes]:
        started = time.perf_counter()
        method: str = scope["method"]
        name = verb = ""
        try:
            limit = self.max_body
            if self.access is not None and not (
                self.cors and method == "OPTIONS"
            ):  # a preflight has no token
                client = await self._admit(scope, path, admission.PREDICT)
                limit = min(limit, client.body_bytes or limit)
            text = await self._body(scope, receive, limit)
            if method == "OPTIONS":
                if not _header(scope, b"origin").startswith((b"http://", b"https://")):
                    raise StatusError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
                return 200, b""
            spec, verb = _target(method, path)
            name = spec.name
            if method == "GET":
                answer = self._status(spec, verb)
                verb = ""
            elif verb not in self._verbs:
                raise invalid(f"Malformed request: {method} {path}")
            else:
                answer = await self._verbs[verb](spec, text, time.monotonic() + self.timeout)
            self.metrics.latency.observe((time.perf_counter() - started) * 1e6, name, verb, "REST")
            self.metrics.requests.add(name, "OK")
            return 200, answer
        except StatusError as error:
            self.metrics.requests.add(self.models.label(name), error.code.name)
            more += _headers(error)
            return error.http, json_response.error(error)

    async def _admit(self, scope: Any, path: str, role: str | None) -> Client:
        assert self.access is not None
        authorization, key = _header(scope, b"authorization"), _header(scope, b"x-api-key")
        call = Call(
            authorization.decode("latin-1"),
            key.decode("latin-1"),
            scope.get(CERTIFICATE, ""),
            (scope.get("client") or ("",))[0],
            f"{scope['method']} {path}",
        )
        return await self.access.admit(call, role)

    async def _page(self, scope: Any, path: str, more: list[tuple[bytes, bytes]]) -> tuple[int, bytes, bytes]:
        public = self.access is None or path in OPEN or self.access.open_metrics and path == self.metrics_path
        if not public:
            try:
                await self._admit(scope, path, None)
            except StatusError as error:
                more += _headers(error)
                return error.http, JSON, json_response.error(error)
        if self.metrics_path is not None and path.startswith("/monitoring"):
            if path == self.metrics_path:
                self.models.gauges()
                return 200, TEXT, self.metrics.page().encode()
            return 400, TEXT, f"Unexpected path: {path}. Should be {self.metrics_path}".encode()
        if path == self.metrics_path:
            self.models.gauges()
            return 200, TEXT, self.metrics.page().encode()
        if path == "/live":
            return 200, TEXT, b"live\n"
        if path == "/ready":
            ready = self.models.ready
            return (200, TEXT, b"ready\n") if ready else (503, TEXT, b"not ready\n")
        if path == "/openapi.json":
            return 200, JSON, description(self.models)
        return 404, PAGE, NOT_FOUND

    async def _admin(
        self, scope: Any, receive: Any, path: str, more: list[tuple[bytes, bytes]]
    ) -> tuple[int, bytes]:
        try:
            if self.access is not None:
                await self._admit(scope, path, admission.ADMIN)
            elif not admin.allowed(scope):
                return 403, b'{"error": "the admin API answers on the machine of the server only"}\n'
            body = await self._body(scope, receive, self.max_body)
        except StatusError as error:
            more += _headers(error)
            return error.http, json_response.error(error)
        return await admin.answer(self.models, scope["method"], path, body)

    async def _body(self, scope: Any, receive: Any, limit: int) -> bytes:
        parts, size = [], 0
        if int(_header(scope, b"content-length") or 0) > limit:
            raise admission.too_large(limit)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise StatusError(Code.CANCELLED, "the client has closed the connection")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise admission.too_large(limit)
            parts.append(part)
            if not message.get("more_body"):
                break
        text = parts[0] if len(parts) == 1 else b"".join(parts)
        return _unpack(text, limit) if _header(scope, b"content-encoding").lower() == b"gzip" else text

    async def _predict(self, spec: Any, text: bytes, deadline: float) -> bytes:
        body = await _parse(text)
        name = json_request.signature_name(body)

        async def call(version: Version) -> bytes:
            signature = signatures.find(version.signatures, name, "json")
            inputs, by_row = json_request.predict_inputs(body, signature)
            outputs = await service.predict(version, signature, inputs, (), deadline, self.metrics)
            return json_response.predictions(outputs, by_row)

        return await self.models.ask(spec, call)

    async def _classify(self, spec: Any, text: bytes, deadline: float) -> bytes:
        request = classification_pb2.ClassificationRequest()
        await self._examples(text, request)
        check = self.models.options.check_method

        async def call(version: Version) -> Any:
            return await service.classify(version, request, deadline, self.metrics, check)

        return json_response.classifications((await self.models.ask(spec, call)).result)

    async def _regress(self, spec: Any, text: bytes, deadline: float) -> bytes:
        request = regression_pb2.RegressionRequest()
        await self._examples(text, request)
        check = self.models.options.check_method

        async def call(version: Version) -> Any:
            return await service.regress(version, request, deadline, self.metrics, check)

        return json_response.regressions((await self.models.ask(spec, call)).result)

    async def _examples(self, text: bytes, request: Any) -> None:
        body = await _parse(text)
        try:
            request.model_spec.signature_name = json_request.signature_name(body)
            json_request.examples_input(body, request.input)
        except UnicodeEncodeError:
            raise invalid("the names of features and signatures must be UTF-8") from None

    def _status(self, spec: Any, part: str) -> bytes:
        if not spec.name:
            raise invalid("Missing model name in request.")
        if part != "metadata":
            return _json(service.model_status(self.models.states(spec))).encode()
        version = self.models.find(spec)
        response = service.metadata(version)
        signature_defs = _json(service.signature_map(version))
        return (
            f'{{\n"model_spec":{_json(response.model_spec)},\n"metadata": {{"signature_def": {signature_defs}}}\n}}\n'
        ).encode()


def _unpack(text: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(text, limit)
    except zlib.error as error:
        raise invalid(f"the body is not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise admission.too_large(limit)
    if not unpacker.eof:
        raise invalid("the body is cut off")
    return unpacked


def _headers(error: StatusError) -> list[tuple[bytes, bytes]]:
    """What HTTP says beside an error's status."""
    if error.code is Code.UNAUTHENTICATED:
        return [(b"www-authenticate", b"Bearer")]
    if error.retry_after:
        return [(b"retry-after", str(math.ceil(error.retry_after)).encode())]
    return []


async def _parse(text: bytes) -> dict[str, Any]:
    """A large body is parsed in a thread: one that only the slow parser reads must not stop the others."""
    return json_text.parse(text) if len(text) < LARGE else await asyncio.to_thread(json_text.parse, text)


@functools.lru_cache(maxsize=256)  # clients ask for the same few paths again and again
def _target(method: str, path: str) -> tuple[Any, str]:
    """The ModelSpec of a path, which must not be changed, and its verb or `metadata`.

    Raises:
      StatusError: nothing is there.
    """
    pattern = {"POST": PREDICTION, "GET": STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern is not None else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    spec = model_pb2.ModelSpec()
    spec.name = unquote_to_bytes(match[1] or "").decode("utf-8", "replace")
    if match[2]:
        if int(match[2]) >= 1 << 63:
            raise invalid(f"Failed to convert version: {match[2]} to numeric.")
        spec.version.value = int(match[2])
    if match[3]:
        spec.version_label = unquote_to_bytes(match[3]).decode("utf-8", "replace")
    return spec, match[4] or ""


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=1, **{_PRINT_ALL: True}
    )


def _header(scope: Any, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return value
    return b""
