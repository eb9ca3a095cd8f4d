"""The exit handler in a compiled pipeline: all other tasks move into one DAG, and it waits for that.

TFX has one too, but names the DAG `_tfx_dag`, and Argo accepts no underscores. The form is that of kfp's
`dsl.ExitHandler`: Kubeflow makes an exit hook of the task whose trigger is ALL_UPSTREAM_TASKS_COMPLETED.
"""

from typing import Any

STAGES, END = "Stages", "End"


def wrap(spec: dict[str, Any]) -> None:
    """Makes the task `End` of a compiled pipeline its exit handler, in place."""
    root = spec["root"]["dag"]
    end = root["tasks"].pop(END)
    spec["components"][f"comp-{STAGES}"] = {"dag": {"tasks": root["tasks"]}}
    root["tasks"] = {
        STAGES: {
            "componentRef": {"name": f"comp-{STAGES}"},
            "taskInfo": {"name": STAGES},
        },
        END: {
            **end,
            "dependentTasks": [STAGES],
            "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        },
    }


def stages(spec: dict[str, Any]) -> dict[str, Any]:
    """The tasks of a compiled pipeline except its exit handler."""
    tasks: dict[str, Any] = spec["components"][f"comp-{STAGES}"]["dag"]["tasks"]
    return tasks
