"""What `preloaded` imports in advance: all that a run of the pipeline needs. Nothing here starts a thread."""

import importlib
import os

from noria.components.keras3 import ensure_keras3

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ensure_keras3()
for _module in (
    "noria.components.trainer.run_fn",
    "noria.pipeline.cli.local_run",
    "noria.pipeline.runners.beam",
    "noria.pipeline.runners.kubeflow.runtime",
):
    importlib.import_module(_module)
