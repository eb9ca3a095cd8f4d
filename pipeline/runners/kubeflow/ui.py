"""What Kubeflow's web interface shows of a run: its page (`system.HTML`) and the models' metrics (`system.Metrics`).

The interface renders artifacts of these types only, and TFX has none of them. So they are added to the compiled
tasks that end a run, and the entrypoint fills them from what the task has made.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = "page"
METRICS = ("challenger", "champion_metrics")
_TYPES = {PAGE: "system.HTML", **dict.fromkeys(METRICS, "system.Metrics")}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An output that only the web interface reads: its name, and its place on this machine and in the store."""

    name: str
    path: Path
    uri: str


def declare(spec: dict[str, Any], tasks: Mapping[str, Any]) -> None:
    """Adds the outputs to the tasks that end a run, in place."""
    for name, task in tasks.items():
        if name.startswith("Report"):
            component = spec["components"][task["componentRef"]["name"]]
            outputs = component.setdefault("outputDefinitions", {}).setdefault("artifacts", {})
            for output, kind in _TYPES.items():
                schema = {"schemaTitle": kind, "schemaVersion": "0.0.1"}
                outputs[output] = {"artifactType": schema}


def fill(pictures: list[Picture], home: Path, run_id: str) -> dict[str, Any]:
    """Writes them from the run's `run.json`; returns their part of the launcher's `ExecutorOutput`."""
    file = home / "runs" / run_id / "run.json"
    run = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    metrics = run.get("metrics") or {}
    found = {}
    for each in pictures:
        metadata: dict[str, float] = {}
        each.path.parent.mkdir(parents=True, exist_ok=True)
        if each.name == PAGE and run.get("report"):
            shutil.copyfile(run["report"], each.path)
        else:
            values = metrics.get("challenger" if each.name == METRICS[0] else "champion") or {}
            metadata = {name: value for name, value in values.items() if _is_number(value)}
            # The launcher uploads a file for each output; the interface reads the metadata.
            each.path.write_text(json.dumps(metadata), encoding="utf-8")
        found[each.name] = {"artifacts": [{"uri": each.uri, "metadata": metadata}]}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
