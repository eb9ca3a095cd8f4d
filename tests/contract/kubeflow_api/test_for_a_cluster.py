"""The tests of `make test-cluster`, with the test server as the cluster and a small package."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.test_cluster import (  # noqa: F401  pytest runs the tests that are imported here
    first,
    packages,
    test_a_killed_task,
    test_a_run,
    test_a_schedule,
    test_the_server_knows_it,
)
from tests.helpers import kubernetes_api

from .project import frames, write_project
from .server import KubeflowApi


class Cluster(KubeflowApi):
    """Each run that nobody follows has a running Trainer; the run fails when its pod is deleted, as up to 2.16."""

    def __init__(self, kubernetes: kubernetes_api.Kubernetes):
        super().__init__()
        self.script = frames("SUCCEEDED")
        self._kubernetes = kubernetes
        kubernetes.deleted = self._fail

    def _create_run(self, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        made = super()._create_run(ids, query, body)
        trainer = kubernetes_api.pod("Trainer.executor", run_id=made["run_id"], phase="Running")
        self._kubernetes.pods = [trainer]
        return made

    def _fail(self, pod: kubernetes_api.Pod) -> None:
        run_id = pod["metadata"]["labels"]["pipeline/runid"]
        self.scripts[run_id] = frames("FAILED", "FAILED")[-1:]
        self._get_run({"run_id": run_id}, {}, None)


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that the environment names."""
    from kubernetes.config import kube_config

    from noria.pipeline.runners.kubeflow import connection

    folder = tmp_path_factory.mktemp("cluster")
    with (
        kubernetes_api.running(folder) as (kubernetes, file),
        Cluster(kubernetes) as api,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setitem(connection.LEAST, "poll", 0.01)
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        for name, value in {
            "HOME": str(folder),  # kfp looks for its context there
            "NORIA_CLUSTER_PACKAGE": str(write_project(folder)),
            "NORIA_CLUSTER_PROJECT": str(folder),
            "NORIA_KUBEFLOW_HOST": api.host,
            "NORIA_KUBEFLOW_POLL": "0.01",
        }.items():
            patch.setenv(name, value)
        yield api


def test_what_the_server_saw(cluster: Cluster) -> None:
    """The tests above submitted, followed, killed and submitted again, and their schedule is gone."""
    assert [] == cluster.violations
    assert ["FAILED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"] == sorted(run["state"] for run in cluster.runs)
    assert {"create_recurring_run", "disable_recurring_run", "enable_recurring_run"} <= set(cluster.calls)
    assert [] == cluster.recurring
