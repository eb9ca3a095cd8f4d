"""Why a task's pod failed, from Kubernetes itself, where this machine has access to it.

Kubeflow's API does not say it, and a container that was killed for its memory leaves no message anywhere else. Rights
to list pods are optional: without them, or without a Kubernetes configuration, there are no causes.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

SECONDS = 5.0  # for the one request
_NODE = (
    "workflows.argoproj.io/node-name"  # Argo's name of the node: `rides-x7k2p.root.Stages.Trainer.executor`
)
# After a task's name: that of Kubeflow's driver, and the number of an attempt, which each DAG has on 2.17's manifests.
_AFTER = re.compile(r"(-driver)?(\(\d+\))?$")


def causes(run_id: str, namespace: str, tasks: Iterable[str]) -> dict[str, str]:
    """The cause of each task whose newest pod failed or cannot start; {} where Kubernetes does not answer."""
    try:
        from kubernetes import client, config

        try:  # not `load_config`, which prints to standard output where there is no file
            config.load_kube_config()
        except config.ConfigException:
            config.load_incluster_config()
        found = client.CoreV1Api().list_namespaced_pod(
            namespace, label_selector=f"pipeline/runid={run_id}", _request_timeout=SECONDS
        )
    except Exception as error:  # it only adds to what is known: a missing right must not hide the run's end
        logging.getLogger(__name__).debug("no causes from Kubernetes: %s", error)
        return {}
    wanted, causes = frozenset(tasks), {}
    for pod in sorted(found.items, key=lambda each: each.metadata.creation_timestamp):
        node = str((pod.metadata.annotations or {}).get(_NODE, "")).split(".")
        task = next((name for part in node if (name := _AFTER.sub("", part)) in wanted), None)
        cause = _cause(pod.status)
        if task is not None and cause is not None:
            causes[task] = cause
    return causes


def _cause(status: Any) -> str | None:
    """Kubernetes's reason, with the message that the task's process left (`/dev/termination-log`)."""
    for container in status.container_statuses or ():
        ended, waiting = container.state.terminated, container.state.waiting
        if container.name == "main" and ended is not None and ended.exit_code:
            what = f"{ended.reason or 'Error'} (exit code {ended.exit_code})"
            return f"{what}: {ended.message.strip()}" if ended.message else what
        if waiting is not None and waiting.message:
            return f"{waiting.reason}: {waiting.message}"
    for condition in status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    return f"{status.reason}: {status.message}" if status.reason else None
