"""The `kubeflow` section of a project's YAML file. Read by every command, so it imports nothing heavy."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from noria.core.errors import did_you_mean
from noria.core.settings import Settings
from noria.pipeline.config.kubernetes_names import ImageName, NodeLabels, ObjectName, SecretKeys
from noria.pipeline.config.sections import NODES, ProjectPath

# A Kubeflow run has two more nodes than the pipeline: ingestion before it, the report after it.
TASKS = ("Ingest", *NODES, "Report")
# What Kubeflow's launcher copies to and from: the object store's scheme, and the folder in the container.
MIRRORS = {"s3://": "s3", "minio://": "minio", "gs://": "gcs"}


def _quantity(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?(m|[kMGTPE]i?)?", value):
        raise ValueError(f"must be a Kubernetes quantity such as 500m, 2 or 4Gi, got {value!r}")
    return value


def _in_container(value: str) -> str:
    if "://" in value:
        raise ValueError(
            "must be a folder on a mounted volume: object storage has no atomic rename, so a kill "
            f"could leave half a version; got {value!r}"
        )
    if not PurePosixPath(value).is_absolute():
        raise ValueError(f"must be an absolute path in the container, got {value!r}")
    return value


Quantity = Annotated[str, AfterValidator(_quantity)]
ContainerPath = Annotated[str, AfterValidator(_in_container)]


class Task(Settings):
    cpu: Quantity | None = Field(default=None, description="CPU request and limit.")
    memory: Quantity | None = Field(default=None, description="Memory request and limit.")
    retries: int | None = Field(default=None, ge=0, le=20, description="How often a failed task is retried.")
    node_selector: NodeLabels | None = Field(
        default=None, description="Labels of the nodes that may run the task."
    )
    cache: bool | None = Field(
        default=None,
        description="Only `false`: `noria compile` refuses `true`: Kubeflow's cache sees neither the stores nor "
        "the code in the image, and never hits after a task that has run again.",
    )


class Volume(Settings):
    claim: ObjectName = Field(description="The PersistentVolumeClaim with the span store and the registry.")
    mount: ContainerPath = Field(default="/noria/volume", description="Where it is mounted in every task.")


class Secret(Settings):
    name: ObjectName = Field(description="The Kubernetes Secret.")
    env: SecretKeys = Field(description="Key of the Secret -> environment variable of every task.")


class Kubeflow(Settings):
    host: str | None = Field(
        default=None,
        description="Address of the Kubeflow Pipelines API, such as `https://kubeflow.example.com/pipeline`. "
        "Here and below, a flag and an environment variable (`NORIA_KUBEFLOW_HOST` and so on) override the file.",
    )
    namespace: str | None = Field(default=None, description="Namespace, if Kubeflow has several users.")
    experiment: str | None = Field(default=None, description="Experiment of the runs. Default: `name`.")
    token_file: ProjectPath | None = Field(default=None, description="File with the bearer token.")
    cookie_file: ProjectPath | None = Field(
        default=None, description="File with the session cookie, such as `authservice_session=...`."
    )
    ca_file: ProjectPath | None = Field(
        default=None, description="PEM file with the CA certificates that verify the server."
    )
    service_account: str | None = Field(
        default=None,
        description="Kubernetes service account of the runs' pods. Default: the server's.",
    )
    pipeline_root: str = Field(
        default="minio://mlpipeline/noria",
        description=f"Where the artifacts are stored: {', '.join(f'`{scheme}`' for scheme in MIRRORS)} and a bucket.",
    )
    image: ImageName = Field(
        default="noria:latest",
        description="The container image of every task. `--image` and `NORIA_KUBEFLOW_IMAGE` override it: CI builds "
        "a new one for each commit.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None,
        description="When a node pulls the image. Default: that of Kubernetes, `Always` for `:latest` and "
        "`IfNotPresent` otherwise. The long-term lane's kfp-kubernetes does not support it.",
    )
    image_pull_secrets: list[ObjectName] = Field(
        default_factory=list,
        description="Kubernetes Secrets for pulling the image. The long-term lane's kfp-kubernetes does not "
        "support them: name them in the runs' service account there.",
    )
    project: ContainerPath = Field(
        default="/noria/project",
        description="Folder of this YAML file in the container.",
    )
    home: ContainerPath = Field(
        default="/noria/volume/home",
        description="The home folder in the container; on the volume, so that it survives the task.",
    )
    volume: Volume | None = Field(
        default=None,
        description="The volume that `home` is on; without one nothing survives a task, and `noria compile` refuses.",
    )
    secrets: list[Secret] = Field(
        default_factory=list, description="Kubernetes Secrets, as environment variables of every task."
    )
    tasks: Task = Field(default=Task(), description="Settings of every task.")
    per_task: dict[str, Task] = Field(
        default_factory=dict,
        description="Settings of single tasks, by component name; they override `tasks`.",
    )

    @field_validator("pipeline_root")
    @classmethod
    def _root(cls, value: str) -> str:
        if not re.match(rf"({'|'.join(MIRRORS)})[^/]+", value):
            raise ValueError(f"must start with {', '.join(MIRRORS)} and a bucket, got {value!r}")
        return value.rstrip("/")

    @field_validator("per_task")
    @classmethod
    def _known(cls, value: dict[str, Task]) -> dict[str, Task]:
        for name in value:
            if name not in TASKS:
                hint = did_you_mean(name, TASKS)
                raise ValueError(
                    f"must name components ({', '.join(TASKS)}), got {name!r}" + (f"; {hint}" if hint else "")
                )
        return value
