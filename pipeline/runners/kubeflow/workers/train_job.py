"""The TrainJob: Kubeflow Trainer starts its pods, which find each other by name.

Read from kubeflow/trainer 2.0 to 2.3 and its main branch of August 2026 (`pkg/apis/trainer/v1alpha1`,
`pkg/runtime/framework/plugins`). Trainer has no plug-in for TensorFlow: `worker.py` makes TF_CONFIG from the job's name
and the pod's index. Volume and user of the pods are in the TrainingRuntime that the job names (deploy/training).
"""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.core.errors import ClusterError
from noria.pipeline.config.kubeflow import Kubeflow
from noria.pipeline.runners.kubeflow.compiled_tasks import settings_of

# The environment variable of the task `Trainer` that has the job.
VARIABLE = "NORIA_KUBEFLOW_TRAIN_JOB"
API = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "plural": "trainjobs"}
ANSWER_SECONDS = 30
POLL = 5.0  # seconds between two looks at the job
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def manifest(section: Kubeflow, home: str) -> dict[str, Any]:
    """The job as it is compiled into the task `Trainer`, without a name.

    Args:
      section: with `workers`.
      home: the home of the tasks.
    """
    workers = section.workers
    assert workers is not None
    limits = {"cpu": workers.cpu, "memory": workers.memory}
    if workers.gpu:
        limits[workers.gpu.resource] = str(workers.gpu.count)
    limits = {name: value for name, value in limits.items() if value}
    env: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in (settings_of(section, "Trainer").env or {}).items()
    ]
    for reference, sources in (("secretKeyRef", section.secrets), ("configMapKeyRef", section.config_maps)):
        env += [
            {"name": variable, "valueFrom": {reference: {"name": source.name, "key": key}}}
            for source in sources
            for key, variable in source.env.items()
        ]
    command = ["python", "-m", "noria.pipeline.runners.kubeflow.workers.worker"]
    arguments = ["--home", home, "--project", section.project, "--workers", str(workers.count)]
    return {
        "apiVersion": f"{API['group']}/{API['version']}",
        "kind": "TrainJob",
        "metadata": {},
        "spec": {
            "runtimeRef": {"apiGroup": API["group"], "kind": "TrainingRuntime", "name": workers.runtime},
            "trainer": {
                "image": section.image,
                "command": command,
                "args": arguments,
                "env": env,
                "numNodes": workers.count,
                **({"resourcesPerNode": {"requests": limits, "limits": limits}} if limits else {}),
            },
        },
    }


def declare(spec: dict[str, Any], section: Kubeflow, home: str) -> None:
    """Gives the compiled task `Trainer` its job, in place, if the section has workers."""
    if section.workers:
        container = spec["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
        job = json.dumps(manifest(section, home), sort_keys=True)
        container.setdefault("env", []).append({"name": VARIABLE, "value": job})


def named(job: dict[str, Any]) -> dict[str, Any]:
    """The job with a new name, owned by this task's pod: Kubernetes deletes it with the pod."""
    name = f"noria-{uuid.uuid4().hex[:12]}"
    metadata: dict[str, Any] = {"name": name}
    pod = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    if all(pod):
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod[0], "uid": pod[1]}]
    trainer = job["spec"]["trainer"]
    trainer = {**trainer, "args": [*trainer["args"], "--job", name]}
    return {**job, "metadata": metadata, "spec": {**job["spec"], "trainer": trainer}}


def run(job: dict[str, Any]) -> str | None:
    """Creates a job and waits for its end; None, or why it failed. A job that failed stays, for its pods' logs.

    Raises:
      ClusterError: the job is refused.
    """
    from kubernetes import client, config

    try:
        config.load_incluster_config()
    except config.ConfigException:
        config.load_kube_config()
    api = client.CustomObjectsApi()
    namespace = _NAMESPACE.read_text(encoding="utf-8").strip() if _NAMESPACE.exists() else "default"
    there: dict[str, Any] = {**API, "namespace": namespace, "_request_timeout": ANSWER_SECONDS}
    name = job["metadata"]["name"]
    with _explained(name, namespace):
        api.create_namespaced_custom_object(**there, body=job)
    failed = None
    try:
        with _explained(name, namespace):
            while (end := _end(api.get_namespaced_custom_object(**there, name=name))) is None:
                time.sleep(POLL)
        failed = end or None
    finally:
        if failed is None:
            with contextlib.suppress(Exception):  # its owner's end deletes it too
                api.delete_namespaced_custom_object(**there, name=name)
    return failed


def _end(job: dict[str, Any]) -> str | None:
    """Why a job failed, '' for one that is complete, None for one that runs."""
    conditions = {
        each["type"]: each for each in job.get("status", {}).get("conditions", []) if each["status"] == "True"
    }
    if "Failed" in conditions:
        return f"{conditions['Failed'].get('reason', 'Failed')}: {conditions['Failed'].get('message', '')}"
    return "" if "Complete" in conditions else None


@contextlib.contextmanager
def _explained(name: str, namespace: str) -> Iterator[None]:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ApiException, HTTPError) as error:
        reason = f"{error.status} {error.reason}" if isinstance(error, ApiException) else str(error)
        raise ClusterError(
            f"Kubernetes refuses the TrainJob, or does not answer: {reason}",
            where=f"TrainJob {name} in namespace {namespace}",
            next_step="Kubeflow Trainer must be installed, and the runs' service account must have the right to "
            "create, get and delete TrainJobs (deploy/base)",
        ) from error
