"""The promises of docs/kubeflow.md on a real cluster: NORIA_KUBEFLOW_HOST and NORIA_CLUSTER_PROJECT name it.

The project is a folder with a section `kubeflow`, whose image is in the cluster and whose volume is prepared
(docs/deploy.md); the example `flights` will do. The tests start real runs on it. No cluster has run them yet.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(4 * 3600)]
LONG = 3600.0


def noria(*arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
    """The object that a command prints with --json, for the project."""
    project = Path(os.environ["NORIA_CLUSTER_PROJECT"])
    command = [sys.executable, "-m", "noria.pipeline", *arguments, "--config", str(project / "noria.yaml")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode in codes, done.stderr
    return json.loads(done.stdout)


def pods(run_id: str, task: str) -> list[Any]:
    """The pods of a task's container that are running."""
    from kubernetes import client, config

    config.load_kube_config()
    found = client.CoreV1Api().list_pod_for_all_namespaces(label_selector=f"pipeline/runid={run_id}").items
    node = "workflows.argoproj.io/node-name"
    mine = [pod for pod in found if f".{task}." in (pod.metadata.annotations or {}).get(node, "")]
    return [pod for pod in mine if pod.status.phase == "Running"]


@pytest.fixture(scope="module")
def first() -> Any:
    """A run on the newest span or the next one, followed to its end."""
    return noria("submit", "--wait-for-running", "3600")


def test_a_run(first: Any) -> None:
    """The package is accepted and runs to its end; each of its tasks is listed."""
    assert "SUCCEEDED" == first["state"]
    assert "SUCCEEDED" == {task["name"]: task["state"] for task in first["tasks"]}["Ingest"]


def test_the_server_knows_it(first: Any) -> None:
    """`noria runs` lists it; the same version is not uploaded again."""
    assert first["run_id"] in [run["run_id"] for run in noria("runs")["runs"]]
    again = noria("submit", "--wait-for-running", "3600")
    assert (first["version"], False) == (again["version"], again["uploaded"])


def test_a_killed_task(first: Any) -> None:
    """A Trainer whose pod is deleted: the run ends, is retried or reported as failed, and the next one succeeds."""
    from kubernetes import client

    started = noria("ci", "--action", "submit", "--force", "--no-wait")
    end = time.monotonic() + LONG
    while not (found := pods(started["run_id"], "Trainer")):
        assert time.monotonic() < end, "the Trainer does not start"
        time.sleep(2)
    client.CoreV1Api().delete_namespaced_pod(found[0].metadata.name, found[0].metadata.namespace)
    noria("submit", "--wait-for-running", str(LONG))
    (run,) = [run for run in noria("runs")["runs"] if run["run_id"] == started["run_id"]]
    assert run["state"] in ("SUCCEEDED", "FAILED")


def test_a_schedule() -> None:
    """A schedule is created, paused, resumed and deleted."""
    name = f"noria-test-{os.getpid()}"
    noria("schedule", "create", name, "--every", "7d")
    try:
        assert name in [each["name"] for each in noria("schedule", "list")["schedules"]]
        noria("schedule", "pause", name)
        noria("schedule", "resume", name)
    finally:
        noria("schedule", "delete", name)
    assert name not in [each["name"] for each in noria("schedule", "list")["schedules"]]
