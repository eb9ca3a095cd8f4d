"""What one task asks of Kubernetes: `kubeflow.tasks` for all of them, `kubeflow.per_task` for one."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from noria.core import periods
from noria.core.errors import ConfigError
from noria.core.settings import Settings
from noria.pipeline.config.kubernetes_names import (
    Annotations,
    Environment,
    Labels,
    MountPath,
    qualified_name,
)


def _quantity(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?(m|[kMGTPE]i?)?", value):
        raise ValueError(f"must be a Kubernetes quantity such as 500m, 2 or 4Gi, got {value!r}")
    return value


def _duration(value: str) -> str:
    try:
        periods.seconds(value)
    except ConfigError as error:
        raise ValueError(error.what) from None
    return value


def _affinity(value: dict[str, Any]) -> dict[str, Any]:
    """Kubeflow drops a key that it does not know without a word, and the task would run on any node."""
    kinds = [f"{kind}DuringSchedulingIgnoredDuringExecution" for kind in ("required", "preferred")]
    for key in value:
        if key not in kinds:
            raise ValueError(
                f"must have the keys of Kubernetes's nodeAffinity, {' and '.join(kinds)}, got {key!r}"
            )
    return value


def _retry_within(value: str) -> str:
    if periods.seconds(_duration(value)) < 60:
        raise ValueError(f"must be at least 1m, as the first retry waits for 30 seconds, got {value!r}")
    return value


Quantity = Annotated[str, AfterValidator(_quantity)]
Duration = Annotated[str, AfterValidator(_duration)]
# Argo counts it from the first attempt's start, and ends a retried pod at it (docs/kubeflow-runs.md).
RETRY_WITHIN = "24h"


class Gpu(Settings):
    count: int = Field(ge=1, description="How many devices.")
    resource: Annotated[str, AfterValidator(qualified_name)] = Field(
        default="nvidia.com/gpu", description="The resource's name in Kubernetes."
    )


class Toleration(Settings):
    key: str | None = Field(default=None, description="The taint's key. Default: every key.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How `value` is compared.")
    value: str | None = Field(default=None, description="The taint's value.")
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = Field(
        default=None, description="The taint's effect. Default: every effect."
    )
    seconds: int | None = Field(default=None, ge=0, description="How long a `NoExecute` taint is tolerated.")

    @model_validator(mode="after")
    def _agree(self) -> "Toleration":
        if self.key is None and self.operator != "Exists":
            raise ValueError("must have `operator: Exists` where it has no key")
        if self.operator == "Exists" and self.value:
            raise ValueError("must have no value where `operator` is Exists")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("must have `effect: NoExecute` where it has seconds")
        return self


class Storage(Settings):
    size: Quantity = Field(description="The size, such as 50Gi; a task that needs more is evicted.")
    mount: MountPath = Field(default="/tmp", description="Where the folder is mounted.")


class Task(Settings):
    cpu: Quantity | None = Field(default=None, description="CPU request and limit.")
    memory: Quantity | None = Field(default=None, description="Memory request and limit.")
    gpu: Gpu | None = Field(default=None, description="GPUs, or another device.")
    retries: int | None = Field(default=None, ge=0, le=20, description="How often a failed task is retried.")
    retry_within: Annotated[str, AfterValidator(_retry_within)] | None = Field(
        default=None,
        description="Time after the first attempt's start at which a retried task is ended and no retry starts. "
        f"Default: `{RETRY_WITHIN}`.",
    )
    deadline: Duration | None = Field(default=None, description="One attempt is ended after this time.")
    node_selector: Labels | None = Field(
        default=None, description="Labels of the nodes that may run the task."
    )
    tolerations: list[Toleration] | None = Field(default=None, description="Taints that the task tolerates.")
    affinity: Annotated[dict[str, Any], AfterValidator(_affinity)] | None = Field(
        default=None, description="Kubernetes's `nodeAffinity`, with its own keys."
    )
    ephemeral_storage: Storage | None = Field(
        default=None, description="A folder on the node's disk, for the task's temporary files."
    )
    shared_memory: Quantity | None = Field(
        default=None, description="Size of `/dev/shm`; it counts as the task's memory."
    )
    labels: Labels | None = Field(
        default=None, description="Labels of the task's pod, such as Kueue's queue and priority class."
    )
    annotations: Annotations | None = Field(default=None, description="Annotations of the task's pod.")
    env: Environment | None = Field(default=None, description="Environment variables.")
    platform: dict[str, Any] | None = Field(
        default=None,
        description="Merged into the task's part of Kubeflow's platform document (`KubernetesExecutorConfig`), for "
        "what has no key here.",
    )
