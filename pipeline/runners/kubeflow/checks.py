"""Errors at compile time for what the cluster would refuse, or fail on hours later.

The reasons are those of Kubeflow Pipelines 2.x on Argo and of TFX's compiler; docs/kubeflow.md lists them.
"""

import importlib.metadata
import importlib.util
import os.path
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from noria.components import execution
from noria.core.errors import ConfigError, LaneError
from noria.core.objects.store import SCHEMES
from noria.pipeline import environment
from noria.pipeline.config import Config
from noria.pipeline.config.kubeflow import Kubeflow
from noria.pipeline.config.kubeflow_task import Task
from noria.pipeline.config.sections import is_function, is_url
from noria.pipeline.runners.kubeflow import container_project
from noria.pipeline.runners.kubeflow.compiled_tasks import settings_of

# Functions that older releases of kfp-kubernetes do not have, by the key that needs them: of the section, of a task.
_NEWER = {
    "image_pull_secrets": "set_image_pull_secrets",
    "image_pull_policy": "set_image_pull_policy",
    "config_maps": "use_config_map_as_env",
}
_NEWER_OF_A_TASK = {
    "tolerations": "add_toleration",
    "affinity": "add_node_affinity_json",
    "labels": "add_pod_label",
    "annotations": "add_pod_annotation",
    "deadline": "set_timeout",
    "ephemeral_storage": "empty_dir_mount",
    "shared_memory": "empty_dir_mount",
}


def check_installed(*packages: str) -> None:
    """Raises LaneError where kfp, or one more of its packages, is not installed or cannot be."""
    if sys.version_info >= (3, 12):
        raise LaneError(
            f"TFX's Kubeflow part needs Python 3.10 or 3.11, this is {sys.version_info[0]}.{sys.version_info[1]}",
            where=sys.executable,
            next_step=f"make an environment with Python 3.11; there, {environment.how_to_install('kubeflow')}",
        )
    for package in ("kfp", *packages):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise LaneError(
                f"the package {package.replace('.', '-')} is not installed",
                where=sys.prefix,
                next_step=environment.how_to_install("kubeflow"),
            )


def check_platform(config: Config) -> None:
    """Raises LaneError if the installed kfp-kubernetes does not support a key of the section."""
    from kfp import kubernetes

    asked = [(key, getattr(config.kubeflow, key), function) for key, function in _NEWER.items()]
    for name, task in _tasks(config.kubeflow).items():
        asked += [(f"{name}.{key}", getattr(task, key), by) for key, by in _NEWER_OF_A_TASK.items()]
    for key, value, function in asked:
        if value and not hasattr(kubernetes, function):
            raise LaneError(
                f"kfp-kubernetes {importlib.metadata.version('kfp-kubernetes')} does not support `kubeflow.{key}`",
                where=config.path,
                next_step="compile on the current lane, or remove the key: `platform` of a task takes Kubeflow's own "
                "field in its place",
            )


def check_config(config: Config) -> None:
    """Raises ConfigError for settings that cannot work in a cluster."""
    section = config.kubeflow
    where = f"{config.path}, section kubeflow"
    home = config.cluster_home
    in_store = home.startswith(SCHEMES)
    if section.volume is None and not in_store:
        raise ConfigError(
            "there is no volume: span store and registry would be lost with each task's container",
            where=where,
            next_step="set `home: s3://bucket/prefix` (or gs://); or `kubeflow.volume: {claim: NAME}` to a "
            "PersistentVolumeClaim: deploy/ has one",
        )
    mount = section.volume and PurePosixPath(section.volume.mount)
    if mount and not in_store and not PurePosixPath(home).is_relative_to(mount):
        raise ConfigError(
            f"`kubeflow.home` must lie on the volume, below {mount}, got {home}",
            where=where,
            next_step=f"set `kubeflow.home: {mount}/home`, or `kubeflow.volume.mount` to a folder above it",
        )
    if not in_store and PurePosixPath(section.project).is_relative_to(home):
        raise ConfigError(
            f"`kubeflow.project` must not be in the home folder, got {section.project}",
            where=where,
            next_step="keep the project in the image, or beside the home on the volume",
        )
    _check_paths(config)
    _check_workers(config)


def check_output(output: Path) -> None:
    """Raises ConfigError for a file name that Kubeflow's client does not accept."""
    if output.suffix not in (".yaml", ".yml"):
        better = output / "pipeline.yaml" if output.is_dir() else output.with_suffix(".yaml")
        raise ConfigError(
            f"the package must be a .yaml file, got {output.name or output}",
            where=output,
            next_step=f"--output {shlex.quote(str(better))}",
        )


def check_nodes(nodes: Iterable[Any]) -> None:
    """Raises ConfigError for TFX nodes that compile, but do not run on open-source Kubeflow Pipelines.

    Args:
      nodes: `BaseNode`s of the pipeline.
    """
    from tfx.components import FileBasedExampleGen
    from tfx.dsl.components.common.resolver import Resolver

    for node in nodes:
        where = f"node {node.id}"
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", node.id):
            raise ConfigError(
                f"a node's id must be letters, digits and hyphens, got {node.id!r}",
                where=where,
                next_step=f"Argo accepts no other task names; .with_id({_argo_name(node.id)!r})",
            )
        if isinstance(node, Resolver):
            raise ConfigError(
                f"{node.id} is a Resolver, which the backend does not support",
                where=where,
                next_step="get the champion from ChampionResolver, which is an ordinary component",
            )
        if isinstance(node, FileBasedExampleGen):
            raise ConfigError(
                f"{node.id} resolves its files before the cache check, a step that the backend omits",
                where=where,
                next_step="use SpanExampleGen, which chooses its spans itself",
            )
        if node.exec_properties.get("module_file"):
            raise ConfigError(
                f"{node.id} is given a `module_file`, which TFX would package below the pipeline root",
                where=where,
                next_step="name the function by its import path (module.function), and put it into the image",
            )


def _check_paths(config: Config) -> None:
    """Refuses a path that is, in the container, outside of the project's folder and the volume."""
    if not config.schema_path.is_file():
        raise ConfigError(
            "the schema does not exist",
            where=config.schema_path,
            next_step="correct `schema`; `noria init` writes a draft from your data",
        )
    there = container_project.in_container(config)  # refuses other settings that are wrong there
    paths: dict[str, tuple[Any, str | Path]] = {"schema": (config.settings.get("schema"), there.schema_path)}
    source = there.data.source
    if isinstance(source, str) and not is_function(source) and not is_url(source):
        data = config.settings["data"]
        paths["data.source"] = (data["source"] if isinstance(data, dict) else data, source)
    volume = config.kubeflow.volume
    seen = [config.kubeflow.project, *([] if volume is None else [volume.mount])]
    places = f"the image's project folder ({seen[0]})" + (f" or the volume ({seen[1]})" if volume else "")
    for key, (given, path) in paths.items():
        found = PurePosixPath(os.path.normpath(path))
        if not any(found.is_relative_to(folder) for folder in seen):
            raise ConfigError(
                f"`{key}` is {given}, in the container {found}, which no task sees: it must be in {places}",
                where=config.path,
                next_step="put it into the project's folder and write it relative"
                + (f", or onto the volume below {seen[1]}" if volume else ""),
            )


def _check_workers(config: Config) -> None:
    """Refuses workers in other pods: they cannot read a task's artifacts, which are files in its pod."""
    args = [("beam.args", config.beam.args)]
    args += [(f"beam.per_component.{name}", given) for name, given in config.beam.per_component.items()]
    for key, given in args:
        runner = execution.remote_runner(given)
        if runner is not None:
            raise ConfigError(
                f"`{key}` names the runner {runner}, whose workers cannot read the artifacts: they are files of the "
                "task's own pod",
                where=config.path,
                next_step="remove `--runner`, and give the task more cores and memory: `kubeflow.per_task`. Workers "
                "that see the home's folder work with `noria run`",
            )
    variables = settings_of(config.kubeflow, "Trainer").env or {}
    several, workers = config.trainer.strategy == "multi_worker", config.kubeflow.workers is not None
    if workers and not several:
        raise ConfigError(
            f"`kubeflow.workers` needs `trainer.strategy: multi_worker`, got {config.trainer.strategy}",
            where=config.path,
            next_step="set the strategy, or remove `kubeflow.workers`",
        )
    if several and not workers and "TF_CONFIG" not in variables:
        raise ConfigError(
            "`trainer.strategy: multi_worker` needs a description of the cluster, and a Kubeflow task has none",
            where=config.path,
            next_step="set `kubeflow.workers`, which starts a TrainJob of Kubeflow Trainer; for the GPUs of one "
            "machine set `trainer.strategy: mirrored` and `kubeflow.per_task.Trainer.gpu`",
        )


def _tasks(section: Kubeflow) -> dict[str, Task]:
    """The settings of all tasks and those of single ones, by their key in the section."""
    return {"tasks": section.tasks, **{f"per_task.{name}": task for name, task in section.per_task.items()}}


def _argo_name(node_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node_id).strip("-") or "node"
