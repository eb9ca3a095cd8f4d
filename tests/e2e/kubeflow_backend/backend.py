"""A model of Kubeflow Pipelines 2.16: what its API server, Argo, driver and launcher do with a compiled package.

Read from `backend/src/v2` of kubeflow/pipelines 2.16.1, in our own words. What it keeps to, because TFX breaks on
it: inputs arrive without a type, each task is asked for an extra output `executor-logs`, artifacts are at
`s3://` with an empty local file system per task, conditions are CEL over the driver's view of the inputs, a
task whose upstream did not succeed is left out, and only `output_metadata.json` says what came out.

What it leaves out: DAGs in DAGs, loops, importers, exit handlers, parameters as outputs. None of them is compiled.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import re
import uuid
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from . import cel
from .launcher import TaskFailed, launch
from .storage import ObjectStore, Records, local_path

SUCCEEDED, FAILED, SKIPPED, OMITTED, CACHED = "Succeeded", "Failed", "Skipped", "Omitted", "Cached"


class Refused(Exception):
    """The API server does not take the package."""


@dataclasses.dataclass
class Run:
    """One run.

    Attributes:
      run_id: the run.
      states: task -> how it ended.
      outputs: task -> output -> the recorded artifact.
      logs: task -> what it wrote.
      requests: task -> the ExecutorInput of its driver.
    """

    run_id: str
    states: dict[str, str] = dataclasses.field(default_factory=dict)
    outputs: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    logs: dict[str, str] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def state(self) -> str:
        """SUCCEEDED or FAILED, as the API says; a task that was skipped or left out is no failure."""
        return "FAILED" if FAILED in self.states.values() else "SUCCEEDED"

    def named(self, state: str) -> set[str]:
        """The tasks that ended so."""
        return {name for name, each in self.states.items() if each == state}


class Backend:
    """A cluster in a folder.

    Args:
      folder: for the object store.
      volumes: claim -> the folder that stands for it; a task sees it where the platform document mounts it, which
        must be the same path, and only then.
      secrets: name -> key -> value.
    """

    def __init__(
        self,
        folder: Path,
        volumes: dict[str, Path] | None = None,
        secrets: dict[str, dict[str, str]] | None = None,
    ):
        self.store = ObjectStore(folder)
        self.records = Records()
        self.volumes = volumes or {}
        self.secrets = secrets or {}
        self._cache: dict[str, dict[str, dict[str, Any]]] = {}

    def run(self, package: Path, pipeline_root: str | None = None, forked: bool = False) -> Run:
        """Runs a package to its end; `forked`: its tasks are forks of a process that has imported TFX.

        Raises:
          Refused: the package is none that the API server takes.
        """
        spec, platform = admit(package)
        run = Run(str(uuid.uuid4()))
        root = f"{pipeline_root or spec['defaultPipelineRoot']}/{spec['pipelineInfo']['name']}/{run.run_id}"
        tasks = spec["root"]["dag"]["tasks"]
        waiting = {name: _dependencies(task) for name, task in tasks.items()}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running: dict[concurrent.futures.Future, str] = {}
            while waiting or running:
                for name in sorted(name for name, needed in waiting.items() if needed <= run.states.keys()):
                    needed = waiting.pop(name)
                    # Argo's `A.Succeeded && B.Succeeded`: a task that was skipped has not succeeded.
                    if all(run.states[each] in (SUCCEEDED, CACHED) for each in needed):
                        task = _Task(name, tasks[name], spec, platform, root)
                        running[pool.submit(self._drive, task, run, forked)] = name
                    else:
                        run.states[name] = OMITTED
                if running:
                    done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        run.states[running.pop(future)] = future.result()
        return run

    def _drive(self, task: "_Task", run: Run, forked: bool) -> str:
        """The driver (`driver/container.go`), then the launcher, again as often as the retry policy says."""
        request: dict[str, Any] = {"inputs": _inputs(task, run)}
        condition = task.spec.get("triggerPolicy", {}).get("condition")
        try:
            if condition and not cel.evaluate(condition, {"inputs": request["inputs"]}):
                return SKIPPED
        except cel.CelError as error:
            run.logs[task.name] = f"driver: {error} in {condition}"
            return FAILED
        request["outputs"] = _outputs(task)
        _check_mounts(task, self.volumes)
        run.requests[task.name] = request
        key = None
        if task.spec.get("cachingOptions", {}).get("enableCache"):
            key = _fingerprint(task, request)
            if key in self._cache:
                run.outputs[task.name] = self._cache[key]
                return CACHED
        for _ in range(1 + task.spec.get("retryPolicy", {}).get("maxRetryCount", 0)):
            try:
                env = _secret_env(task, self.secrets)
                outputs, log = launch(request, task.container, self.store, self.records, env, forked)
            except TaskFailed as error:
                run.logs[task.name] = error.log
                continue
            run.outputs[task.name], run.logs[task.name] = outputs, log
            if key is not None:
                self._cache[key] = outputs
            return SUCCEEDED
        return FAILED


def admit(package: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the API server and the compiler to Argo check: (pipeline, platform configuration by executor).

    Raises:
      Refused: with the backend's reason.
    """
    documents = list(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    pipelines = [each for each in documents if "platforms" not in each]
    platforms = [each for each in documents if "platforms" in each]
    if len(pipelines) != 1 or len(platforms) > 1:
        raise Refused("a package is one pipeline document and at most one platform document")
    spec = pipelines[0]
    parsed = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(spec, parsed)
    if parsed.schema_version != "2.1.0":
        raise Refused(f"unsupported schema version {parsed.schema_version}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", parsed.pipeline_info.name):
        raise Refused(f"invalid pipeline name {parsed.pipeline_info.name}")
    deployment = pipeline_spec_pb2.PipelineDeploymentConfig()
    json_format.ParseDict(spec["deploymentSpec"], deployment)
    for name, task in spec["root"]["dag"]["tasks"].items():
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", name):
            raise Refused(f"{name}: Argo takes no such task name")
        component = spec["components"].get(task["componentRef"]["name"])
        if component is None:
            raise Refused(f"component spec for {name} not found")
        kind = deployment.executors[component["executorLabel"]].WhichOneof("spec")
        if kind != "container":
            raise Refused(f"{kind} executors not implemented")
        for producer in _dependencies(task):
            if producer not in spec["root"]["dag"]["tasks"]:
                raise Refused(f"unknown producer task {producer}")
    configs = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
    for config in configs.values():
        json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    return spec, configs


class _Task:
    """One task with what belongs to it."""

    def __init__(
        self, name: str, spec: dict[str, Any], pipeline: dict[str, Any], platform: dict[str, Any], root: str
    ):
        self.name, self.spec, self.pipeline_root = name, spec, root
        self.component = pipeline["components"][spec["componentRef"]["name"]]
        label = self.component["executorLabel"]
        self.container = pipeline["deploymentSpec"]["executors"][label]["container"]
        self.platform = platform.get(label, {})


def _check_mounts(task: _Task, volumes: dict[str, Path]) -> None:
    """Volumes stand where they are mounted; a task must not be told of a folder that it does not mount."""
    mounts = {mount["constant"]: mount["mountPath"] for mount in task.platform.get("pvcMount", [])}
    command = json.dumps(task.container)
    for claim, folder in volumes.items():
        assert mounts.get(claim, str(folder)) == str(folder), f"{claim} cannot be mounted at {mounts[claim]}"
        assert claim in mounts or str(folder) not in command, f"{task.name} does not mount {claim}"


def _dependencies(task: dict[str, Any]) -> set[str]:
    """`dependentTasks`, and those that the inputs imply (`addImplicitDependencies`)."""
    inputs = task.get("inputs", {}).get("artifacts", {}).values()
    return {*task.get("dependentTasks", []), *(each["taskOutputArtifact"]["producerTask"] for each in inputs)}


def _inputs(task: _Task, run: Run) -> dict[str, Any]:
    given = task.spec.get("inputs", {})
    parameters = {}
    for name, each in given.get("parameters", {}).items():
        value = each["runtimeValue"]["constant"]
        # A placeholder counts only where it is the whole value.
        meant = {"{{$.pipeline_job_uuid}}": run.run_id, "{{$.pipeline_task_name}}": task.name}
        parameters[name] = meant.get(value, value) if isinstance(value, str) else value
    artifacts = {}
    for name, each in given.get("artifacts", {}).items():
        source = each["taskOutputArtifact"]
        artifacts[name] = {"artifacts": [run.outputs[source["producerTask"]][source["outputArtifactKey"]]]}
    return {"parameterValues": parameters, "artifacts": artifacts}


def _outputs(task: _Task) -> dict[str, Any]:
    """`provisionOutputs`, with the logs of the task as one more output."""
    place = f"{task.pipeline_root}/{task.name}/{uuid.uuid4()}"
    wanted = {
        **task.component.get("outputDefinitions", {}).get("artifacts", {}),
        "executor-logs": {"artifactType": {"schemaTitle": "system.Artifact"}},
    }
    artifacts = {
        name: {
            "artifacts": [
                {
                    "name": name,
                    "uri": f"{place}/{name}",
                    "type": each["artifactType"],
                    "metadata": each.get("metadata", {}),
                }
            ]
        }
        for name, each in wanted.items()
    }
    return {"artifacts": artifacts, "outputFile": f"{local_path(place, Path('/'))}/output_metadata.json"}


def _fingerprint(task: _Task, request: dict[str, Any]) -> str:
    """The cache key: names of inputs, values of parameters, kinds of outputs, command, image, claims."""
    parts = [
        {name: each["artifacts"][0]["name"] for name, each in request["inputs"]["artifacts"].items()},
        request["inputs"]["parameterValues"],
        {name: each["artifacts"][0]["type"] for name, each in request["outputs"]["artifacts"].items()},
        [*task.container.get("command", []), *task.container.get("args", [])],
        task.container["image"],
        sorted(mount["constant"] for mount in task.platform.get("pvcMount", [])),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _secret_env(task: _Task, secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    return {
        pair["envVar"]: secrets[secret["secretName"]][pair["secretKey"]]
        for secret in task.platform.get("secretAsEnv", [])
        for pair in secret["keyToEnv"]
    }
