"""What the cluster would refuse, or fail on hours later, refused at compile time with the reason.

The reasons are those of Kubeflow Pipelines 2.x on Argo and of TFX's compiler; docs/kubeflow.md lists them.
"""

import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from noria.pipeline.config import Config
from noria.pipeline.kubeflow import place, tasks
from noria.pipeline.sections import FLIGHTS, is_function
from noria.stores.errors import ConfigError, LaneError

_SCHEMES = ("s3://", "minio://", "gs://")


def check_installed() -> None:
    """Raises LaneError where Kubeflow's packages are not installed, or cannot be."""
    if sys.version_info >= (3, 12):
        raise LaneError(
            f"TFX's Kubeflow part needs Python 3.10 or 3.11, this is {sys.version_info[0]}.{sys.version_info[1]}",
            where=sys.executable,
            next_step="make an environment with Python 3.11 and `pip install 'noria[kubeflow]'` there",
        )
    for package in ("kfp", "kfp.kubernetes"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise LaneError(
                f"the package {package.replace('.', '-')} is not installed",
                where=sys.prefix,
                next_step="pip install 'noria[kubeflow]'",
            )


def check_config(config: Config) -> None:
    """Raises ConfigError for settings that cannot work in a cluster."""
    section = config.kubeflow
    where = f"{config.path}, section kubeflow"
    check_root(section.pipeline_root, where)
    if section.volume is None:
        raise ConfigError(
            "there is no volume: span store and registry would be gone with each task's container",
            where=where,
            next_step="set `kubeflow.volume: {claim: NAME}` to a PersistentVolumeClaim; deploy/ has one",
        )
    mount = PurePosixPath(section.volume.mount)
    if not PurePosixPath(section.home).is_relative_to(mount):
        raise ConfigError(
            f"`kubeflow.home` must lie on the volume, below {mount}, got {section.home}",
            where=where,
            next_step=f"set `kubeflow.home: {mount}/home`, or `kubeflow.volume.mount` to a folder above it",
        )
    if PurePosixPath(section.project).is_relative_to(section.home):
        raise ConfigError(
            f"`kubeflow.project` must not lie in the home folder, got {section.project}",
            where=where,
            next_step="keep the project in the image, or beside the home on the volume",
        )
    _check_paths(config)
    _check_caching(config)


def check_root(root: str, where: str) -> None:
    """Raises ConfigError for a pipeline root that the launcher has no folder for."""
    if not root.startswith(_SCHEMES):
        raise ConfigError(
            f"the pipeline root must start with {', '.join(_SCHEMES)}, got {root!r}",
            where=where,
            next_step="Kubeflow's launcher copies artifacts to and from these only",
        )


def check_output(output: Path) -> None:
    """Raises ConfigError for a file name that Kubeflow's client does not take."""
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"the package must be a .yaml file, got {output.name}",
            where=output,
            next_step=f"noria compile --output {output.with_suffix('.yaml').name}",
        )


def check_nodes(nodes: Iterable[Any], exit_handler: Any | None = None) -> None:
    """Raises ConfigError for TFX nodes that compile, but do not run on open-source Kubeflow Pipelines.

    Args:
      nodes: `BaseNode`s of the pipeline.
      exit_handler: a node that runs after all others.
    """
    from tfx.components import FileBasedExampleGen
    from tfx.dsl.components.common.resolver import Resolver
    from tfx.orchestration.data_types import RuntimeParameter

    nodes = list(nodes)
    for node in [*nodes, *([exit_handler] if exit_handler is not None else [])]:
        where = f"node {node.id}"
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", node.id):
            raise ConfigError(
                f"a node's id must be letters, digits and hyphens, got {node.id!r}",
                where=where,
                next_step=f"Argo takes no other task names; .with_id({_argo_name(node.id)!r})",
            )
        if isinstance(node, Resolver):
            raise ConfigError(
                f"{node.id} is a Resolver, and the backend has none",
                where=where,
                next_step="bring the champion with ChampionResolver, which is an ordinary component",
            )
        if isinstance(node, FileBasedExampleGen):
            raise ConfigError(
                f"{node.id} resolves its files before the cache check, a step that the backend leaves out",
                where=where,
                next_step="use SpanExampleGen, which picks its spans itself",
            )
        if node.exec_properties.get("module_file"):
            raise ConfigError(
                f"{node.id} is given a `module_file`, which TFX would build a wheel of below the pipeline root",
                where=where,
                next_step="name the function by its import path (module.function), and put it into the image",
            )
    parameters = [
        (node.id, name)
        for node in nodes
        for name, value in node.exec_properties.items()
        if isinstance(value, RuntimeParameter)
    ]
    if exit_handler is not None and parameters:
        node_id, name = parameters[0]
        raise ConfigError(
            "an exit handler and runtime parameters do not go together: the graph that wraps the tasks gets none",
            where=f"exit handler {exit_handler.id}, parameter {name} of {node_id}",
            next_step="compile the value in, or do without the exit handler",
        )


def _check_paths(config: Config) -> None:
    """An absolute path outside of the project and the volume is on this machine only."""
    if not config.schema_path.is_file():
        raise ConfigError(
            "the schema is not there",
            where=config.schema_path,
            next_step="correct `schema`; `noria init` writes a draft from your data",
        )
    given = {"schema": config.settings.get("schema")}
    data = config.settings.get("data")
    source = data.get("source") if isinstance(data, dict) else data
    if source is not None and source != FLIGHTS and not is_function(source):
        given["data.source"] = source
    assert config.kubeflow.volume is not None
    seen = [PurePosixPath(config.kubeflow.project), PurePosixPath(config.kubeflow.volume.mount)]
    for key, value in given.items():
        path = PurePosixPath(value) if value is not None else None
        if path is None or not (path.is_absolute() or str(path).startswith("~")):
            continue
        if not any(path.is_relative_to(folder) for folder in seen):
            raise ConfigError(
                f"`{key}` is {value}, which no task sees: neither the image's project folder nor the volume holds it",
                where=config.path,
                next_step=f"put it into the project's folder and write it relative, or onto the volume below {seen[1]}",
            )
    place.in_container(config)  # whatever else does not hold there


def _check_caching(config: Config) -> None:
    section = config.kubeflow
    if section.tasks.cache:
        raise ConfigError(
            "`kubeflow.tasks.cache` cannot be true for all: for most tasks a hit would be a lie",
            where=f"{config.path}, section kubeflow",
            next_step="name single tasks under `kubeflow.per_task`: Transform, Trainer or Evaluator",
        )
    for name, task in section.per_task.items():
        if task.cache and name in tasks.NEVER_CACHED:
            raise ConfigError(
                f"`kubeflow.per_task.{name}.cache` cannot be true: {tasks.NEVER_CACHED[name]}",
                where=f"{config.path}, section kubeflow",
                next_step="leave `cache` out there; Transform, Trainer and Evaluator may be cached",
            )


def _argo_name(node_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node_id).strip("-") or "node"
