"""The tasks of a run as the API answers them, in both forms. Neither is the list of the pipeline's tasks.

- Up to 2.18: `run_details.task_details` has every node of the Argo workflow, by its display name
  (`backend/src/common/util/workflow.go`, NodeStatuses): the workflow, its DAGs, each task's driver, `executor` for
  each container, and the attempts of all of them. `error` is never filled
  (`backend/src/apiserver/server/api_converter.go`, toApiPipelineTaskDetail).
- After ML Metadata (kubeflow/pipelines#13986): `tasks`, only where the request says `view=FULL`
  (`backend/api/v2beta1/run.proto`, PipelineTask). A task is listed once its driver has begun; a message is in
  `status_metadata`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"  # how the server says "not yet"
OVER = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "ERROR")
# Argo's phases that the API's states do not have (`backend/src/apiserver/model/run.go`, RuntimeState.ToV2).
NOT_STARTED = ("PENDING", "RUNTIME_STATE_UNSPECIFIED")


@dataclasses.dataclass
class Frame:
    """One observation of a run: its state, and the tasks that have begun (name, state, message).

    Only the newer form of the API has a place for the message.
    """

    state: str
    tasks: Sequence[tuple[str, str, str]] = ()


def argo_nodes(run_id: str, began: datetime, workflow: str, frame: Frame) -> list[dict[str, Any]]:
    """`run_details.task_details`: every node of the workflow, those of Argo and of the driver among them."""
    found = []
    for index, (name, state, start) in enumerate(_argo(began, workflow, frame)):
        found.append(
            {
                "run_id": run_id,
                "task_id": f"{run_id}-{index}",
                "display_name": name,
                "create_time": said(start),
                "start_time": said(start),
                "end_time": said(start + timedelta(seconds=32)) if state in OVER else EPOCH,
                "state": state,
            }
        )
    return found


def native_tasks(run_id: str, began: datetime, frame: Frame) -> list[dict[str, Any]]:
    """`tasks`: the root, and the pipeline's own tasks that have begun."""
    root = {"RUNNING": "RUNNING", "SUCCEEDED": "SUCCEEDED"}.get(frame.state, "FAILED")
    listed = [("root", root, ""), *(task for task in frame.tasks if task[1] not in NOT_STARTED)]
    found = []
    for index, (name, state, message) in enumerate(listed):
        start = began + timedelta(seconds=40 * index + 5)
        over = {"end_time": said(start + timedelta(seconds=32))} if state in OVER else {}
        status = {"status_metadata": {"message": message}} if message else {}
        found.append(
            {
                "run_id": run_id,
                "task_id": f"{run_id}-{index}",
                "name": name,
                "display_name": name,
                "type": "RUNTIME" if index else "ROOT",
                "create_time": said(start),
                "state": {"CANCELED": "FAILED", "ERROR": "FAILED"}.get(state, state),
                **over,
                **status,
            }
        )
    return found


def _argo(began: datetime, workflow: str, frame: Frame) -> Iterator[tuple[str, str, datetime]]:
    """Names and states. A failed container fails its task, its DAG `root` and the workflow, each a node."""
    whole = frame.state if frame.state in OVER else "RUNNING"
    for name, state in ((workflow, whole), ("root-driver", "SUCCEEDED"), ("root", whole)):
        yield name, state, began
    for index, (name, state, _) in enumerate(frame.tasks):
        start = began + timedelta(seconds=40 * index + 5)
        if state not in NOT_STARTED:
            yield f"{name}-driver", "SUCCEEDED", start
        yield name, state, start
        if state not in (*NOT_STARTED, "SKIPPED"):
            # On 2.17's manifests each template has a retry strategy, and each attempt is a separate node.
            for node in (f"{name}(0)", "executor", "executor(0)"):
                yield node, state, start


def said(time: datetime) -> str:
    """A time as protobuf's JSON has it."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
