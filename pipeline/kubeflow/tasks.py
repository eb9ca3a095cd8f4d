"""What the config says of single tasks: resources, retries and caching, written into the compiled pipeline;
volume, secrets and node selectors, written into its platform document.

Caching is off unless asked for, and refused where a hit would be a lie: the backend's cache key holds a task's
inputs, its command and its image's name, but neither the span store nor the registry, nor a file.
"""

import re
from typing import Any

from noria.pipeline.kubeflow.section import Kubeflow, Task

# node id -> why an earlier result must not stand for a new one. What is not here (Transform, Trainer, Evaluator)
# goes by its input artifacts alone.
NEVER_CACHED = {
    "Ingest": "it reads the data source, which changes under the same arguments",
    "ChampionResolver": "it reads the registry, which changes under the same arguments",
    "SpanExampleGen": "it reads the span store, and `next` is another span each time",
    "SchemaGen": "it reads a file, whose content the cache key does not see",
    "StatisticsGen": "it reads and keeps statistics in the home folder, and compares with the span before",
    "DataGate": "it reads the span store, and puts a broken span in quarantine",
    "Pusher": "it writes to the registry and the model directory",
    "Report": "it closes the turn in the home folder",
    "ReportBroken": "it closes the turn in the home folder",
}

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def settings_of(section: Kubeflow, node: str) -> Task:
    """What holds for one task: `kubeflow.tasks`, and over it `kubeflow.per_task`."""
    # A broken span's report is the same work under another condition.
    own = section.per_task.get("Report" if node == "ReportBroken" else node)
    return section.tasks.model_copy(update=own.model_dump(exclude_none=True) if own else {})


def apply(spec: dict[str, Any], section: Kubeflow) -> None:
    """Writes resources, retries and caching into a compiled pipeline, in place."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        settings = settings_of(section, name)
        if settings.cache:
            task["cachingOptions"] = {"enableCache": True}
        if settings.retries:
            # An exit code says nothing about whether it helps to try again; a second apart it mostly does not.
            policy = {"maxRetryCount": settings.retries, "backoffDuration": "30s", "backoffFactor": 2.0}
            task["retryPolicy"] = policy
        container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        resources = {}
        if settings.cpu:
            resources |= dict.fromkeys(("cpuRequest", "cpuLimit"), quantity(settings.cpu))
        if settings.memory:
            # In gigabytes, which every release of the backend reads.
            resources |= dict.fromkeys(("memoryRequest", "memoryLimit"), quantity(settings.memory) / 1e9)
        if resources:
            container["resources"] = resources


def platform_spec(section: Kubeflow, executors: list[str]) -> dict[str, Any]:
    """The platform document: what Kubernetes must know of each task."""
    configs = {}
    for label in sorted(executors):
        settings = settings_of(section, label.removesuffix("_executor"))
        config: dict[str, Any] = {}
        if section.volume:
            config["pvcMount"] = [{"constant": section.volume.claim, "mountPath": section.volume.mount}]
        if section.secrets:
            config["secretAsEnv"] = [
                {
                    "secretName": secret.name,
                    "keyToEnv": [{"secretKey": key, "envVar": env} for key, env in secret.env.items()],
                }
                for secret in section.secrets
            ]
        if settings.node_selector:
            config["nodeSelector"] = {"labels": settings.node_selector}
        configs[label] = config
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": configs}}}}


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number.

    >>> quantity("500m"), quantity("2"), quantity("4Gi")
    (0.5, 2.0, 4294967296.0)
    """
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", text)
    assert found is not None, text  # the config has checked it
    return float(found[1]) * _UNITS[found[2]]
