"""A run that ended badly: which tasks failed, and where to look next."""

import re

from noria.pipeline.runners.kubeflow.records import Run

# How S3, MinIO and Google Cloud Storage say no, and how Kubeflow's launcher passes it on: it moves a task's
# inputs and outputs itself, before and after our process, so that only its error tells.
STORE = re.compile(r"Access ?Denied|NoSuchBucket|\b403\b|upload", re.IGNORECASE)


def next_steps(run: Run, namespace: str | None, pipeline_root: str) -> list[str]:
    """What to do about it, the likeliest first.

    Args:
      run: with its tasks.
      namespace: where its pods are; None for Kubeflow's own.
      pipeline_root: where its artifacts go.
    """
    where = namespace or "kubeflow"
    steps = [f"kubectl logs -n {where} -l pipeline/runid={run.id} --all-containers --prefix --tail=-1"]
    if any(STORE.search(text or "") for text in (run.error, *(task.error for task in run.failed))):
        steps.insert(
            0,
            "the object store refuses what a task reads or writes: correct `kubeflow.pipeline_root` "
            f"({pipeline_root}), or endpoint and credentials in the config map kfp-launcher "
            f"(kubectl get configmap -n {where} kfp-launcher -o yaml); "
            "the bucket must exist, and the runs' account may write to it",
        )
    return steps
