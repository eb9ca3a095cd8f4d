"""The promises of docs/kubeflow.md on a real cluster: NORIA_KUBEFLOW_HOST and NORIA_CLUSTER_PROJECT name it.

The project is a folder with a section `kubeflow`, whose image is in the cluster and whose volume is prepared
(docs/deploy.md); the example `flights` will do. The tests start real runs on it, in the order of this file. No cluster
has run them yet; `tests/contract/kubeflow_api/test_for_a_cluster.py` runs them against the test server.
"""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from noria.pipeline.cli import app

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(4 * 3600)]
LONG = 3600.0
OVER = ("SUCCEEDED", "FAILED", "ERROR", "CANCELED", "SKIPPED")


def command(*arguments: str, code: int = 0) -> Result:
    """A command of the project; its exit code must be as expected."""
    done = CliRunner().invoke(app.app, [*arguments, "--config", os.environ["NORIA_CLUSTER_PROJECT"]])
    assert code == done.exit_code, done.output
    return done


def noria(*arguments: str, code: int = 0) -> Any:
    """The object that a command prints with --json."""
    return json.loads(command(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The compiled package, and one whose runs are cold and train again where no span waits.

    NORIA_CLUSTER_PACKAGE names a file in place of both.
    """
    if given := os.environ.get("NORIA_CLUSTER_PACKAGE"):
        return {"auto": given, "cold": given}
    from noria.pipeline.cli.compile import compile_quietly
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow.image import with_image

    config = with_image(load(Path(os.environ["NORIA_CLUSTER_PROJECT"])), None)
    folder = tmp_path_factory.mktemp("packages")
    return {
        name: str(compile_quietly(config, folder / f"{name}.yaml", cold=name == "cold"))
        for name in ("auto", "cold")
    }


def submit(package: str) -> Any:
    """A run, started after the end of another one of the project, and followed to its end."""
    return noria("submit", "--package", package, "--wait-for-running", str(LONG))


@pytest.fixture(scope="module")
def first(packages: dict[str, str]) -> Any:
    """A run on the oldest span that waits, if there is one."""
    return submit(packages["auto"])


def states(run: Any) -> dict[str, str]:
    """The tasks of a run that was followed, by how they ended."""
    return {task["name"]: task["state"] for task in run["tasks"]}


def pods(run_id: str, task: str) -> list[Any]:
    """The pods of a task's container that are running."""
    from kubernetes import client, config

    config.load_kube_config()
    found = client.CoreV1Api().list_pod_for_all_namespaces(label_selector=f"pipeline/runid={run_id}").items
    node = "workflows.argoproj.io/node-name"
    name = re.compile(rf"\.{task}(\(\d+\))?\.")  # 2.17's manifests number the attempts of a DAG, too
    mine = [pod for pod in found if name.search((pod.metadata.annotations or {}).get(node, ""))]
    return [pod for pod in mine if pod.status.phase == "Running"]


def test_a_run(first: Any) -> None:
    """The package is accepted and runs to its end; its tasks are listed, and none of them failed."""
    assert ("SUCCEEDED", []) == (first["state"], first["failed"])
    assert "SUCCEEDED" in states(first).values()


def test_the_server_knows_it(first: Any, packages: dict[str, str]) -> None:
    """`noria runs` lists it; the same version is not uploaded again."""
    assert first["run_id"] in [run["run_id"] for run in noria("runs")["runs"]]
    again = submit(packages["auto"])
    assert (first["version"], False) == (again["version"], again["uploaded"])


def test_a_killed_task(first: Any, packages: dict[str, str]) -> None:
    """A Trainer whose pod is deleted: its run is retried, or fails and names it; the next run trains to its end."""
    from kubernetes import client

    pods(first["run_id"], "Trainer")  # before anything is started: this needs a configuration of Kubernetes
    started = noria("submit", "--package", packages["cold"], "--no-wait")["run_id"]
    end = time.monotonic() + LONG
    while not (found := pods(started, "Trainer")):
        assert time.monotonic() < end, "the Trainer does not start"
        time.sleep(2)
    client.CoreV1Api().delete_namespaced_pod(found[0].metadata.name, found[0].metadata.namespace)
    while True:
        (run,) = [each for each in noria("runs")["runs"] if each["run_id"] == started]
        if run["state"] in OVER:
            break
        assert time.monotonic() < end, "the run does not end"
        time.sleep(2)
    assert run["state"] in ("SUCCEEDED", "FAILED")
    if run["state"] == "FAILED":
        assert "failed Trainer" in command("runs").stderr
    assert "SUCCEEDED" == states(submit(packages["cold"]))["Trainer"]


def test_a_schedule(first: Any, packages: dict[str, str]) -> None:
    """A schedule is created, paused, resumed and deleted."""
    name = f"noria-test-{os.getpid()}"

    def listed() -> list[bool]:
        return [each["enabled"] for each in noria("schedule", "list")["schedules"] if each["name"] == name]

    noria("schedule", "create", name, "--every", "7d", "--package", packages["auto"])
    try:
        assert [True] == listed()
        noria("schedule", "pause", name)
        assert [False] == listed()
        noria("schedule", "resume", name)
        assert [True] == listed()
    finally:
        noria("schedule", "delete", name)
    assert [] == listed()
