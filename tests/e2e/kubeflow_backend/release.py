"""What differs between releases of Kubeflow Pipelines, as far as a run of ours notices it.

Sources in kubeflow/pipelines, at the tags 2.5.0 to 2.17.0 and kubeflow/pipelines#13986 for what comes after 2.18.
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
      name: its number.
      retries_inside: tasks of an inner DAG are retried; before, the compiler looks for a task's policy in the root only
        (`backend/src/v2/compiler/argocompiler/container.go`, getTaskRetryPolicySpec of 2.5.0).
      zero_max_duration: a retry policy without `backoffMaxDuration` gets "0"
        (`backend/src/v2/compiler/argocompiler/container.go`, addParameterDefault).
      retry_policy: which failures are retried; Argo's default, or that of the workflow defaults
        (`manifests/kustomize/third-party/argo/base/workflow-controller-configmap-patch.yaml`).
      refuses_missing_outputs: a declared output that is not there fails the task
        (`backend/src/v2/component/launcher_v2.go`, "declared output artifact %q is missing").
      refuses_empty_curves: `system.ClassificationMetrics` without metadata fail the task
        (`backend/src/apiserver/server/artifact_server.go`, validateCreateArtifactRequest).
    """

    name: str
    retries_inside: bool
    zero_max_duration: bool
    retry_policy: Literal["OnFailure", "OnError"]
    refuses_missing_outputs: bool
    refuses_empty_curves: bool


V2_5 = Release("2.5", False, False, "OnFailure", False, False)
V2_16 = Release("2.16", True, True, "OnFailure", False, False)
V2_17 = Release("2.17", True, True, "OnError", False, False)
NEXT = Release("main", True, True, "OnError", True, True)
