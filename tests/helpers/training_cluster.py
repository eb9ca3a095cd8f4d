"""Kubernetes's API for TrainJobs, and what the controllers make of one: each pod is a process of this machine."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import ROOT, kubernetes_api

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"


class TrainingCluster:
    """The server, by `running`.

    Attributes:
      jobs: name -> the TrainJob as it was created.
      pods: name -> its processes.
      log: what the pods wrote.
      refusal: HTTP status with which a new job is refused.
    """

    def __init__(self, folder: Path):
        self.jobs: dict[str, Any] = {}
        self.pods: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.log = folder / "pods.log"
        self.refusal: int | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != JOBS or owner.refusal is not None:
                    return self._answer(owner.refusal or 404, {"kind": "Status"})
                owner.create(body)
                self._answer(201, body)

            def do_GET(self) -> None:
                self._answer(200, owner.read(self.path.removeprefix(f"{JOBS}/")))

            def do_DELETE(self) -> None:
                owner.delete(self.path.removeprefix(f"{JOBS}/"))
                self._answer(200, {"kind": "Status", "status": "Success"})

            def _answer(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def create(self, job: dict[str, Any]) -> None:
        """Starts the pods. Kubernetes gives each its index; TF_CONFIG replaces the names of the hosts."""
        name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
        ports = []
        for _ in range(trainer["numNodes"]):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(f"127.0.0.1:{probe.getsockname()[1]}")
        self.jobs[name], self.pods[name] = job, []
        _, *command = [*trainer["command"], *trainer["args"]]
        with self.log.open("ab") as log:
            for index in range(trainer["numNodes"]):
                task = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
                env = {each["name"]: each["value"] for each in trainer["env"]}
                env |= {"JOB_COMPLETION_INDEX": str(index), "TF_CONFIG": json.dumps(task)}
                self.pods[name].append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env={**os.environ, **env},
                        stdout=log,
                        stderr=log,
                    )
                )

    def read(self, name: str) -> dict[str, Any]:
        """The job with its status: a pod that fails ends it (`backoffLimit: 0` of the TrainingRuntime)."""
        codes = [pod.poll() for pod in self.pods[name]]
        conditions = []
        if any(codes):
            self._kill(name)
            message = "jobset failed due to one or more job failures"
            conditions = [{"type": "Failed", "status": "True", "reason": "FailedJobs", "message": message}]
        elif codes == [0] * len(codes):
            conditions = [{"type": "Complete", "status": "True", "reason": "AllJobsCompleted"}]
        return {**self.jobs[name], "status": {"conditions": conditions}}

    def delete(self, name: str) -> None:
        """Deletes a job with its pods."""
        self._kill(name)
        del self.jobs[name]

    def _kill(self, name: str) -> None:
        for pod in self.pods[name]:
            pod.kill()
            pod.wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[TrainingCluster, Path]]:
    """A cluster, and the configuration file that names it."""
    made = TrainingCluster(folder)
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    file = kubernetes_api.configuration(folder / "kubeconfig", made.server)
    try:
        yield made, file
    finally:
        made.server.shutdown()
        made.server.server_close()
        for name in list(made.pods):
            made._kill(name)
