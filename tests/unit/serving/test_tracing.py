"""Traces of a real server, as a collector gets them: OTLP over HTTP."""

import gzip
import http.server
import json
import threading
import urllib.request

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider

from noria.serving import client, tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = CALLER.split("-")[1:3]


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what is sent to `/v1/traces`."""

    received: list[dict] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert "/v1/traces" == self.path
        self.received.extend(json.loads(body)["resourceSpans"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def traces(small_models, serving):
    """The spans of some requests by name, and the `traceparent` of REST's answer and of the client's two spans."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{collector.server_port}"
        with serving(str(small_models / "half_plus_two"), "--name", "m", "--traces", url) as server:
            rest = f"http://127.0.0.1:{server.rest}"
            body = b'{"instances": [2.0]}'
            request = urllib.request.Request(f"{rest}/v1/models/m:predict", body, {"traceparent": CALLER})
            with urllib.request.urlopen(request) as answer:
                answered = answer.headers["traceparent"]
            server.predict({"instances": "x"}, "/v1/models/m")
            parents = []
            for address in (rest, f"grpc://127.0.0.1:{server.grpc}"):
                with TracerProvider().get_tracer("caller").start_as_current_span("caller") as span:
                    client.connect(address, "m").predict({"x": [2.0]})
                    parents.append(f"{span.get_span_context().span_id:016x}")
        collector.shutdown()
    spans = [span for each in Collector.received for scope in each["scopeSpans"] for span in scope["spans"]]
    return spans, answered, parents


def attributes(span: dict) -> dict:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_a_request_is_a_span_below_its_callers(traces) -> None:
    """The span is in the caller's trace; the answer's `traceparent` names it, and the model's span is below it."""
    spans, answered, _ = traces
    (served,) = [each for each in spans if each.get("parentSpanId") == SPAN]
    assert f"00-{TRACE}-{served['spanId']}-01" == answered
    assert (TRACE, "POST /v1/models/{model}:predict") == (served["traceId"], served["name"])
    assert "200" == str(attributes(served)["http.response.status_code"])
    (model,) = [each for each in spans if each.get("parentSpanId") == served["spanId"]]
    found = attributes(model)
    assert ("m", "123", "champion") == tuple(
        str(found[f"noria.{key}"]) for key in ("model", "version", "arm")
    )
    assert served["startTimeUnixNano"] <= model["startTimeUnixNano"]


def test_a_clients_span_is_the_parent_by_both_protocols(traces) -> None:
    """The Python client sends the caller's span where the program uses OpenTelemetry."""
    spans, _, (rest, grpc) = traces
    assert "POST /v1/models/{model}:predict" in {
        each["name"] for each in spans if each.get("parentSpanId") == rest
    }
    (served,) = [each for each in spans if each.get("parentSpanId") == grpc]
    assert "tensorflow.serving.PredictionService/Predict" == served["name"]
    assert "0" == str(attributes(served)["rpc.grpc.status_code"])


def test_a_bad_request_is_no_fault_of_the_server(traces) -> None:
    """400 is in the attributes, and the span is not an error; all are of the service `noria-serving`."""
    spans, *_ = traces
    (refused,) = [each for each in spans if str(attributes(each).get("http.response.status_code")) == "400"]
    assert not refused.get("status", {}).get("code")
    names = {attributes(each["resource"])["service.name"] for each in Collector.received}
    assert {tracing.NAME} == names


def test_without_a_span_the_client_adds_no_header() -> None:
    """Outside of a trace nothing is sent."""
    assert propagate is not None and not trace.get_current_span().get_span_context().is_valid
    assert {} == client._trace()
