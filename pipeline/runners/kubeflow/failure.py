"""A run that failed: why, and what to do next.

Kubeflow's API names no cause up to 2.18. The cause is in the task's journal on the volume, in the pod, or in the
task's log in the object store.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noria.core.errors import StoreError
from noria.core.objects.store import SCHEMES
from noria.pipeline.runners.kubeflow import pods, tasklog
from noria.pipeline.runners.kubeflow.records import Run

if TYPE_CHECKING:
    from noria.pipeline.config import Config

# Refusals of S3, MinIO and Google Cloud Storage, as Kubeflow's launcher reports them: it copies a task's inputs and
# outputs before and after the task's process, so that only its error shows them.
STORE = re.compile(r"Access ?Denied|NoSuchBucket|\b403\b|upload", re.IGNORECASE)
LENGTH = 300


def causes(run: Run, config: "Config", namespace: str | None) -> dict[str, str]:
    """The cause of each failed task, as far as it can be read from here; each on one line.

    Where it is looked for, in this order: the server's answer, the journal in the home if this machine sees it, the
    task's pod if this machine may list pods.

    Args:
      run: with its tasks.
      config: the project's settings.
      namespace: where its pods are; None for Kubeflow's own.
    """
    failed = [task.name for task in run.failed]
    found = {task.name: task.error for task in run.failed if task.error}
    for name in failed:
        home = _home(config) if name not in found else None
        error = tasklog.error(home, run.id, name) if home is not None else None
        if error:
            found[name] = error
    if missing := [name for name in failed if name not in found]:
        found |= pods.causes(run.id, namespace or "kubeflow", missing)
    return {name: " ".join(text.split())[:LENGTH] for name, text in found.items()}


def _home(config: "Config") -> Path | None:
    """The tasks' home, as far as this machine sees it."""
    if not config.cluster_home.startswith(SCHEMES):
        return Path(config.cluster_home)
    from noria.core.objects.home import mount

    try:
        return mount(config.cluster_home)
    except StoreError:  # it may be in the cluster's own network
        return None


def next_steps(run: Run, causes: Mapping[str, str], config: "Config", namespace: str | None) -> list[str]:
    """What to do about it, the most likely cause first.

    Args:
      run: with its tasks.
      causes: of `causes`.
      config: the project's settings.
      namespace: where its pods are; None for Kubeflow's own.
    """
    where, root = namespace or "kubeflow", config.kubeflow.pipeline_root
    launcher = f"kubectl get configmap -n {where} kfp-launcher -o yaml"
    steps = [
        f"kubectl logs -n {where} -l pipeline/runid={run.id} --all-containers --prefix --tail=-1",
        # Argo deletes the pods of a run, by 2.17's manifests after an hour; Kubeflow keeps each task's log.
        f"after the pods are gone: the artifacts executor-logs, in the web interface and below "
        f"{root or '<pipeline root>'}/{config.name}/{run.id}/",
    ]
    if any(STORE.search(text or "") for text in (run.error, *causes.values())):
        steps.insert(
            0,
            f"the object store refuses what a task reads or writes: correct `kubeflow.pipeline_root` "
            f"({root or 'not set: the root of kfp-launcher applies'}), or endpoint and credentials in the config map "
            f"kfp-launcher ({launcher}); the bucket must exist, and the runs' account needs write access",
        )
    elif not run.failed:
        steps.insert(
            0, "no task of the pipeline has failed: look at the run's page for what Kubeflow itself says"
        )
    return steps
