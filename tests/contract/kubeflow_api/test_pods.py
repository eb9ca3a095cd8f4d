"""Why a pod failed, from a server that answers as Kubernetes's API does (`v1.PodList`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.pipeline.runners.kubeflow import pods
from tests.helpers.kubernetes_api import Kubernetes, pod, running


def ended(code: int, **terminated: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, **terminated}}
    main = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Failed", "containerStatuses": [main]}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
PODS = [
    pod("Trainer(0).executor(0)", 1, **ended(1, reason="Error", message="error no rows\n")),
    pod("Trainer(0).executor(1)", 2, **ended(137, reason="OOMKilled")),
    pod("Evaluator.executor", 3, phase="Pending", conditions=[UNSCHEDULABLE]),
    pod("Pusher-driver(0)", 4, phase="Failed", reason="Evicted", message="low on disk"),
    pod("Ingest.executor", 0, **ended(0, reason="Completed")),
]


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """The server, which the configuration names."""
    from kubernetes.config import kube_config

    with running(tmp_path) as (made, file):
        made.pods = PODS
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        yield made


def test_causes(kubernetes: Kubernetes) -> None:
    """The newest pod of a task counts: killed for memory, not scheduled, its driver's evicted; a task that ended well
    has none. Argo numbers the attempts of pods, and on 2.17's manifests those of DAGs."""
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
