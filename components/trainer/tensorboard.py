"""TensorBoard logs of a run: `train` and `eval` as two runs that TensorBoard draws over each other."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from noria.components.libraries import tf


@contextlib.contextmanager
def writer(folder: str | None) -> Iterator[Callable[..., None]]:
    """Gives a function log(step=.., prefix="train"|"eval", <metric>=..), which does nothing without a folder.

    Args:
      folder: where the event files go, `train/` and `eval/`; None for nowhere.
    """
    if folder is None:
        yield lambda **_: None
        return
    writers: dict[str, Any] = {}

    def log(step: int, prefix: str, **metrics: float) -> None:
        if prefix not in writers:
            writers[prefix] = tf.summary.create_file_writer(str(Path(folder) / prefix))
        with writers[prefix].as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)

    try:
        yield log
    finally:
        for held in writers.values():
            held.close()
