"""The launcher: fetches inputs, runs the container's command, collects outputs (`component/launcher_v2.go`)."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from noria.pipeline.runners.kubeflow.container_project import COPY
from tests.helpers import preloaded

from . import memory, pod_user
from .eviction import Eviction, evicted
from .release import Release
from .retries import Phase
from .storage import ObjectStore, Records, StoreRefused, local_path

TASK_SECONDS = 600


class TaskFailed(Exception):
    """The container's command failed (`Failed`), or its pod was lost (`Error`); `log` is what it wrote."""

    def __init__(self, what: str, log: str, phase: Phase = "Failed"):
        super().__init__(f"{what}\n{log[-4000:]}")
        self.log, self.phase = log, phase


def launch(
    executor_input: dict[str, Any],
    container: dict[str, Any],
    store: ObjectStore,
    records: Records,
    env: dict[str, str],
    attempt: int,
    release: Release,
    forked: bool = False,
    eviction: Eviction | None = None,
    reach: Sequence[str] | None = None,
) -> tuple[dict[str, dict[str, Any]], str]:
    """Runs one task in a fresh local file system.

    Args:
      executor_input: as the driver made it.
      container: `image`, `command` and `args` of the compiled pipeline.
      store: where inputs come from and outputs go to.
      records: gets the outputs.
      env: variables of the container besides this machine's.
      attempt: from 0; each has its own log.
      release: of Kubeflow Pipelines.
      forked: the process is forked from one that has imported TFX.
      eviction: of this attempt's pod.
      reach: the process has the user and the network of a pod, and reaches these folders beside its own.

    Returns:
      The recorded outputs by name, and the task's log.

    Raises:
      TaskFailed: the command ended with another exit code than 0, was killed for its memory or with its pod, or the
        store refuses what it wrote.
    """
    request = copy.deepcopy(executor_input)
    outputs = request["outputs"]["artifacts"]
    if "executor-logs" in outputs:
        outputs["executor-logs"]["artifacts"][0]["uri"] += f"-{attempt}"  # qualifyExecutorLogsURI
    with tempfile.TemporaryDirectory(prefix="pod-") as pod:
        root = Path(pod) / "root"
        for name, found in request["inputs"].get("artifacts", {}).items():
            for artifact in found["artifacts"]:
                place = local_path(artifact["uri"], root)
                assert place is not None, f"input {name} has no known scheme: {artifact['uri']}"
                store.download(artifact["uri"], place)
        for found in outputs.values():
            place = local_path(found["artifacts"][0]["uri"], root)
            assert place is not None
            place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(pod) / "work"
        work.mkdir()
        filled = _filled([*container.get("command", []), *container.get("args", [])], request)
        # Each container has its own `/tmp`.
        command = [argument.replace(COPY, f"{pod}{COPY}") for argument in filled]
        environment = _environment(Path(pod), root, env)
        written = Path(pod) / "log"
        written.touch()
        if reach is not None:
            Path(pod).chmod(0o755)
            pod_user.give(Path(pod))
            reach = [*reach, pod]
        pid, wait = _start(command, work, environment, written, forked, reach)
        with memory.limited(pid, memory.limit(container)) as full, evicted(pid, eviction) as lost:
            code = wait()
        log = written.read_text("utf-8", "replace")
        if eviction is not None and lost.is_set() and code:  # with its pod: the launcher has uploaded nothing
            raise TaskFailed("pod deleted" if eviction.phase == "Error" else "Evicted", log, eviction.phase)
        if "executor-logs" in outputs:
            log_file = local_path(outputs["executor-logs"]["artifacts"][0]["uri"], root)
            assert log_file is not None
            log_file.write_text(log, encoding="utf-8")
        if full.is_set():
            said = f"OOMKilled (exit code {memory.KILLED})"
            raise TaskFailed(said, f"{log}\n{said}")
        if code:
            raise TaskFailed(f"exit code {code}", log)
        try:
            return _collect(request, root, store, records, release), log
        except StoreRefused as error:  # after our process, which ended well (`uploadOutputArtifacts`)
            said = f"failed to execute component: failed to upload output artifact: {error}"
            raise TaskFailed(said, f"{log}\n{said}") from None


def _start(
    command: list[str],
    work: Path,
    env: dict[str, str],
    log: Path,
    forked: bool,
    reach: Sequence[str] | None,
) -> tuple[int, Callable[[], int]]:
    """Starts the container's process; its id, and a function that waits for its exit code."""
    if forked:
        first = None if reach is None else partial(pod_user.enter, reach)
        process = preloaded.start(command, work, env, str(log), first=first)

        def wait() -> int:
            process.join(TASK_SECONDS)
            if process.exitcode is None:
                process.kill()
                raise subprocess.TimeoutExpired(command, TASK_SECONDS)
            return process.exitcode

        assert process.pid is not None
        return process.pid, wait
    if reach is not None:
        command = [sys.executable, pod_user.__file__, *reach, "--", *command]
    with log.open("wb") as file:
        started = subprocess.Popen(command, cwd=work, env=env, stdout=file, stderr=subprocess.STDOUT)

    def ended() -> int:
        try:
            return started.wait(TASK_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise

    return started.pid, ended


def _collect(
    request: dict[str, Any], root: Path, store: ObjectStore, records: Records, release: Release
) -> dict[str, dict[str, Any]]:
    """Only what `output_metadata.json` says counts; a missing file is a warning, or an error after 2.18."""
    file = root / request["outputs"]["outputFile"].lstrip("/")
    written: dict[str, Any] = {}
    if file.exists():
        text = file.read_text(encoding="utf-8")
        json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())  # an unknown field is an error
        written = json.loads(text).get("artifacts", {})
    recorded = {}
    for name, found in request["outputs"]["artifacts"].items():
        artifact = found["artifacts"][0]
        if name != "executor-logs" and written.get(name, {}).get("artifacts"):
            said = written[name]["artifacts"][0]
            artifact["uri"] = said.get("uri") or artifact["uri"]
            artifact["metadata"] = {**artifact.get("metadata", {}), **said.get("metadata", {})}
        curves = artifact["type"].get("schemaTitle") == "system.ClassificationMetrics"
        if curves and release.refuses_empty_curves and not artifact.get("metadata"):
            said = (
                f"failed to flush artifacts before propagation: No metric or metadata was found for {name!r}"
            )
            raise TaskFailed(said, said)
        place = local_path(artifact["uri"], root)
        if place is not None:  # another scheme: "Skipping uploading to remote storage", a warning
            there = store.upload(place, artifact["uri"])
            if not there and release.refuses_missing_outputs:
                said = f"declared output artifact {name!r} is missing at {place}"
                raise TaskFailed(said, said)
        recorded[name] = records.record(name, artifact)
    return recorded


def _filled(command: list[str], request: dict[str, Any]) -> list[str]:
    """The command line with its placeholders filled in (`compileCmdAndArgs`)."""
    text = json.dumps(request)
    values = {
        f"{{{{$.inputs.parameters['{name}']}}}}": value if isinstance(value, str) else json.dumps(value)
        for name, value in request["inputs"].get("parameterValues", {}).items()
    }
    filled = []
    for argument in command:
        argument = argument.replace("{{$}}", text)
        for placeholder, value in values.items():
            argument = argument.replace(placeholder, value)
        filled.append(argument)
    return filled


def _environment(pod: Path, root: Path, env: dict[str, str]) -> dict[str, str]:
    """A container's: this machine's interpreter, and nothing else of the caller's project or home."""
    home = pod / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PWD", "OLDPWD")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    assert shutil.which("python", path=path)
    return {
        **kept,
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(pod),
        "KFP_POD_NAME": pod.name,
        "NORIA_KUBEFLOW_MIRROR": str(root),
        "NORIA_KUBEFLOW_COPY": f"{pod}{COPY}",
        **env,
    }
