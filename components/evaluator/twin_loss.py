"""The loss of the cold twin on the newest span's held-out rows, beside that of the champion: test, then train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.components.artifacts import Twin
from noria.components.evaluator import eval_config, paired, rows
from noria.components.evaluator.older_model import older_types
from noria.core.errors import NoriaError
from noria.stores.versions import TWIN


def measure(
    twin: Twin,
    champion: Path,
    champion_types: dict[str, int],
    files: Sequence[str],
    label: str,
    task: str,
    schema: schema_pb2.Schema,
) -> dict[str, Any]:
    """Scores both models; a twin that cannot be used is worse than any champion, and stops no run.

    Args:
      twin: the twin.
      champion: the champion's SavedModel.
      champion_types: the features that the champion reads in another type (see `older_model`).
      files: TFRecord files of the eval split.
      label: name of the label's feature.
      task: `binary`, `multiclass` or `regression`.
      schema: of the raw examples.

    Returns:
      `version`, `loss` and `champion`: mean losses; and `problem` where the twin has no loss, which is null then.
    """
    models = {TWIN: twin.folder / "Format-Serving", eval_config.CHAMPION: champion}
    try:
        older = {TWIN: older_types(twin.folder, schema), eval_config.CHAMPION: champion_types}
        data = rows.read(files, models, label, [], schema, older)
        found = rows.problems(data, task, {TWIN: TWIN, eval_config.CHAMPION: "champion"})
    except NoriaError as error:
        found = [error.what]
    if found:
        return {"version": twin.version, "loss": None, "champion": None, "problem": "; ".join(found)}
    losses = {
        name: float(np.mean(paired.row_losses(task, data.labels, scores)))
        for name, scores in data.predictions.items()
    }
    return {"version": twin.version, "loss": losses[TWIN], "champion": losses[eval_config.CHAMPION]}
