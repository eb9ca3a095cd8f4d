"""Converts artifacts and arguments between Kubeflow's launcher and TFX. Plain JSON: no kfp here.

The launcher downloads inputs from the object store to local folders (`s3://bucket/key` to `/s3/bucket/key`), and
uploads from there what a task wrote. TFX sees these folders only, so that any object
store works: neither TensorFlow nor Beam needs to know its scheme.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tfx import types
from tfx.types import artifact as tfx_artifact
from tfx.types import standard_artifacts

from noria.components import types as noria_types
from noria.core.errors import ConfigError
from noria.pipeline.config.kubeflow import MIRRORS
from noria.pipeline.runners.kubeflow.ui import Picture

LOGS = "executor-logs"  # the task's log, which the launcher itself writes


@dataclasses.dataclass(frozen=True)
class Mirror:
    """The launcher's local folders.

    Attributes:
      root: where they are; `/` in the cluster, another folder in tests (`NORIA_KUBEFLOW_MIRROR`).
    """

    root: Path = dataclasses.field(default_factory=lambda: Path(os.environ.get("NORIA_KUBEFLOW_MIRROR", "/")))

    def local(self, uri: str) -> str:
        """The local folder of a URI.

        Raises:
          ConfigError: the launcher has no folder for its scheme.
        """
        for scheme, folder in MIRRORS.items():
            if uri.startswith(scheme):
                return str(self.root / folder / uri[len(scheme) :])
        raise ConfigError(
            f"no task can read or write {uri!r}: Kubeflow's launcher copies {', '.join(MIRRORS)} only",
            where="the run's pipeline root",
            next_step="set `kubeflow.pipeline_root` to one of these and `noria submit`; a run that is started in the "
            "web interface needs such a pipeline root as well",
        )

    def path(self, path: str) -> Path:
        """A path that the launcher names, such as the outputs' file."""
        return self.root / path.lstrip("/")

    def remote(self, path: str) -> str:
        """The URI of a local folder; any other path is returned as it is."""
        for scheme, folder in MIRRORS.items():
            prefix = f"{self.root / folder}/"
            if path.startswith(prefix):
                return scheme + path[len(prefix) :]
        return path


@dataclasses.dataclass(frozen=True)
class Invocation:
    """The launcher's request to one task.

    Attributes:
      inputs, outputs: by name, each a list of one TFX artifact with a local URI.
      exec_properties: by name.
      pictures: outputs for the web interface (`ui.py`).
      output_file: where the launcher reads the outputs' metadata.
      project, run_id, task: names of the pipeline, its run and this task; '' where the outputs' URIs do not say.
    """

    inputs: dict[str, list[types.Artifact]]
    outputs: dict[str, list[types.Artifact]]
    exec_properties: dict[str, Any]
    pictures: list[Picture]
    output_file: Path
    project: str
    run_id: str
    task: str


def parse(executor_input: Mapping[str, Any], inputs_spec: Mapping[str, Any], mirror: Mirror) -> Invocation:
    """Reads the launcher's `ExecutorInput` and the component's `ComponentInputsSpec`, both as JSON objects.

    Inputs arrive without their type, so it is taken from the specification. Inputs that only a
    condition needs (their names start with an underscore) and `executor-logs` are dropped.
    """
    given, asked = executor_input.get("inputs", {}), executor_input.get("outputs", {})
    specified = inputs_spec.get("artifacts", {})
    inputs = {
        name: [_artifact(each, specified[name]["artifactType"], mirror) for each in found["artifacts"]]
        for name, found in given.get("artifacts", {}).items()
        if name in specified and not name.startswith("_")
    }
    outputs = {
        name: [_artifact(each, each["type"], mirror) for each in found["artifacts"]]
        for name, found in asked.get("artifacts", {}).items()
        if not _title(found["artifacts"][0].get("type", {})).startswith("system.")
    }
    pictures = [
        Picture(name, Path(mirror.local(found["artifacts"][0]["uri"])), found["artifacts"][0]["uri"])
        for name, found in asked.get("artifacts", {}).items()
        if name not in outputs and name != LOGS
    ]
    numbers = inputs_spec.get("parameters", {})
    properties = {
        name: int(value) if numbers.get(name, {}).get("parameterType") == "NUMBER_INTEGER" else value
        for name, value in given.get("parameterValues", {}).items()
    }
    project, run_id, task = "", "", ""
    if asked.get("artifacts"):
        # <pipeline root>/<pipeline>/<run id>/<task>/<attempt>/<output>
        first = next(iter(asked["artifacts"].values()))["artifacts"][0]["uri"]
        parts = first.split("/")
        if len(parts) > 4:
            project, run_id, task = parts[-5:-2]
    output_file = mirror.path(asked["outputFile"])
    return Invocation(inputs, outputs, properties, pictures, output_file, project, run_id, task)


def executor_output(outputs: Mapping[str, list[types.Artifact]], mirror: Mirror) -> dict[str, Any]:
    """The launcher's `ExecutorOutput`: the outputs' URIs and their properties, without nulls."""
    return {
        "artifacts": {
            name: {"artifacts": [_runtime_artifact(each, mirror) for each in artifacts]}
            for name, artifacts in outputs.items()
        }
    }


def _artifact(given: Mapping[str, Any], type_schema: Mapping[str, Any], mirror: Mirror) -> types.Artifact:
    artifact = artifact_class(_title(type_schema))()
    artifact.uri = mirror.local(given["uri"])
    for key, value in (given.get("metadata") or {}).items():
        if value is None:
            continue
        kind = (artifact.PROPERTIES or {}).get(key)
        if kind is not None:
            whole = kind.type == tfx_artifact.PropertyType.INT
            setattr(artifact, key, int(value) if whole else value)
            continue
        key = key.removeprefix(tfx_artifact.CUSTOM_PROPERTIES_PREFIX)
        if isinstance(value, str):
            artifact.set_string_custom_property(key, value)
        elif isinstance(value, (int, float)) and float(value).is_integer():
            artifact.set_int_custom_property(
                key, int(value)
            )  # JSON's numbers, and the backend's, are doubles
        elif isinstance(value, float):
            artifact.set_float_custom_property(key, value)
        else:
            artifact.set_json_value_custom_property(key, value)
    return artifact


def _runtime_artifact(artifact: types.Artifact, mirror: Mirror) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in artifact.PROPERTIES or {}:
        if artifact.mlmd_artifact.properties[name].WhichOneof("value"):
            values[name] = getattr(artifact, name)
    for name, value in artifact.mlmd_artifact.custom_properties.items():
        kind = value.WhichOneof("value")
        key = tfx_artifact.CUSTOM_PROPERTIES_PREFIX + name if name in values else name
        if kind == "struct_value":
            values[key] = artifact.get_json_value_custom_property(name)
        elif kind is not None:
            values[key] = getattr(value, kind)
    # A property may be the path of another artifact (the blessing's models), which is valid in this pod only.
    metadata = {key: mirror.remote(v) if isinstance(v, str) else v for key, v in values.items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return {"uri": mirror.remote(artifact.uri), "metadata": metadata}


def artifact_class(title: str) -> type[types.Artifact]:
    """The class of a type's title, `tfx.Model` say.

    Raises:
      ConfigError: neither TFX nor Noria has such a type.
    """
    namespace, _, name = title.partition(".")
    module = {"tfx": standard_artifacts, "noria": noria_types}.get(namespace)
    found = getattr(module, name, None)
    if found is None:
        raise ConfigError(
            f"there is no artifact type {title!r}",
            where="the compiled pipeline",
            next_step="compile with the same version of Noria as the image holds",
        )
    return found


def _title(type_schema: Mapping[str, Any]) -> str:
    if "schemaTitle" in type_schema:
        return type_schema["schemaTitle"]
    found = re.search(r"^title:\s*(\S+)", type_schema.get("instanceSchema", ""), re.MULTILINE)
    return (
        found[1] if found else str(yaml.safe_load(type_schema.get("instanceSchema") or "{}").get("title", ""))
    )
