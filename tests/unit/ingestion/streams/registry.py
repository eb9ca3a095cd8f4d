"""A stand-in for Confluent's schema registry, read off its REST API: schemas by number and by subject, Basic auth."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

USER = "reader:secret"


class Schemas:
    """What it has, and what it was asked for.

    Attributes:
      url: where it answers.
      schemas: answer by path.
      asked: paths in order.
      status: what it answers instead, where it is not 200.
    """

    def __init__(self) -> None:
        self.url = ""
        self.schemas: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.status = 200

    def add(
        self, number: int, schema: Any, kind: str = "AVRO", references: tuple[dict[str, Any], ...] = ()
    ) -> None:
        """Registers a schema: JSON of Avro, or a FileDescriptorProto."""
        found = {"schema": _text(schema)}
        if kind != "AVRO":  # Avro is the default, and is not named
            found["schemaType"] = kind
        self.schemas[f"/schemas/ids/{number}"] = {
            **found,
            **({"references": list(references)} if references else {}),
        }

    def add_subject(self, subject: str, version: int, schema: Any, kind: str = "AVRO") -> dict[str, Any]:
        """Registers a version of a subject; returns what refers to it."""
        found = {"subject": subject, "version": version, "id": 1000 + version, "schema": _text(schema)}
        if kind != "AVRO":
            found["schemaType"] = kind
        self.schemas[f"/subjects/{subject}/versions/{version}"] = found
        return {"name": subject, "subject": subject, "version": version}


def _text(schema: Any) -> str:
    if hasattr(schema, "SerializeToString"):
        return base64.b64encode(schema.SerializeToString()).decode()
    return json.dumps(schema)


@contextmanager
def serving() -> Iterator[Schemas]:
    """A registry that answers on a port of this machine."""
    schemas = Schemas()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            schemas.asked.append(path)
            found = schemas.schemas.get(path)
            wanted = "Basic " + base64.b64encode(USER.encode()).decode()
            if self.headers.get("Authorization") != wanted:
                status, body = 401, {"error_code": 401, "message": "Unauthorized"}
            elif schemas.status != 200:
                status, body = schemas.status, {"error_code": 50001, "message": "it is not well"}
            elif found is None:
                status, body = 404, {"error_code": 40403, "message": "Schema not found"}
            else:
                status, body = 200, found
                if found.get("schemaType") == "PROTOBUF" and query != "format=serialized":
                    body = {**found, "schema": 'syntax = "proto3";'}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    schemas.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield schemas
    finally:
        server.shutdown()
        server.server_close()
