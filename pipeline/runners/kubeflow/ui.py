"""What Kubeflow's web interface shows of a run: its page (`system.HTML`), the models' metrics (`system.Metrics`), and
their ROC curves and confusion matrices (`system.ClassificationMetrics`).

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

from noria.components.evaluator import curves

PAGE = "page"
METRICS = {"challenger": "challenger", "champion_metrics": "champion"}
CURVES = {"challenger_curves": "challenger", "champion_curves": "champion"}
# In place of curves where there are none: after 2.18 the server takes no such artifact without metadata, and the task
# that reports it fails.
EMPTY = {"empty": "no model, more than 30 classes, or evaluated by Beam"}
_TYPES: dict[str, str] = {
    PAGE: "system.HTML",
    **dict.fromkeys(METRICS, "system.Metrics"),
    **dict.fromkeys(CURVES, "system.ClassificationMetrics"),
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An output that only the web interface reads: its name, and its place on this machine and in the store."""

    name: str
    path: Path
    uri: str


def declare(spec: dict[str, Any], tasks: Mapping[str, Any], model_task: str) -> None:
    """Adds the outputs to the tasks that end a run, in place; a `regression` has no curves."""
    for name, task in tasks.items():
        if name.startswith("Report"):
            component = spec["components"][task["componentRef"]["name"]]
            outputs = component.setdefault("outputDefinitions", {}).setdefault("artifacts", {})
            for output, kind in _TYPES.items():
                if output in CURVES and model_task == "regression":
                    continue
                schema = {"schemaTitle": kind, "schemaVersion": "0.0.1"}
                outputs[output] = {"artifactType": schema}


def fill(pictures: list[Picture], home: Path, run_id: str, evaluation: Path | None = None) -> dict[str, Any]:
    """Writes them from the run's `run.json`, and from the Evaluator's folder where the task has that.

    Returns:
      Their part of the launcher's `ExecutorOutput`.
    """
    file = home / "runs" / run_id / "run.json"
    run = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    metrics = run.get("metrics") or {}
    drawn = evaluation / curves.FILE if evaluation else None
    curve = json.loads(drawn.read_text(encoding="utf-8")) if drawn and drawn.is_file() else {}
    found = {}
    for each in pictures:
        metadata: dict[str, Any] = {}
        each.path.parent.mkdir(parents=True, exist_ok=True)
        if each.name == PAGE and run.get("report"):
            shutil.copyfile(run["report"], each.path)
        else:
            if each.name in CURVES:
                metadata = _classification(curve.get(CURVES[each.name]) or {}) or dict(EMPTY)
            elif each.name in METRICS:
                values = metrics.get(METRICS[each.name]) or {}
                metadata = {name: value for name, value in values.items() if _is_number(value)}
            # The launcher uploads a file for each output; the interface reads the metadata.
            each.path.write_text(json.dumps(metadata), encoding="utf-8")
        found[each.name] = {"artifacts": [{"uri": each.uri, "metadata": metadata}]}
    return found


def _classification(curve: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as kfp's `dsl.ClassificationMetrics` writes it."""
    metadata: dict[str, Any] = {}
    if points := curve.get("roc"):
        names = {
            "confidenceThreshold": "threshold",
            "falsePositiveRate": "false_positive_rate",
            "recall": "recall",
        }
        columns = [points[name] for name in names.values()]
        metadata["confidenceMetrics"] = [
            dict(zip(names, point, strict=True)) for point in zip(*columns, strict=True)
        ]
    if matrix := curve.get("confusion"):
        metadata["confusionMatrix"] = {
            "annotationSpecs": [{"displayName": str(number)} for number in range(len(matrix))],
            "rows": [{"row": row} for row in matrix],
        }
    return metadata


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
