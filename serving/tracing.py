"""Traces by OpenTelemetry, sent to a collector by OTLP over HTTP (the extra `tracing`).

A request has a span, the child of the one that its `traceparent` (W3C Trace Context) names, and below it one for the
time in the queue and in the model. Without a collector nothing is imported and nothing is done.
"""

import contextlib
import contextvars
import os
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, TypeVar

from noria.core.errors import ConfigError

PATH = "/v1/traces"
NAME = "noria-serving"  # `service.name`, unless OTEL_SERVICE_NAME has another one
Result = TypeVar("Result")

# The tracing of the request that this task answers.
ACTIVE: contextvars.ContextVar["Tracing | None"] = contextvars.ContextVar("tracing", default=None)


class Tracing:
    """Sends spans in batches, from a thread; what the collector does not take is lost.

    OpenTelemetry's own environment variables hold as well: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS and so on.

    Args:
      endpoint: the collector, as `http://localhost:4318`.

    Raises:
      ConfigError: the packages are not installed.
    """

    def __init__(self, endpoint: str):
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation import tracecontext
        except ImportError as error:
            raise ConfigError(
                f"traces need packages that are not installed ({error.name})",
                next_step='pip install "noria[tracing]"',
            ) from error
        name = os.environ.get("OTEL_SERVICE_NAME") or NAME
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(NAME)
        self._trace, self._propagator = trace, tracecontext.TraceContextTextMapPropagator()

    def close(self) -> None:
        """Sends what waits."""
        self._provider.shutdown()

    @contextlib.contextmanager
    def request(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]) -> Iterator[Any]:
        """The span of a request; below it are those of `timed`.

        Args:
          name: what is asked, without what differs from request to request.
          headers: those of the request, by lower-case name.
          attributes: by OpenTelemetry's semantic conventions.
        """
        token = ACTIVE.set(self)
        try:
            with self._tracer.start_as_current_span(
                name,
                self._propagator.extract(headers),
                self._trace.SpanKind.SERVER,
                attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                yield span
        finally:
            ACTIVE.reset(token)

    def failed(self, span: Any, message: str) -> None:
        """Marks the span of a request that the server did not answer well."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, message))

    def traceparent(self, span: Any) -> str:
        """The header that names a span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return carrier["traceparent"]

    def span(self, name: str, attributes: Mapping[str, Any]) -> Any:
        """A span below the present one, until the block ends."""
        return self._tracer.start_as_current_span(name, attributes=attributes)


def timed(work: Awaitable[Result], model: str, version: int, arm: str) -> Awaitable[Result]:
    """The result of a version's work; the time in its queue and its process is a span below that of the request."""
    tracing = ACTIVE.get()
    return work if tracing is None else _timed(tracing, work, model, version, arm)


async def _timed(tracing: Tracing, work: Awaitable[Result], model: str, version: int, arm: str) -> Result:
    attributes = {"noria.model": model, "noria.version": version, "noria.arm": arm}
    with tracing.span("model", attributes):
        return await work
