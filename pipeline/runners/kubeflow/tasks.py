"""What the config says of single tasks: resources and retries, written into the compiled pipeline; volume, secrets,
node selectors and how the image is fetched, written into its platform document by kfp-kubernetes.

Caching is off for every task: TFX compiles it so, and `checks` refuses to switch it on.
"""

import re
import types
from typing import Any

from noria.pipeline.config.kubeflow import Kubeflow, Task

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def settings_of(section: Kubeflow, node: str) -> Task:
    """What holds for one task: `kubeflow.tasks`, and over it `kubeflow.per_task`."""
    # A broken span's report is the same work under another condition.
    own = section.per_task.get("Report" if node == "ReportBroken" else node)
    return section.tasks.model_copy(update=own.model_dump(exclude_none=True) if own else {})


def apply(spec: dict[str, Any], section: Kubeflow) -> None:
    """Writes resources and retries into a compiled pipeline, in place."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        settings = settings_of(section, name)
        if settings.retries:
            # An exit code says nothing about whether it helps to try again; a second apart it mostly does not.
            policy = {"maxRetryCount": settings.retries, "backoffDuration": "30s", "backoffFactor": 2.0}
            task["retryPolicy"] = policy
        container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        resources: dict[str, float] = {}
        if settings.cpu:
            resources |= dict.fromkeys(("cpuRequest", "cpuLimit"), quantity(settings.cpu))
        if settings.memory:
            # In gigabytes, which every release of the backend reads.
            resources |= dict.fromkeys(("memoryRequest", "memoryLimit"), quantity(settings.memory) / 1e9)
        if resources:
            container["resources"] = resources


def platform_spec(section: Kubeflow, executors: list[str]) -> dict[str, Any]:
    """The platform document: what Kubernetes must know of each task."""
    configs = {
        label: _executor_config(section, settings_of(section, label.removesuffix("_executor")))
        for label in sorted(executors)
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": configs}}}}


def _executor_config(section: Kubeflow, settings: Task) -> dict[str, Any]:
    """One task's `KubernetesExecutorConfig`, in the fields that this release of kfp-kubernetes writes.

    Its functions read and write `platform_config` of a task and, with constants, nothing else of it.
    """
    from kfp import kubernetes

    task: Any = types.SimpleNamespace(platform_config={})
    if section.volume:
        kubernetes.mount_pvc(task, section.volume.claim, section.volume.mount)
    for secret in section.secrets:
        kubernetes.use_secret_as_env(task, secret.name, secret.env)
    for key, value in (settings.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    if section.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, section.image_pull_secrets)
    if section.image_pull_policy:
        kubernetes.set_image_pull_policy(task, section.image_pull_policy)
    return dict(task.platform_config.get("kubernetes", {}))


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number.

    >>> quantity("500m"), quantity("2"), quantity("4Gi")
    (0.5, 2.0, 4294967296.0)
    """
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", text)
    assert found is not None, text  # the config has checked it
    return float(found[1]) * _UNITS[found[2]]
