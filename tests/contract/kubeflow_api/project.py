"""A project, its compiled package, and what a run of it looks like from outside."""

from pathlib import Path

import yaml

from .nodes import Frame

TASKS = ("ChampionResolver", "SpanExampleGen", "DataGate", "Trainer", "Pusher")
CODE = "def preprocessing_fn(inputs):\n    return inputs\n"


def write_project(folder: Path, **kubeflow: object) -> Path:
    """noria.yaml, a preprocessing module and a package; returns the package's path."""
    settings = {"name": "rides", "label": "big_tip", "span": "rows:100", "kubeflow": kubeflow}
    (folder / "noria.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "preprocessing.py").write_text(CODE, encoding="utf-8")
    return write_package(folder / "rides.yaml")


def write_package(path: Path, image: str = "noria:1", source_digest: str = "", name: str = "rides") -> Path:
    """A package of two documents: the specification, and the volume of each task.

    With a digest of the sources there is an Ingest that compares it, as in a compiled one.
    """
    container = {"container": {"image": image, "command": ["python"]}}
    spec = {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.5.0",
        "root": {
            "dag": {
                "tasks": {
                    task: {
                        "componentRef": {"name": f"comp-{task}"},
                        "taskInfo": {"name": task},
                        "dependentTasks": list(TASKS[max(0, index - 1) : index]),
                    }
                    for index, task in enumerate(TASKS)
                }
            }
        },
        "components": {f"comp-{task}": {"executorLabel": f"{task}_executor"} for task in TASKS},
        "deploymentSpec": {"executors": {f"{task}_executor": container for task in TASKS}},
    }
    if source_digest:
        spec["root"]["dag"]["tasks"]["Ingest"] = {
            "componentRef": {"name": "comp-Ingest"},
            "inputs": {"parameters": {"source_digest": {"runtimeValue": {"constant": source_digest}}}},
        }
    mount = {"constant": "noria", "mountPath": "/noria/volume"}
    executors = {f"{task}_executor": {"pvcMount": [mount]} for task in TASKS}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    path.write_text(yaml.safe_dump_all([spec, platform], sort_keys=True), encoding="utf-8")
    return path


def frames(end: str, stop: str = "SUCCEEDED", error: str = "") -> list[Frame]:
    """A run that waits, works through its tasks, is paused for a while, and ends.

    Args:
      end: the run's last state.
      stop: the Trainer's last state; what follows it never begins unless that is SUCCEEDED.
      error: the Trainer's message, for which only the newer form of the API has a place.
    """
    done = [(task, "SUCCEEDED", "") for task in TASKS]
    last = (
        done
        if stop == "SUCCEEDED"
        else [
            *done[:3],
            ("Trainer", stop, error),
            ("Pusher", "RUNTIME_STATE_UNSPECIFIED", ""),  # Argo's "omitted", as the server says it
        ]
    )
    return [
        Frame("PENDING"),
        Frame("RUNNING", [("ChampionResolver", "RUNNING", "")]),
        Frame("RUNNING", [*done[:2], ("DataGate", "RUNNING", "")]),
        Frame("PAUSED", [*done[:3], ("Trainer", "PENDING", "")]),
        Frame("RUNNING", [*done[:3], ("Trainer", "RUNNING", "")]),
        Frame(end, last),
    ]
