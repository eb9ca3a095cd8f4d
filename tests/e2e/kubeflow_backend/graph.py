"""Which tasks may start: Argo's DAG, as Kubeflow compiles it.

- `depends` is `A.Succeeded && B.Succeeded` (kubeflow/pipelines `argocompiler/dag.go`, depends): behind a task that was
  skipped or omitted everything is omitted.
- `failFast` (argo-workflows `workflow/controller/dag.go`, assessDAGPhase; on by default): after a failed task no other
  starts; those that run end.
"""

from collections.abc import Mapping
from typing import Any

SUCCEEDED, FAILED, SKIPPED, OMITTED, CACHED = "Succeeded", "Failed", "Skipped", "Omitted", "Cached"


def dependencies(task: Mapping[str, Any]) -> set[str]:
    """`dependentTasks`, and those that the inputs imply (`addImplicitDependencies`)."""
    inputs = task.get("inputs", {}).get("artifacts", {}).values()
    return {*task.get("dependentTasks", []), *(each["taskOutputArtifact"]["producerTask"] for each in inputs)}


def flattened(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tasks of the pipeline, and its exit tasks (kubeflow/pipelines `argocompiler/dag.go`, dag).

    A DAG that an exit task waits for is a task of the root; its own tasks are what runs. The exit task is a hook of
    it, without conditions and dependencies, and runs whatever became of it.
    """
    tasks: dict[str, Any] = {}
    exits: dict[str, Any] = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"].get(task["componentRef"]["name"], {})
        if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
            exits[name] = task
        elif "dag" in component:
            tasks |= component["dag"]["tasks"]
        else:
            tasks[name] = task
    return tasks, exits


def ready(waiting: Mapping[str, set[str]], states: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The waiting tasks that start now, and those that never will."""
    if FAILED in states.values():
        return [], sorted(waiting)
    settled = [name for name, needed in sorted(waiting.items()) if needed <= states.keys()]
    start = [name for name in settled if all(states[each] in (SUCCEEDED, CACHED) for each in waiting[name])]
    return start, [name for name in settled if name not in start]
