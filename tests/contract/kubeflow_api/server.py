"""A server that speaks the v2beta1 contract over real HTTP, and holds both sides to it.

Every request and every answer is checked against `schemas.py`; what breaks it is kept in `violations`, which the
tests expect to be empty. What a run does is written beforehand (`script`), as are the faults.
"""

import contextlib
import dataclasses
import email
import email.policy
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import yaml

from . import schemas
from .nodes import EPOCH, OVER, Frame, argo_nodes, native_tasks, said

ROOT = "/apis/v2beta1"
LOGIN = b"<!DOCTYPE html><html><title>Log in</title></html>"


@dataclasses.dataclass
class Fault:
    """What goes wrong, the next `times` times that an operation is called."""

    operation: str
    how: int | str  # an HTTP status; or drop (no answer), cut (half of one), slow, login (a page), redirect
    times: int = 1
    said: str = ""
    after: int = 0  # so many calls go well first


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class KubeflowApi:
    """The server's state. A context manager: inside it listens on a free port."""

    def __init__(self, certificate: tuple[str, str] | None = None, port: int = 0):
        self.token: str | None = None
        self.cookie: str | None = None
        self.multi_user = False
        self.native = False  # after ML Metadata: `tasks` in place of `run_details`
        self.lists_tasks = True  # False: neither form, as of a server that nobody has seen yet
        self.forbidden: set[str] = set()  # namespaces
        self.script: list[Frame] = [Frame("SUCCEEDED")]
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.violations: list[str] = []
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.recurring: list[dict[str, Any]] = []
        self.looks: dict[str, int] = {}
        self.scripts: dict[str, list[Frame]] = {}  # of each run, as `script` was when it began
        self._made = 0
        self._lock = threading.Lock()
        self.now = datetime(2026, 1, 5, 6, tzinfo=timezone.utc)  # a minute later for each thing made
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"

    @property
    def host(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> "KubeflowApi":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, operation: str) -> Fault | None:
        """Takes one of the faults that wait for this operation."""
        with self._lock:
            for fault in self.faults:
                if fault.operation == operation and fault.after > 0:
                    fault.after -= 1
                elif fault.operation == operation and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def check(self, value: Any, schema: dict[str, Any], what: str) -> None:
        """Notes and refuses what breaks the contract."""
        for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
            found = f"{what}: {error.json_path}: {error.message}"
            self.violations.append(found)
            raise Refusal(400, found)

    def answer(self, call: schemas.Call, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        """Does what the call asks for."""
        namespace = query.get("namespace") or (body.get("namespace") if isinstance(body, dict) else None)
        if namespace in self.forbidden:
            raise Refusal(403, f"User is not authorized with reason: cannot act in namespace {namespace}")
        with self._lock:
            return getattr(self, f"_{call.operation}")(ids, query, body)

    def _health(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return {"multi_user": True} if self.multi_user else {}

    def _list_experiments(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return self._page("experiments", self.experiments, query)

    def _create_experiment(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._unique(self.experiments, body["display_name"])
        made = {"experiment_id": self._id(), **body, "created_at": self._time(), "storage_state": "AVAILABLE"}
        self.experiments.append(made)
        return made

    def _list_pipelines(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return self._page("pipelines", self.pipelines, query)

    def _list_versions(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._find(self.pipelines, "pipeline_id", ids["pipeline_id"])
        mine = [each for each in self.versions if each["pipeline_id"] == ids["pipeline_id"]]
        return self._page("pipeline_versions", mine, query)

    def _get_version(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return self._find(self.versions, "pipeline_version_id", ids["pipeline_version_id"])

    def _upload_pipeline(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._unique(self.pipelines, query["name"])
        made = {"pipeline_id": self._id(), "display_name": query["name"], "created_at": self._time()}
        self.pipelines.append(made)
        self._version(made["pipeline_id"], query, body)
        return made

    def _upload_version(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._find(self.pipelines, "pipeline_id", query["pipelineid"])
        self._unique([e for e in self.versions if e["pipeline_id"] == query["pipelineid"]], query["name"])
        return self._version(query["pipelineid"], query, body)

    def _version(self, pipeline_id: str, query: dict[str, str], documents: list[Any]) -> dict[str, Any]:
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        made = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": self._id(),
            "display_name": query["name"],
            **({"description": query["description"]} if "description" in query else {}),
            "created_at": self._time(),
            "pipeline_spec": spec,
        }
        self.versions.append(made)
        return made

    def _list_runs(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return self._page("runs", self.runs, query)

    def _create_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._refers(body)
        made = {
            **body,
            "run_id": self._id(),
            "created_at": self._time(),
            "finished_at": EPOCH,
            "state": "PENDING",
        }
        self.runs.append(made)
        self.scripts[made["run_id"]] = list(self.script)
        return made

    def _get_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        run = self._find(self.runs, "run_id", ids["run_id"])
        look = self.looks.get(run["run_id"], 0)
        self.looks[run["run_id"]] = look + 1
        script = self.scripts[run["run_id"]]
        frame = script[min(look, len(script) - 1)]
        began = datetime.fromisoformat(run["created_at"].replace("Z", "+00:00"))
        run["state"] = frame.state
        if frame.state in OVER:
            run["finished_at"] = said(began + timedelta(seconds=40 * len(frame.tasks) + 10))
        if frame.state == "PENDING" or not self.lists_tasks:
            return run
        if self.native:
            tasks = native_tasks(run["run_id"], began, frame)
            return {
                **run,
                "task_count": len(tasks),
                **({"tasks": tasks} if query.get("view") == "FULL" else {}),
            }
        nodes = argo_nodes(run["run_id"], began, "rides-x7k2p", frame)
        return {**run, "run_details": {"task_details": nodes}}

    def _list_recurring_runs(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        return self._page("recurringRuns", self.recurring, query)

    def _create_recurring_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self._refers(body)
        cron = body["trigger"].get("cron_schedule", {}).get("cron")
        if cron is not None and len(cron.split()) != 6 and not cron.startswith("@"):
            raise Refusal(400, f"Schedule cron is not a supported format: {cron}")
        made = {
            **body,
            "recurring_run_id": self._id(),
            "max_concurrency": str(body["max_concurrency"]),
            "created_at": self._time(),
            "status": "ENABLED" if body["mode"] == "ENABLE" else "DISABLED",
        }
        periodic = body["trigger"].get("periodic_schedule")
        if periodic is not None:
            made["trigger"] = {
                "periodic_schedule": {**periodic, "interval_second": str(periodic["interval_second"])}
            }
        self.recurring.append(made)
        return made

    def _disable_recurring_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        found = self._find(self.recurring, "recurring_run_id", ids["recurring_run_id"])
        found.update(mode="DISABLE", status="DISABLED")
        return {}

    def _enable_recurring_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        found = self._find(self.recurring, "recurring_run_id", ids["recurring_run_id"])
        found.update(mode="ENABLE", status="ENABLED")
        return {}

    def _delete_recurring_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        self.recurring.remove(self._find(self.recurring, "recurring_run_id", ids["recurring_run_id"]))
        return {}

    def _refers(self, body: dict[str, Any]) -> None:
        self._find(self.experiments, "experiment_id", body.get("experiment_id"))
        reference = body.get("pipeline_version_reference")
        if reference is not None:
            self._find(self.versions, "pipeline_version_id", reference["pipeline_version_id"])

    def _page(self, name: str, things: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        """Filtered, sorted and paged, as list_request_util.go does; empty values are omitted."""
        if query.get("filter"):
            wanted = json.loads(query["filter"])
            self.check(wanted, schemas.FILTER, "filter")
            for predicate in wanted["predicates"]:
                assert predicate["operation"] in ("EQUALS", 1)
                value = predicate.get("string_value", predicate.get("stringValue"))
                things = [each for each in things if each[predicate["key"]] == value]
        if query.get("experiment_id"):
            things = [each for each in things if each.get("experiment_id") == query["experiment_id"]]
        if query.get("sort_by"):
            key, _, order = query["sort_by"].partition(" ")
            things = sorted(things, key=lambda each: each[key], reverse=order == "desc")
        begin = int(query.get("page_token") or 0)
        end = begin + min(int(query.get("page_size") or 20), 200)
        answer: dict[str, Any] = {name: things[begin:end], "total_size": len(things)} if things else {}
        if end < len(things):
            answer["next_page_token"] = str(end)
        return answer

    def _find(self, things: list[dict[str, Any]], key: str, value: Any) -> dict[str, Any]:
        for each in things:
            if each[key] == value:
                return each
        raise Refusal(404, f"ResourceNotFoundError: {key} {value} not found")

    def _unique(self, things: list[dict[str, Any]], name: str) -> None:
        if any(each["display_name"] == name for each in things):
            raise Refusal(409, f"Already exist error: the name {name} already exists")

    def _id(self) -> str:
        self._made += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self._made)))

    def _time(self) -> str:
        self.now += timedelta(minutes=1)
        return said(self.now)


class _Handler(BaseHTTPRequestHandler):
    api: KubeflowApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = next(_matching(method, parts.path.removeprefix(ROOT)), None)
        if not parts.path.startswith(ROOT) or found is None:
            self._send(200, LOGIN, "text/html")  # the web interface answers all other paths with its page
            return
        call, ids = found
        self.api.calls.append(call.operation)
        self.api.headers.append(dict(self.headers))
        fault = self.api.fault(call.operation)
        try:
            if fault is not None and not self._go_wrong(fault):
                return
            self._authenticate()
            body = self._read(call, query, content)
            answer = self.api.answer(call, ids, query, body)
            self.api.check(answer, call.answer, f"answer of {call.operation}")
            self._send(200, json.dumps(answer).encode())
        except Refusal as refusal:
            self._refuse(call, refusal)

    def _go_wrong(self, fault: Fault) -> bool:
        """Plays the fault; true if the request is still answered."""
        if isinstance(fault.how, int):
            raise Refusal(fault.how, fault.said)
        if fault.how == "slow":
            self.api.stopping.wait(5)
        if fault.how == "login":
            self._send(200, LOGIN, "text/html; charset=utf-8")
            return False
        if fault.how == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        if fault.how == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"run_id":')
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        return False

    def _authenticate(self) -> None:
        if self.api.token is not None and self.headers.get("Authorization") != f"Bearer {self.api.token}":
            raise Refusal(401, "Request header error: there is no user identity header.")
        if self.api.cookie is not None and self.headers.get("Cookie") != self.api.cookie:
            raise Refusal(401, "Request header error: there is no user identity header.")

    def _read(self, call: schemas.Call, query: dict[str, str], content: bytes) -> Any:
        """The request, checked."""
        what = f"request of {call.operation}"
        self.api.check(
            query,
            schemas.thing(" ".join(call.required), **{name: schemas.TEXT for name in call.query}),
            f"query of {call.operation}",
        )
        body: Any = None
        if call.upload:
            body = self._package(content)
            for document, schema in zip(body, (schemas.SPECIFICATION, schemas.PLATFORM), strict=False):
                self.api.check(document, schema, what)
        elif call.request is not None:
            body = json.loads(content)
            self.api.check(body, call.request, what)
        elif content:
            self.api.check(content.decode(), {"const": ""}, what)
        self.api.requests.append((call.operation, {**query, **(body if isinstance(body, dict) else {})}))
        return body

    def _package(self, content: bytes) -> list[Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + content, policy=email.policy.HTTP)
        files = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        self.api.check(sorted(map(str, files)), {"const": ["uploadfile"]}, "parts of an upload")
        return list(yaml.safe_load_all(files["uploadfile"].get_payload(decode=True)))

    def _refuse(self, call: schemas.Call, refusal: Refusal) -> None:
        if call.upload:
            answer: dict[str, Any] = {"error_message": str(refusal), "error_details": str(refusal)}
            jsonschema.validate(answer, schemas.UPLOAD_ERROR)
        else:
            answer = {"code": refusal.status, "message": str(refusal), "details": []}
            jsonschema.validate(answer, schemas.STATUS)
        self._send(refusal.status, json.dumps(answer).encode())

    def _send(self, status: int, content: bytes, kind: str = "application/json") -> None:
        with contextlib.suppress(OSError):  # a client that has given up
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def _matching(method: str, path: str) -> Iterator[tuple[schemas.Call, dict[str, str]]]:
    for call in schemas.CALLS:
        ids = call.match(method, path)
        if ids is not None:
            yield call, ids
