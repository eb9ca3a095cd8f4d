"""The champion's full state on disk: what a SavedModel leaves out. Needs numpy only.

    checkpoint/
      arrays.npz      variables/<name>, m/<name>, v/<name>, candidates/<rate>/<name>: arrays by the variables'
                      stable names
      manifest.json   step, examples seen, features, model, digest of arrays.npz

Plain arrays by name, because neither Keras's nor tf.train's formats promise to restore what another release
wrote. The folder is written under another name and then renamed, so it is complete or absent.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from noria.core import files
from noria.core.errors import WarmStartError

FORMAT = 1


@dataclasses.dataclass
class Checkpoint:
    """What a warm run starts from.

    Attributes:
      variables: arrays by name, trainable or not.
      first: Adam's first moments by the name of the variable.
      second: Adam's second moments.
      step: global step: steps taken by this model and all its ancestors.
      examples_seen: rows of all those steps.
      origin: global step at which training on the window `window` began.
      first_rate: learning rate at that step.
      window: digest of that window.
      features: Features.to_json().
      model: family, task, outputs.
      written_by: versions of the libraries that wrote it; for people.
      candidates: with several learning rates, the variables of each one's model, by `<rate>/<name>` (candidates.py).
      records: of each rate, over the spans that followed.
      skill: 1 minus the model's held-out loss over a guess's, when it was trained; None if it was not measured.
    """

    variables: dict[str, np.ndarray]
    first: dict[str, np.ndarray]
    second: dict[str, np.ndarray]
    step: int
    examples_seen: int
    origin: int
    first_rate: float
    window: str
    features: dict[str, Any]
    model: dict[str, Any]
    written_by: dict[str, Any]
    candidates: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    records: dict[str, float] = dataclasses.field(default_factory=dict)
    skill: float | None = None


_ARRAYS = {"variables": "variables", "first": "m", "second": "v", "candidates": "candidates"}


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint; an older one is replaced."""
    files.sweep(folder.parent)  # the folder of one run's model, which nobody else writes
    beside = files.staging(folder.parent)
    beside.mkdir(parents=True)
    arrays = {
        f"{prefix}/{name}": array
        for field, prefix in _ARRAYS.items()
        for name, array in getattr(checkpoint, field).items()
    }
    with (beside / "arrays.npz").open("wb") as file:
        np.savez(file, **arrays)
    manifest = {
        field.name: getattr(checkpoint, field.name)
        for field in dataclasses.fields(checkpoint)
        if field.name not in _ARRAYS
    }
    manifest |= {"format": FORMAT, "arrays_sha256": files.sha256(beside / "arrays.npz")}
    (beside / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    files.replace_folder(beside, folder)


def load(folder: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
      WarmStartError: there is none, it is damaged, or of a newer format.
    """
    start_cold = "start a cold run: noria run --cold"
    if not folder.exists():
        raise WarmStartError(
            "the champion has no checkpoint: another run_fn made it",
            where=folder,
            next_step=start_cold,
        )
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WarmStartError(
            f"the champion's checkpoint cannot be read: {error}", where=folder, next_step=start_cold
        ) from error
    if manifest.pop("format", None) != FORMAT:
        raise WarmStartError(
            f"the champion's checkpoint has another format than {FORMAT}", where=folder, next_step=start_cold
        )
    expected = manifest.pop("arrays_sha256")
    file = folder / "arrays.npz"
    if not file.exists() or files.sha256(file) != expected:
        raise WarmStartError(
            f"the champion's arrays are damaged: sha256 must be {expected}", where=file, next_step=start_cold
        )
    fields: dict[str, Any] = {field: {} for field in _ARRAYS}
    with np.load(file, allow_pickle=False) as arrays:
        for field, prefix in _ARRAYS.items():
            fields[field] = {
                name[len(prefix) + 1 :]: arrays[name]
                for name in arrays.files
                if name.startswith(f"{prefix}/")
            }
    return Checkpoint(**fields, **manifest)
