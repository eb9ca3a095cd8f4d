"""Kubernetes's API for pods (`v1.PodList`), over real HTTP, and the configuration file that names such a server."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Pod = dict[str, Any]


def pod(node: str, made: int = 0, run_id: str = "run-1", **status: Any) -> Pod:
    """A pod of a run, as Argo makes it for a node of the DAG `Stages`."""
    return {
        "metadata": {
            "name": node,
            "namespace": "kubeflow",
            "labels": {"pipeline/runid": run_id},
            "annotations": {"workflows.argoproj.io/node-name": f"rides-x7k2p.root.Stages.{node}"},
            "creationTimestamp": f"2026-01-05T06:00:{made:02d}Z",
        },
        "status": status,
    }


class Kubernetes:
    """Lists and deletes pods, by `running`.

    Attributes:
      pods: what there is.
      deleted: called with a pod that a client has deleted.
      status: HTTP status of each answer.
      asked: paths of the requests.
    """

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self.deleted: Callable[[Pod], None] = lambda pod: None
        self.status = 200
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._found()})

            def do_DELETE(self) -> None:
                name = urlsplit(self.path).path.rpartition("/")[2]
                [gone] = [each for each in owner.pods if each["metadata"]["name"] == name]
                owner.pods.remove(gone)
                owner.deleted(gone)
                self._answer(gone)

            def _found(self) -> list[Pod]:
                owner.asked.append(self.path)
                [selector] = parse_qs(urlsplit(self.path).query)["labelSelector"]
                label, _, value = selector.partition("=")
                return [each for each in owner.pods if each["metadata"]["labels"].get(label) == value]

            def _answer(self, answer: dict[str, Any]) -> None:
                content = json.dumps(answer if owner.status == 200 else {"message": "forbidden"}).encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Kubernetes, Path]]:
    """A server, and the configuration file that names it."""
    made = Kubernetes()
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield made, configuration(folder / "kubeconfig", made.server)
    finally:
        made.server.shutdown()
        made.server.server_close()


def configuration(file: Path, server: ThreadingHTTPServer) -> Path:
    """Writes the file that names a server of this machine."""
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file
