"""The checkpoint on disk: complete, and no leftovers."""

import dataclasses
from pathlib import Path

import numpy as np

from noria.components.trainer import checkpoint
from noria.core import files


def test_a_checkpoint_replaces_an_older_one_and_what_a_killed_run_left(tmp_path: Path) -> None:
    """Only the newest checkpoint remains, and it loads as it was saved."""
    fields = {
        field.name: {} if "dict" in str(field.type) else 0
        for field in dataclasses.fields(checkpoint.Checkpoint)
    }
    (tmp_path / f"{files.STAGING}1-abc").mkdir()
    for step in (1, 2):
        values = {**fields, "variables": {"kernel": np.full(3, step, np.float32)}, "step": step}
        checkpoint.save(tmp_path / "checkpoint", checkpoint.Checkpoint(**values))
    assert ["checkpoint"] == [path.name for path in tmp_path.iterdir()]
    loaded = checkpoint.load(tmp_path / "checkpoint")
    assert 2 == loaded.step
    assert [2.0, 2.0, 2.0] == loaded.variables["kernel"].tolist()
