"""The pod of a task: what the driver writes into it, how Argo merges that, and what Kubernetes refuses.

The driver appends volumes, mounts and variables one by one (kubeflow/pipelines `driver/k8s.go`, extendPodSpecPatch).
Argo merges them into its own pod, volumes and variables by name and mounts by path (argo-workflows
`workflow/util/util.go`, ApplyPodSpecPatch, a strategic merge patch of Kubernetes). The pod is then validated
(kubernetes `pkg/apis/core/validation`): a volume's name is a DNS label, and a volume or a variable has one source.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Volumes of each pod before the patch (`argocompiler/container.go`), and where they are mounted.
OWN = {"kfp-launcher": "/kfp-launcher", "gcs-scratch": "/gcs", "s3-scratch": "/s3", "minio-scratch": "/minio"}
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VOLUMES = {  # field -> (the name's field, the volume's source)
    "pvcMount": ("constant", "persistentVolumeClaim"),
    "secretAsVolume": ("secretName", "secret"),
    "configMapAsVolume": ("configMapName", "configMap"),
    "emptyDirMounts": ("volumeName", "emptyDir"),
}
_VARIABLES = {"secretAsEnv": "secretKeyRef", "configMapAsEnv": "configMapKeyRef"}


def problems(config: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a task's pod.

    Args:
      config: the task's `KubernetesExecutorConfig`.
      env: the container's own variables.
    """
    volumes: dict[str, set[str]] = {name: {"emptyDir of Kubeflow"} for name in OWN}
    mounts = {path: name for name, path in OWN.items()}
    for field, (name_field, source) in _VOLUMES.items():
        for each in config.get(field, ()):
            name, path = each[name_field], each["mountPath"]
            volumes.setdefault(name, set()).add(source)
            if mounts.setdefault(path, name) != name:
                yield f"{path}: {mounts[path]} is not mounted, as {name} is"
    for name, sources in volumes.items():
        if not _LABEL.fullmatch(name):
            yield f"volume {name}: must be a DNS label"
        if len(sources) > 1:
            yield f"volume {name}: may not specify more than 1 volume type"
    variables = {name: ["value"] for name in env}
    for field, source in _VARIABLES.items():
        for each in config.get(field, ()):
            for pair in each["keyToEnv"]:
                variables.setdefault(pair["envVar"], []).append(source)
    for name, values in variables.items():
        if len(values) > 1:
            yield f"env {name}: may not have more than one field specified at a time"
