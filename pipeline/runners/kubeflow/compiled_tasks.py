"""Settings of single tasks: resources, environment and retries, written into the compiled pipeline; all else that
Kubernetes needs to know, written into its platform document by kfp-kubernetes.

Caching is off for every task: TFX compiles it so, and `checks` refuses to switch it on.
"""

import re
import types
from collections.abc import Mapping
from typing import Any

from noria.core import periods
from noria.pipeline.config.kubeflow import Kubeflow
from noria.pipeline.config.kubeflow_task import RETRY_WITHIN, Task

# Settings with a name for each value: those of one task are added to those of all.
_MAPS = ("node_selector", "labels", "annotations", "env", "platform")
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def settings_of(section: Kubeflow, node: str) -> Task:
    """The settings of one task: `kubeflow.tasks`, overridden by `kubeflow.per_task`."""
    # Each way to end a run is the same task under another condition.
    own = section.per_task.get("Report" if node.startswith("Report") else node)
    if own is None:
        return section.tasks
    given = {key: value for key, value in own if value is not None}
    for key in given.keys() & set(_MAPS):
        given[key] = merged(getattr(section.tasks, key) or {}, given[key])
    return section.tasks.model_copy(update=given)


def apply(spec: dict[str, Any], section: Kubeflow) -> None:
    """Writes resources, environment and retries into a compiled pipeline, in place."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        settings = settings_of(section, name)
        if settings.retries:
            task["retryPolicy"] = {
                "maxRetryCount": settings.retries,
                # An exit code does not say whether a retry helps; after one second it rarely does.
                "backoffDuration": "30s",
                "backoffFactor": 2.0,
                # Without it the server's compiler writes 0, and Argo never retries.
                "backoffMaxDuration": f"{periods.seconds(settings.retry_within or RETRY_WITHIN)}s",
            }
        container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        resources: dict[str, Any] = {}
        if settings.cpu:
            resources |= dict.fromkeys(("cpuRequest", "cpuLimit"), quantity(settings.cpu))
        if settings.memory:
            # In gigabytes, which every release of the backend reads.
            resources |= dict.fromkeys(("memoryRequest", "memoryLimit"), quantity(settings.memory) / 1e9)
        if settings.gpu:
            # The older of two forms, which every release reads.
            resources["accelerator"] = {"type": settings.gpu.resource, "count": str(settings.gpu.count)}
        if resources:
            container["resources"] = resources
        if settings.env:
            container["env"] = [{"name": key, "value": value} for key, value in settings.env.items()]


def platform_spec(section: Kubeflow, executors: list[str]) -> dict[str, Any]:
    """The platform document: what Kubernetes needs to know about each task."""
    configs = {
        label: _executor_config(section, settings_of(section, label.removesuffix("_executor")))
        for label in sorted(executors)
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": configs}}}}


def _executor_config(section: Kubeflow, settings: Task) -> dict[str, Any]:
    """One task's `KubernetesExecutorConfig`, in the fields that this release of kfp-kubernetes writes.

    Its functions use only `platform_config` of a task.
    """
    from kfp import kubernetes

    task: Any = types.SimpleNamespace(platform_config={})
    if section.volume:
        kubernetes.mount_pvc(task, section.volume.claim, section.volume.mount)
    for secret in section.secrets:
        if secret.env:
            kubernetes.use_secret_as_env(task, secret.name, secret.env)
        if secret.mount:
            kubernetes.use_secret_as_volume(task, secret.name, secret.mount)
    for config_map in section.config_maps:
        if config_map.env:
            kubernetes.use_config_map_as_env(task, config_map.name, config_map.env)
        if config_map.mount:
            kubernetes.use_config_map_as_volume(task, config_map.name, config_map.mount)
    if section.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, section.image_pull_secrets)
    if section.image_pull_policy:
        kubernetes.set_image_pull_policy(task, section.image_pull_policy)
    _place(task, settings)
    for key, value in (settings.labels or {}).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in (settings.annotations or {}).items():
        kubernetes.add_pod_annotation(task, key, value)
    if settings.deadline:
        kubernetes.set_timeout(task, periods.seconds(settings.deadline))
    if settings.shared_memory:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", "Memory", settings.shared_memory)
    if settings.ephemeral_storage:
        storage = settings.ephemeral_storage
        # Not a volume claim: a fresh volume belongs to root, and a task cannot ask for a group that may write to it.
        kubernetes.empty_dir_mount(task, "ephemeral-storage", storage.mount, size_limit=storage.size)
    return merged(dict(task.platform_config.get("kubernetes", {})), settings.platform or {})


def _place(task: Any, settings: Task) -> None:
    """On which nodes the task may run."""
    from kfp import kubernetes

    for key, value in (settings.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    for each in settings.tolerations or []:
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect, each.seconds)
    if settings.affinity:
        kubernetes.add_node_affinity_json(task, settings.affinity)


def merged(document: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a patch over it: objects key by key, lists one behind the other, the rest replaced.

    >>> merged({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]})
    {'a': {'b': 1, 'd': 2}, 'c': [1, 2]}
    """
    for key, value in patch.items():
        found = document.get(key)
        if isinstance(found, dict) and isinstance(value, Mapping):
            document = {**document, key: merged(found, value)}
        elif isinstance(found, list) and isinstance(value, list):
            document = {**document, key: [*found, *value]}
        else:
            document = {**document, key: value}
    return document


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number.

    >>> quantity("500m"), quantity("2"), quantity("4Gi")
    (0.5, 2.0, 4294967296.0)
    """
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", text)
    assert found is not None, text  # the config has checked it
    return float(found[1]) * _UNITS[found[2]]
