"""What Kubernetes refuses in a task's pod, or mixes up: two volumes, mounts or variables that have one name.

Kubeflow's driver names a volume after its claim, Secret or config map, and Argo merges all of it into the pod by names
and mount paths (kubeflow/pipelines `backend/src/v2/driver/k8s.go`, extendPodSpecPatch; argo-workflows `workflow/util/
util.go`, ApplyPodSpecPatch). Read from the platform document, so that `platform` is checked as well.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from noria.core.errors import ConfigError, did_you_mean
from noria.core.objects.store import SCHEMES
from noria.pipeline.config import Config
from noria.pipeline.config.kubeflow import TASKS
from noria.pipeline.config.kubernetes_names import is_label, mount_path
from noria.pipeline.runners.kubeflow import compiled_tasks

# Volumes of each pod: Kubeflow's launcher's (`argocompiler/container.go`) and Argo's own (`workflow/common/common.go`).
TAKEN = (
    "kfp-launcher",
    "ca-bundle",
    *(f"{name}-scratch" for name in ("gcs", "s3", "minio", "dot-local", "dot-cache", "dot-config")),
    *("var-run-argo", "tmp-dir-argo", "input-artifacts"),
)
# Fields of the platform document that are volumes: the name's field, and what it is.
_VOLUMES = {
    "pvcMount": ("constant", "claim"),
    "secretAsVolume": ("secretName", "Secret"),
    "configMapAsVolume": ("configMapName", "config map"),
    "emptyDirMounts": ("volumeName", "folder of the pod"),
    "genericEphemeralVolume": ("volumeName", "folder of the pod"),
}
_VARIABLES = ("secretAsEnv", "configMapAsEnv")
# All fields (`kubernetes_platform/proto/kubernetes_executor_config.proto`, August 2026). The server drops others.
_FIELDS = (
    *_VOLUMES,
    *_VARIABLES,
    *("activeDeadlineSeconds", "enabledSharedMemory", "fieldPathAsEnv", "imagePullPolicy", "imagePullSecret"),
    *("initContainers", "nodeAffinity", "nodeSelector", "podAffinity", "podMetadata", "securityContext"),
    "tolerations",
)


class Volume(NamedTuple):
    """One volume of a pod."""

    kind: str
    name: str
    mount: str

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r}"


def check(config: Config) -> None:
    """Raises ConfigError for the first task whose pod could not start, or would see something else than it should."""
    section = config.kubeflow
    executors = compiled_tasks.platform_spec(section, list(TASKS))["platforms"]["kubernetes"]
    for task, document in executors["deploymentSpec"]["executors"].items():
        try:
            _check_fields(document)
            volumes = list(_volumes(document))
            _check_names(volumes)
            _check_mounts(volumes, section.project, config.cluster_home)
            _check_variables(document, compiled_tasks.settings_of(section, task).env or {})
        except ValueError as error:
            raise ConfigError(
                f"the pod of the task {task}: {error}",
                where=f"{config.path}, section kubeflow",
                next_step="correct a name or a `mount` in `volume`, `secrets`, `config_maps`, `tasks` or `per_task`",
            ) from None


def _volumes(document: Mapping[str, Any]) -> Iterator[Volume]:
    for field, (name, kind) in _VOLUMES.items():
        for each in document.get(field, ()):
            if name in each:  # else it comes from another task's output, in `platform`
                yield Volume(kind, each[name], each.get("mountPath", ""))


def _check_fields(document: Mapping[str, Any]) -> None:
    """A newer server may have more fields: only what is almost one of these is a mistake."""
    for field in document.keys() - set(_FIELDS):
        hint = did_you_mean(field, _FIELDS)
        if hint:
            raise ValueError(f"`platform` has {field!r}, which Kubeflow would drop without a word; {hint}")


def _check_names(volumes: list[Volume]) -> None:
    seen: dict[str, Volume] = {}
    for each in volumes:
        if not is_label(each.name):
            raise ValueError(
                f"{each} cannot be mounted: the pod's volume gets its name, which must be lower-case letters, digits "
                "and hyphens, at most 63; give it another name, or use `env`"
            )
        if each.name in TAKEN:
            raise ValueError(f"{each} cannot be mounted: Kubeflow has a volume of this name in each pod")
        other = seen.setdefault(each.name, each)
        if other.kind != each.kind:
            raise ValueError(
                f"{other} and {each} cannot both be mounted: a pod's volumes have different names"
            )


def _check_mounts(volumes: list[Volume], project: str, home: str) -> None:
    places: dict[PurePosixPath, Volume] = {}
    for each in volumes:
        mount_path(each.mount)
        other = places.setdefault(PurePosixPath(each.mount), each)
        if other is not each:
            raise ValueError(f"{other} and {each} are both mounted at {each.mount}")
    found = _at(places, project)
    if found is not None and found.kind == "folder of the pod":
        raise ValueError(f"{found} at {found.mount} would hide `project`, {project}")
    found = None if home.startswith(SCHEMES) else _at(places, home)
    if found is not None and found.kind != "claim":
        raise ValueError(f"{found} at {found.mount} would hide `home`, {home}, which is on the volume")


def _at(places: Mapping[PurePosixPath, Volume], path: str) -> Volume | None:
    """What is mounted where a path is: the nearest mount above it."""
    path_ = PurePosixPath(path)
    return next((places[each] for each in (path_, *path_.parents) if each in places), None)


def _check_variables(document: Mapping[str, Any], own: Mapping[str, str]) -> None:
    names = [*own]
    for field in _VARIABLES:
        names += [pair["envVar"] for each in document.get(field, ()) for pair in each.get("keyToEnv", ())]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"the environment variable {twice[0]} is set twice, and Kubernetes refuses a variable with two values"
        )
