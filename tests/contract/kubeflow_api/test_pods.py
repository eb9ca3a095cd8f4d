"""Why a pod failed, from a server that answers as Kubernetes's API does (`v1.PodList`)."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from noria.pipeline.runners.kubeflow import pods


def pod(node: str, made: int, **status: Any) -> dict[str, Any]:
    annotations = {"workflows.argoproj.io/node-name": f"rides-x7k2p.root.{node}"}
    made_at = f"2026-01-05T06:00:{made:02d}Z"
    return {
        "metadata": {"name": node, "annotations": annotations, "creationTimestamp": made_at},
        "status": status,
    }


def ended(code: int, **terminated: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, **terminated}}
    main = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Failed", "containerStatuses": [main]}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
PODS = [
    pod("Trainer.executor(0)", 1, **ended(1, reason="Error", message="error no rows\n")),
    pod("Trainer.executor(1)", 2, **ended(137, reason="OOMKilled")),
    pod("Evaluator.executor", 3, phase="Pending", conditions=[UNSCHEDULABLE]),
    pod("Pusher.executor", 4, phase="Failed", reason="Evicted", message="low on disk"),
    pod("Ingest.executor", 0, **ended(0, reason="Completed")),
]


class Kubernetes:
    """Answers the list of pods, or a status."""

    def __init__(self) -> None:
        self.status, self.asked = 200, [""]
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                answer = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": PODS}
                content = json.dumps(answer if owner.status == 200 else {"message": "forbidden"}).encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """The server, and a configuration that names it."""
    from kubernetes.config import kube_config

    made = Kubernetes()
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    cluster = {"server": f"http://127.0.0.1:{made.server.server_address[1]}"}
    file = tmp_path / "config"
    context = {"cluster": "c", "user": "u"}
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": context}],
    }
    file.write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_causes(kubernetes: Kubernetes) -> None:
    """The newest pod of a task counts: killed for memory, not scheduled, evicted; a task that ended well has none."""
    found = pods.causes("run-1", "team", ["Trainer", "Evaluator", "Pusher", "Ingest"])
    assert {
        "Trainer": "OOMKilled (exit code 137)",
        "Evaluator": "Unschedulable: 0/3 nodes",
        "Pusher": "Evicted: low on disk",
    } == found
    assert "/namespaces/team/pods?labelSelector=pipeline%2Frunid%3Drun-1" in kubernetes.asked[-1]


def test_no_right_no_cause(kubernetes: Kubernetes) -> None:
    """A user who may not list pods gets no cause, and no error."""
    kubernetes.status = 403
    assert {} == pods.causes("run-1", "team", ["Trainer"])
