"""The rules of the model, against cases that are plain from Argo's and Kubeflow's sources."""

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import pod_user
from .backend import Backend, Run
from .eviction import Eviction
from .graph import FAILED, OMITTED, SKIPPED, SUCCEEDED, ready
from .release import NEXT, V2_5, V2_16, V2_17, Release
from .retries import Phase, decide

POLICY = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0}
LONG = {**POLICY, "backoffMaxDuration": "86400s"}


@pytest.mark.parametrize(
    ("policy", "release", "phase", "attempts", "elapsed", "wait", "why"),
    [
        (POLICY, V2_5, "Failed", 1, 5.0, 30.0, ""),
        (POLICY, V2_16, "Failed", 1, 5.0, None, "Max duration limit exceeded"),
        (LONG, V2_16, "Failed", 1, 5.0, 30.0, ""),
        (LONG, V2_16, "Failed", 2, 40.0, 60.0, ""),
        (LONG, V2_16, "Failed", 3, 99.0, None, "No more retries left"),
        (LONG, V2_16, "Error", 1, 5.0, None, "Node not set to be retried"),
        (LONG, V2_17, "Error", 1, 5.0, 30.0, ""),
        (LONG, V2_17, "Failed", 1, 5.0, None, "Node not set to be retried"),
        ({**POLICY, "backoffMaxDuration": "30s"}, V2_16, "Failed", 1, 5.0, None, "Backoff would exceed"),
        (None, V2_16, "Failed", 1, 5.0, None, "no retry strategy"),
    ],
)
def test_retries(policy, release, phase, attempts, elapsed, wait, why) -> None:  # type: ignore[no-untyped-def]
    """Time from the first attempt on, kind of failure and number of attempts each end the retries."""
    found = decide(policy, release, phase, attempts, elapsed)
    assert wait == found.wait
    assert found.why.startswith(why)


def test_what_starts() -> None:
    """Behind a skipped task everything is omitted; after a failed one nothing starts."""
    waiting = {"B": {"A"}, "C": {"B"}}
    assert (["B"], []) == ready(waiting, {"A": SUCCEEDED})
    assert ([], ["B"]) == ready(waiting, {"A": SKIPPED})
    assert ([], ["B", "C"]) == ready({**waiting}, {"A": SUCCEEDED, "X": FAILED})


def package(folder: Path, *codes: str, **of_a_task: Any) -> Path:
    """A package of tasks that have Python code, each after the one before; keywords go into each task."""
    names = [f"T{number}" for number in range(len(codes))]
    container = {"image": "noria:1", "resources": {"memoryLimit": 0.2}}
    tasks = {
        name: {
            "componentRef": {"name": f"comp-{name}"},
            "taskInfo": {"name": name},
            "dependentTasks": names[max(0, number - 1) : number],
            **of_a_task,
        }
        for number, name in enumerate(names)
    }
    executors = {
        f"{name}_executor": {"container": {**container, "command": [sys.executable, "-c", code]}}
        for name, code in zip(names, codes, strict=True)
    }
    spec = {
        "pipelineInfo": {"name": "rules"},
        "schemaVersion": "2.1.0",
        "root": {"dag": {"tasks": tasks}},
        "components": {f"comp-{name}": {"executorLabel": f"{name}_executor"} for name in names},
        "deploymentSpec": {"executors": executors},
    }
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return file


def test_a_failed_task_ends_the_run(tmp_path: Path) -> None:
    """It is tried again as the policy says; what comes after it never starts."""
    made = package(tmp_path, "pass", "exit(3)", "pass", retryPolicy={**LONG, "backoffDuration": "0s"})
    run = Backend(tmp_path / "b").run(made)
    assert {"T0": SUCCEEDED, "T1": FAILED, "T2": OMITTED} == run.states
    assert 3 == run.attempts["T1"]


@pytest.mark.parametrize(("release", "attempts"), [(V2_5, 1), (V2_16, 3)])
def test_retries_of_an_inner_dag(tmp_path: Path, release: Release, attempts: int) -> None:
    """2.5 retries tasks of the root only; the exit handler has all of ours in an inner DAG."""
    made = package(tmp_path, "exit(3)", retryPolicy={**LONG, "backoffDuration": "0s"})
    spec = yaml.safe_load(made.read_text(encoding="utf-8"))
    spec["components"]["comp-Stages"] = {"dag": spec["root"]["dag"]}
    spec["root"] = {"dag": {"tasks": {"Stages": {"componentRef": {"name": "comp-Stages"}}}}}
    made.write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = Backend(tmp_path / "b", release=release).run(made)
    assert ({"T0": FAILED}, attempts) == (run.states, run.attempts["T0"])


@pytest.mark.parametrize(
    ("release", "metadata", "state"),
    [(V2_17, {}, "SUCCEEDED"), (NEXT, {}, "FAILED"), (NEXT, {"empty": "x"}, "SUCCEEDED")],
)
def test_empty_curves(tmp_path: Path, release: Release, metadata: dict[str, str], state: str) -> None:
    """After 2.18 the server takes no classification metrics without metadata."""
    code = (
        "import json, pathlib, sys; asked = json.loads(sys.argv[1])['outputs']\n"
        "root = pathlib.Path(__import__('os').environ['NORIA_KUBEFLOW_MIRROR'])\n"
        "uri = asked['artifacts']['curves']['artifacts'][0]['uri']\n"
        "(root / uri.replace('://', '/')).write_text('{}')\n"
        "out = root / asked['outputFile'].lstrip('/'); out.parent.mkdir(parents=True, exist_ok=True)\n"
        f"said = {{'artifacts': [{{'uri': uri, 'metadata': {metadata!r}}}]}}\n"
        "out.write_text(json.dumps({'artifacts': {'curves': said}}))"
    )
    made = package(tmp_path, code)
    spec = yaml.safe_load(made.read_text(encoding="utf-8"))
    kind = {"artifactType": {"schemaTitle": "system.ClassificationMetrics", "schemaVersion": "0.0.1"}}
    spec["components"]["comp-T0"]["outputDefinitions"] = {"artifacts": {"curves": kind}}
    spec["deploymentSpec"]["executors"]["T0_executor"]["container"]["args"] = ["{{$}}"]
    made.write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = Backend(tmp_path / "b", release=release).run(made)
    assert state == run.state, run.logs


def test_memory(tmp_path: Path) -> None:
    """A container that needs more than its limit is killed, itself or by a child; one below it is not."""
    much = "import time; held = b'x' * 400_000_000; time.sleep(60)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {much!r}])"
    for code in (much, child):
        run = Backend(tmp_path / "b").run(package(tmp_path, code))
        assert {"T0": FAILED} == run.states
        assert "OOMKilled (exit code 137)" in run.logs["T0"]
    assert "SUCCEEDED" == Backend(tmp_path / "b").run(package(tmp_path, "held = b'x' * 100_000_000")).state


@pytest.mark.parametrize(
    ("release", "phase", "state", "attempts"),
    [
        (V2_16, "Error", FAILED, 1),
        (V2_17, "Error", SUCCEEDED, 2),
        (V2_16, "Failed", SUCCEEDED, 2),
        (V2_17, "Failed", FAILED, 1),
    ],
)
def test_a_lost_pod(tmp_path: Path, release: Release, phase: Phase, state: str, attempts: int) -> None:
    """SIGTERM, then SIGKILL for one that does not end; 2.17 starts a pod again that was deleted, earlier releases one
    that the kubelet has ended."""
    mark = tmp_path / "mark"
    stubborn = (
        f"import pathlib, signal, time; mark = pathlib.Path({str(mark)!r}); again = mark.exists()\n"
        "signal.signal(signal.SIGTERM, lambda *_: mark.write_text('told')); mark.touch()\n"
        "while not again: time.sleep(0.05)"
    )
    plan = Eviction(mark.exists, grace=2.0, phase=phase)
    backend = Backend(tmp_path / "b", release=release, evictions={"T0": plan})
    run = backend.run(package(tmp_path, stubborn, retryPolicy={**LONG, "backoffDuration": "0s"}))
    assert {"T0": state} == run.states
    assert (attempts, "told") == (run.attempts["T0"], mark.read_text())


def test_a_pod_s_user_and_network(tmp_path: Path) -> None:
    """A task is uid 1000 without capabilities, writes only what is its own, and reaches itself alone."""
    code = """
import json, os, pathlib, socket
def fails(act, *given):
    try: act(*given)
    except OSError: return True
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
caps = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
pathlib.Path("own").touch()
print(json.dumps([os.getuid(), os.getgroups(), int(caps[0], 16), fails(pathlib.Path("%s").touch),
    fails(socket.create_connection, ("127.0.0.1", %d))]))
"""
    if not pod_user.possible():
        pytest.skip("a process cannot have another user and no network here")
    with socket.create_server(("127.0.0.1", 0)) as outside:
        task = package(tmp_path, code % (tmp_path / "file", outside.getsockname()[1]))
        run = Backend(tmp_path / "b", image=[tmp_path]).run(task)
    assert {"T0": SUCCEEDED} == run.states, run.logs
    assert [1000, [], 0, True, True] == json.loads(run.logs["T0"])


def test_two_runs_at_once(tmp_path: Path) -> None:
    """Two runs of one package have separate artifacts, logs and ids, and do not wait for each other."""
    both = package(
        tmp_path,
        f"import pathlib, time; folder = pathlib.Path({str(tmp_path)!r}, 'here'); folder.mkdir(exist_ok=True)\n"
        "(folder / str(time.time_ns())).touch()\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.02)",
    )
    backend = Backend(tmp_path / "b")
    runs: list[Run] = []
    threads = [threading.Thread(target=lambda: runs.append(backend.run(both))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ["SUCCEEDED", "SUCCEEDED"] == [run.state for run in runs]
    assert 2 == len({run.run_id for run in runs})
    assert 2 == len({run.outputs["T0"]["executor-logs"]["uri"] for run in runs})
