"""Metrics and health of an ingester over HTTP: /metrics for Prometheus, /healthz and /readyz."""

import http.server
import threading
import time
from typing import Any

from noria.core.errors import ConfigError
from noria.ingestion.segments.ingester import Ingester

__all__ = ["METRICS", "MonitoringServer"]

# A loop that has not run once in so many seconds is stuck.
STUCK_SECONDS = 120.0
METRICS = {
    "noria_ingest_events_total": "Events that were committed to segments.",
    "noria_ingest_dead_letters_total": "Events that could not be read.",
    "noria_ingest_tombstones_total": "Messages without a value.",
    "noria_ingest_span_rows_total": "Events that were committed to spans.",
    "noria_ingest_late_rows_total": "Late events: in the next version of their span, or in the next span.",
    "noria_ingest_repeated_total": "Events that were skipped, because an earlier one has the same `stream.unique`.",
    "noria_ingest_spans_total": "Spans that were committed, new ones and new versions.",
    "noria_ingest_segments_total": "Segments that were committed.",
    "noria_ingest_fenced_total": "Partitions whose events were read again: another process had stored a position.",
    "noria_ingest_rebalances_total": "How often the group took partitions away.",
    "noria_ingest_lost_total": "Losses that a person accepted.",
    "noria_ingest_lag": "Positions between what is committed and the end, by partition.",
    "noria_ingest_position": "Position at which each partition continues.",
    "noria_ingest_watermark_age_seconds": "Seconds since the watermark; no value while it is not known.",
    "noria_ingest_segment_bytes": "Disk used by segments that are not in spans yet.",
    "noria_ingest_paused": "1 while reading waits for disk.",
    "noria_ingest_span_delay_seconds": "From the commit of an event's segment to that of its span.",
}


class MonitoringServer:
    """Serves an ingester's state while the block runs.

    Args:
      address: `HOST:PORT`, or `:PORT` for all addresses; port 0 takes a free one.
      work: the ingester.

    Raises:
      ConfigError: the address cannot be used, or the package `prometheus-client` is missing.
    """

    def __init__(self, address: str, work: Ingester):
        try:
            import prometheus_client
        except ImportError:
            raise ConfigError(
                "metrics need the package prometheus-client",
                where="--metrics",
                next_step="pip install 'noria[stream]'",
            ) from None
        self._client = prometheus_client
        self.work = work
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise ConfigError(
                f"an address must be HOST:PORT or :PORT, got {address!r}",
                where="--metrics",
                next_step=":9464",
            )
        self.registry = prometheus_client.CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        for name, text in METRICS.items():
            labels = ("partition",) if name in ("noria_ingest_lag", "noria_ingest_position") else ()
            kind: Any = prometheus_client.Counter if name.endswith("_total") else prometheus_client.Gauge
            if name == "noria_ingest_span_delay_seconds":
                kind = prometheus_client.Histogram
            self._metrics[name] = kind(name, text, labels, registry=self.registry)
        try:
            self._server = http.server.ThreadingHTTPServer((host, int(port)), self._handler())
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen at {address}: {error}", where="--metrics", next_step="choose a free port"
            ) from None
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> "MonitoringServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def observe(self, record: dict[str, Any]) -> None:
        """Counts what the ingester tells."""
        event = record["event"]
        if event == "segment":
            self._add(
                events=record["rows"],
                dead_letters=record["dead"],
                tombstones=record["tombstones"],
                segments=1,
            )
        elif event == "spans":
            spans = len(record["spans"]) + len(record["late"])
            self._add(
                span_rows=record["rows"],
                late_rows=record["late_rows"],
                repeated=record["repeated"],
                spans=spans,
            )
            self._metrics["noria_ingest_span_delay_seconds"].observe(max(0.0, record["seconds"]))
        elif event in ("fenced", "lost"):
            self._add(**{event: 1})
        elif event == "rebalance":
            self._add(rebalances=1)

    def metrics(self) -> bytes:
        """The metrics as Prometheus reads them."""
        work = self.work
        for partition, lag in work.lag().items():
            self._metrics["noria_ingest_lag"].labels(partition).set(lag)
        for partition, position in dict(work.state.next).items():
            self._metrics["noria_ingest_position"].labels(partition).set(position)
        mark = work.watermark
        age = float("nan") if mark is None else work.now() - mark
        self._metrics["noria_ingest_watermark_age_seconds"].set(age)
        self._metrics["noria_ingest_segment_bytes"].set(work.pending_bytes)
        self._metrics["noria_ingest_paused"].set(work.paused)
        return self._client.generate_latest(self.registry)

    def healthy(self) -> str | None:
        """None while the loop is running; else what is wrong."""
        still = time.monotonic() - self.work.turned
        return f"the loop has not run for {still:.0f} s" if still > STUCK_SECONDS else None

    def ready(self) -> str | None:
        """None while events are read or could be; else what is wrong."""
        problem = self.healthy() or getattr(self.work.stream, "problem", None)
        if problem is None and not self.work.reading:
            problem = "the stream is not open yet"
        if problem is None and self.work.paused:
            problem = "reading waits: segments take all of `stream.disk_mib`"
        return problem

    def _add(self, **counts: float) -> None:
        for name, count in counts.items():
            self._metrics[f"noria_ingest_{name}_total"].inc(count)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, service.metrics(), service._client.CONTENT_TYPE_LATEST)
                elif path in ("/healthz", "/readyz"):
                    problem = service.healthy() if path == "/healthz" else service.ready()
                    self._answer(
                        200 if problem is None else 503, f"{problem or 'ok'}\n".encode(), "text/plain"
                    )
                else:
                    self._answer(404, b"/metrics, /healthz or /readyz\n", "text/plain")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Probes are not logged."""

        return Handler
