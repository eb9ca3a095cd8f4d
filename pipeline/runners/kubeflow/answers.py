"""The server's JSON as Noria's records, in both forms of the API.

Up to Kubeflow Pipelines 2.18 a run has `run_details.task_details`: every node of the Argo workflow, its DAGs and
drivers among them, and never an error. After that a run has `tasks`, where the request says `view=FULL`
(`VIEW`). kfp's generated models know the first form only, so this reads the JSON.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from noria.pipeline.runners.kubeflow.failure import STORE
from noria.pipeline.runners.kubeflow.records import ENDS, FAILURES, OWN_TASKS, Run, Task

VIEW = ("view", "FULL")  # an older server ignores a query parameter that it does not know

_DRIVER = "-driver"  # Kubeflow's task before each of the pipeline's


def run(answer: Mapping[str, Any], link: str) -> Run:
    """A run, with the pipeline's own tasks only, without the nodes that Argo adds.

    Args:
      answer: the server's JSON, or a kfp model as JSON.
      link: its page.
    """
    details = answer.get("run_details") or {}
    listed = answer.get("tasks") or details.get("task_details") or []
    reference = answer.get("pipeline_version_reference") or {}
    state = _state(answer.get("state"))
    nodes = [_task(each, run_over=state in ENDS) for each in listed]
    # A driver that fails (a wrong node selector, say) leaves its task omitted: the task failed.
    drivers = [node for node in nodes if node.name.endswith(_DRIVER) and node.state in FAILURES]
    failed = {node.name.removesuffix(_DRIVER): node for node in drivers}
    tasks = [node for node in nodes if node.name not in failed or node.state != "OMITTED"]
    tasks += [dataclasses.replace(node, name=name) for name, node in failed.items()]
    return Run(
        id=answer["run_id"],
        name=answer.get("display_name") or answer["run_id"],
        state=state,
        created=utc(answer.get("created_at")),
        ended=utc(answer.get("finished_at")),
        error=_message(answer.get("error")),
        link=link,
        pipeline_id=reference.get("pipeline_id"),
        version_id=reference.get("pipeline_version_id"),
        tasks=tuple(task for task in tasks if task.name in OWN_TASKS),
        lists_tasks=bool(listed),
    )


def _task(answer: Mapping[str, Any], run_over: bool) -> Task:
    state = _state(answer.get("state"), run_over=run_over)
    return Task(
        name=answer.get("name") or answer.get("display_name") or "",
        state="SUCCEEDED" if state == "CACHED" else state,
        started=utc(answer.get("start_time") or answer.get("create_time")),
        ended=utc(answer.get("end_time")),
        error=_message(answer.get("status_metadata")) or _message(answer.get("error")),
    )


def _state(state: str | None, run_over: bool = False) -> str:
    """The server has no state for a task that never started because an earlier one failed; Argo's is omitted."""
    if state and state != "RUNTIME_STATE_UNSPECIFIED":
        return str(state)
    return "OMITTED" if run_over else "PENDING"


def _message(status: Mapping[str, Any] | None) -> str | None:
    """One line of the server's message: the one with the object store's error, or the first."""
    text = str((status or {}).get("message") or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if STORE.search(line)), lines[0])[:300] if lines else None


def utc(text: str | None) -> datetime | None:
    """A time of protobuf's JSON, whole seconds; the server uses 1970 for "not yet"."""
    if not text:
        return None
    time = (
        datetime.fromisoformat(f"{text[:19]}+00:00") if text.endswith("Z") else datetime.fromisoformat(text)
    )
    return None if time.year <= 1970 else time.astimezone(timezone.utc)
