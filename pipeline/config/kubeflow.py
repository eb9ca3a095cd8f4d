"""The `kubeflow` section of a project's YAML file. Read by every command, so it imports nothing heavy."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from noria.core.objects.store import SCHEMES
from noria.core.settings import Settings
from noria.pipeline.config.kubeflow_task import Gpu, Quantity, Task
from noria.pipeline.config.kubernetes_names import (
    ClaimName,
    ImageName,
    MountPath,
    ObjectName,
    SecretKeys,
    mount_path,
)
from noria.pipeline.config.sections import NODES, ProjectPath, check_components

# A Kubeflow run has more nodes than the pipeline: ingestion before it, the report and the exit handler after it.
TASKS = ("Ingest", *NODES, "Report", "End")
# What Kubeflow's launcher copies to and from: the object store's scheme, and the folder in the container.
MIRRORS = {"s3://": "s3", "minio://": "minio", "gs://": "gcs"}

VOLUME = "/noria/volume"  # where the volume is mounted
HOME = f"{VOLUME}/home"


def _in_container(value: str) -> str:
    if not PurePosixPath(value).is_absolute():
        raise ValueError(f"must be an absolute path in the container, got {value!r}")
    return value


def _home(value: str | None) -> str | None:
    if value is None or value.startswith(SCHEMES):
        return value and value.rstrip("/")
    return _in_container(value)


ContainerPath = Annotated[str, AfterValidator(_in_container)]


class Volume(Settings):
    claim: ClaimName = Field(description="The PersistentVolumeClaim with the span store and the registry.")
    mount: Annotated[ContainerPath, AfterValidator(mount_path)] = Field(
        default=VOLUME, description="Where the volume is mounted in every task."
    )


class KeyValues(Settings):
    env: SecretKeys = Field(
        default_factory=dict,
        description="Environment variables of every task: `{KEY: VARIABLE}`, each with the value of a key.",
    )
    mount: MountPath | None = Field(
        default=None, description="Folder of every task, with one file for each key."
    )

    @model_validator(mode="after")
    def _used(self) -> "KeyValues":
        if not self.env and self.mount is None:
            raise ValueError("must have `env` or `mount`")
        return self


class Secret(KeyValues):
    name: ObjectName = Field(description="The Kubernetes Secret.")


class ConfigMap(KeyValues):
    name: ObjectName = Field(description="The Kubernetes config map.")


class Notify(Settings):
    url: str = Field(
        pattern=r"^https?://[^\s@]+$",
        description="The address that gets a CloudEvent by POST after each run.",
    )
    token_variable: str | None = Field(
        default=None, description="Environment variable with a bearer token, such as one of `secrets`."
    )


class Workers(Settings):
    count: int = Field(ge=2, description="How many workers, each in its own pod.")
    runtime: ObjectName = Field(
        default="noria",
        description="The `TrainingRuntime` of Kubeflow Trainer in the runs' namespace; `deploy/training` has one.",
    )
    cpu: Quantity | None = Field(default=None, description="CPU request and limit of a worker.")
    memory: Quantity | None = Field(default=None, description="Memory request and limit of a worker.")
    gpu: Gpu | None = Field(default=None, description="GPUs of a worker, or another device.")


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
    pipeline_root: str | None = Field(
        default=None,
        description=f"Where the artifacts are stored: {', '.join(f'`{scheme}`' for scheme in MIRRORS)} and a bucket. "
        "Default: what `kfp-launcher` in the runs' namespace says.",
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
    home: Annotated[str | None, AfterValidator(_home)] = Field(
        default=None,
        description="The home of the tasks: a folder on the volume, or `s3://` or `gs://`, which needs no volume. "
        f"Default: `home` at the top if it is in an object store, else `{HOME}`.",
    )
    volume: Volume | None = Field(
        default=None,
        description="The volume that `home` is on. A home in an object store needs none.",
    )
    secrets: list[Secret] = Field(
        default_factory=list,
        description="Kubernetes Secrets, as environment variables or files of every task.",
    )
    config_maps: list[ConfigMap] = Field(default_factory=list, description="Config maps, in the same way.")
    notify: Notify | None = Field(
        default=None, description="The receiver of a message at the end of each run. Default: none."
    )
    workers: Workers | None = Field(
        default=None,
        description="Pods of a `TrainJob` that train together, for `trainer.strategy: multi_worker`. Default: the "
        "Trainer's pod trains.",
    )
    tasks: Task = Field(default=Task(), description="Settings of every task.")
    per_task: dict[str, Task] = Field(
        default_factory=dict,
        description="Settings of single tasks, by component name; they override `tasks`. Node selectors, labels, "
        "annotations, variables and `platform` are added to those of `tasks`.",
    )

    @field_validator("pipeline_root")
    @classmethod
    def _root(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.match(rf"({'|'.join(MIRRORS)})[^/]+", value):
            raise ValueError(f"must start with {', '.join(MIRRORS)} and a bucket, got {value!r}")
        return value.rstrip("/")

    @field_validator("per_task")
    @classmethod
    def _known(cls, value: dict[str, Task]) -> dict[str, Task]:
        check_components(value, TASKS)
        return value
