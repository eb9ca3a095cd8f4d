"""What the measurements of drafted projects share: the project that `noria init` writes, and a model's scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml


def project(
    folder: Path,
    name: str,
    table: pa.Table | Path,
    label: str,
    notes: Callable[[str], Any] = lambda note: None,
    **changes: Any,
) -> Any:
    """Drafts a project from a table; its config.

    Args:
      folder: gets the table and the project.
      name: of the module with the features: one process runs many projects, and each needs another module.
      table: the rows, or the file with them.
      label: the column to predict.
      notes: gets each note of `noria init`.
      **changes: `time`, `task`, `drop` and `log` for the draft; all others replace top-level keys of its YAML file.
    """
    from noria.pipeline.config import load
    from noria.pipeline.init.draft import draft

    folder.mkdir(parents=True, exist_ok=True)
    file = table if isinstance(table, Path) else folder / "rows.parquet"
    if isinstance(table, pa.Table):
        pq.write_table(table, file)
    told = {key: changes.pop(key) for key in ("time", "task", "drop", "log") if key in changes}
    for note in draft(folder / "project", file, label, **told).notes:
        notes(note)
    path = folder / "project" / "noria.yaml"
    settings = yaml.safe_load(path.read_text())
    path.with_name("preprocessing.py").rename(path.with_name(f"{name}_features.py"))
    settings["preprocessing"] = f"{name}_features.preprocessing_fn"
    path.write_text(yaml.safe_dump(settings | changes))
    return load(folder / "project")


def scores(model_dir: str, table: pa.Table) -> np.ndarray:
    """A published model's scores `[rows, outputs]`."""
    import tensorflow as tf
    from tfx_bsl.public import tfxio

    from noria.schemas.list_columns import as_lists

    encoder = tfxio.RecordBatchToExamplesEncoder()
    serve = tf.saved_model.load(model_dir).signatures["serving_default"]
    parts = [
        serve(tf.constant(encoder.encode(as_lists(batch))))["score"].numpy()
        for batch in table.to_batches(max_chunksize=8192)
    ]
    return np.concatenate(parts)
