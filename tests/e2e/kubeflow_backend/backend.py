"""A model of Kubeflow Pipelines: what its API server, Argo, driver and launcher do with a compiled package.

Read from the sources of kubeflow/pipelines and argo-workflows, in our own words; one module for each rule, with its
source: `graph` (what may start), `retries`, `release` (what differs between releases), `cel` (conditions), `launcher`
and `storage` (artifacts), `memory` (limits), `eviction` (lost pods), `pod_user` (user and network), `pod_spec` (what
makes a pod). Here are the API server's checks and the driver.

Not modelled: loops, importers, parameters as outputs, which are never compiled.
"""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import re
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.helpers import ROOT

from . import cel, graph, pod_spec, pod_user, retries
from .eviction import Eviction
from .graph import CACHED, FAILED, OMITTED, SKIPPED, SUCCEEDED
from .launcher import TaskFailed, launch
from .release import V2_16, Release
from .storage import ObjectStore, Records, local_path

LAUNCHER_ROOT = (
    "minio://mlpipeline/v2/artifacts"  # of `kfp-launcher`, where neither run nor package names one
)


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
      attempts: task -> how often its container ran.
    """

    run_id: str
    states: dict[str, str] = dataclasses.field(default_factory=dict)
    outputs: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    logs: dict[str, str] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    attempts: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def state(self) -> str:
        """SUCCEEDED or FAILED, as the API says; a task that was skipped or omitted is not a failure."""
        return "FAILED" if FAILED in self.states.values() else "SUCCEEDED"

    def named(self, state: str) -> set[str]:
        """The tasks that ended so."""
        return {name for name, each in self.states.items() if each == state}


class Backend:
    """A cluster in a folder.

    Args:
      folder: for the object store.
      volumes: claim -> the folder that represents it; a task sees it where the platform document mounts it, which
        must be the same path, and only then.
      secrets: name -> key -> value.
      release: of Kubeflow Pipelines.
      evictions: task -> what happens to its first pod.
      image: the folders that the image holds beside Python and Noria. The tasks then have the user and the network of
        a pod (`pod_user`, which needs root). None: they have this process's.
    """

    def __init__(
        self,
        folder: Path,
        volumes: dict[str, Path] | None = None,
        secrets: dict[str, dict[str, str]] | None = None,
        release: Release = V2_16,
        evictions: dict[str, Eviction] | None = None,
        image: Sequence[Path] | None = None,
    ):
        self.store = ObjectStore(folder)
        self.records = Records()
        self.volumes = volumes or {}
        self.secrets = secrets or {}
        self.release = release
        self.evictions = evictions or {}
        self.reach = None if image is None else [str(each) for each in (ROOT, *image, *self.volumes.values())]
        self._cache: dict[str, dict[str, dict[str, Any]]] = {}

    def run(
        self,
        package: Path,
        pipeline_root: str | None = None,
        run_id: str | None = None,
        forked: bool = False,
    ) -> Run:
        """Runs a package to its end.

        Args:
          package: the compiled file.
          pipeline_root: of the run; None for the package's, or else the namespace's.
          run_id: of a run whose whole DAG is run again, as Argo does after a lost pod where the workflow defaults
            have a retry strategy; None for a new run.

        Raises:
          Refused: the package is none that the API server takes.
        """
        spec, platform = admit(package)
        run = Run(run_id or str(uuid.uuid4()))
        for folder in self.volumes.values() if self.reach is not None else ():
            pod_user.give(folder)
        chosen = pipeline_root or spec.get("defaultPipelineRoot") or LAUNCHER_ROOT
        root = f"{chosen}/{spec['pipelineInfo']['name']}/{run.run_id}"
        tasks, exits = graph.flattened(spec)
        waiting = {name: graph.dependencies(task) for name, task in tasks.items()}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running: dict[concurrent.futures.Future, str] = {}
            while waiting or running:
                start, never = graph.ready(waiting, run.states)
                for name in [*start, *never]:
                    del waiting[name]
                run.states |= dict.fromkeys(never, OMITTED)
                for name in start:
                    task = _Task(name, tasks[name], spec, platform, root)
                    running[pool.submit(self._drive, task, run, forked)] = name
                if running:
                    done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        run.states[running.pop(future)] = future.result()
        for name, task in exits.items():
            run.states[name] = self._drive(_Task(name, task, spec, platform, root), run, forked)
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
        elapsed = 0.0  # Argo's clock: the attempts take their time, the pauses between them are not slept
        for attempt in itertools.count(1):
            run.attempts[task.name], began = attempt, time.monotonic()
            try:
                outputs, log = launch(
                    request,
                    task.container,
                    self.store,
                    self.records,
                    _environment(task, self.secrets),
                    attempt - 1,
                    self.release,
                    forked,
                    self.evictions.get(task.name) if attempt == 1 else None,
                    self.reach,
                )
            except TaskFailed as error:
                run.logs[task.name] = error.log
                elapsed += time.monotonic() - began
                policy = task.spec.get("retryPolicy")
                if task.inside and not self.release.retries_inside:
                    policy = None
                next_try = retries.decide(policy, self.release, error.phase, attempt, elapsed)
                if next_try.wait is None:
                    return FAILED
                elapsed += next_try.wait
                continue
            run.outputs[task.name], run.logs[task.name] = outputs, log
            if key is not None:
                self._cache[key] = outputs
            return SUCCEEDED
        raise AssertionError("unreachable")


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
    tasks, exits = graph.flattened(spec)
    for name, task in {**spec["root"]["dag"]["tasks"], **tasks}.items():
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", name):
            raise Refused(f"{name}: Argo takes no such task name")
        component = spec["components"].get(task["componentRef"]["name"])
        if component is None:
            raise Refused(f"component spec for {name} not found")
        if "dag" in component:
            continue
        kind = deployment.executors[component["executorLabel"]].WhichOneof("spec")
        if kind != "container":
            raise Refused(f"{kind} executors not implemented")
        for producer in graph.dependencies(task):
            if name not in exits and producer not in tasks:
                raise Refused(f"unknown producer task {producer}")
    configs = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platforms else {}
    for label, config in configs.items():
        own = spec["deploymentSpec"]["executors"].get(label, {}).get("container", {}).get("env", [])
        for problem in pod_spec.problems(config, {each["name"]: each["value"] for each in own}):
            raise Refused(problem)
        json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    return spec, configs


class _Task:
    """One task with what belongs to it."""

    def __init__(
        self, name: str, spec: dict[str, Any], pipeline: dict[str, Any], platform: dict[str, Any], root: str
    ):
        self.name, self.spec, self.pipeline_root = name, spec, root
        self.inside = name not in pipeline["root"]["dag"]["tasks"]
        self.component = pipeline["components"][spec["componentRef"]["name"]]
        label = self.component["executorLabel"]
        self.container = pipeline["deploymentSpec"]["executors"][label]["container"]
        self.platform = platform.get(label, {})


def _check_mounts(task: _Task, volumes: dict[str, Path]) -> None:
    """Volumes are at their mount paths; a task must not get a folder that it does not mount."""
    mounts = {mount["constant"]: mount["mountPath"] for mount in task.platform.get("pvcMount", [])}
    command = json.dumps(task.container)
    for claim, folder in volumes.items():
        assert mounts.get(claim, str(folder)) == str(folder), f"{claim} cannot be mounted at {mounts[claim]}"
        assert claim in mounts or str(folder) not in command, f"{task.name} does not mount {claim}"


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


def _environment(task: _Task, secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """The container's own variables, and those from Secrets."""
    own = {each["name"]: each["value"] for each in task.container.get("env", [])}
    given = {
        pair["envVar"]: secrets[secret["secretName"]][pair["secretKey"]]
        for secret in task.platform.get("secretAsEnv", [])
        for pair in secret["keyToEnv"]
    }
    assert not [name for name in {**own, **given} if name.startswith("KFP_")]
    return {**own, **given}
