"""Whether Argo tries a task again (argo-workflows `workflow/controller/operator.go`, processNodeRetries).

The order is Argo's: first the limit on time, which counts from the first attempt's start, then the kind of failure,
then the number of attempts. A failed container is `Failed`, a pod that was deleted is `Error` (`eviction`).
"""

import dataclasses
import re
from typing import Any, Literal

from .release import Release

Phase = Literal["Failed", "Error"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What Argo does after a failed attempt.

    Attributes:
      wait: seconds until the next attempt; None where there is none.
      why: Argo's message where there is none.
    """

    wait: float | None
    why: str = ""


def decide(
    policy: dict[str, Any] | None, release: Release, phase: Phase, attempts: int, elapsed: float
) -> Decision:
    """What comes after an attempt.

    Args:
      policy: the compiled task's `retryPolicy`; None where it has none.
      release: of Kubeflow.
      phase: of the attempt.
      attempts: how many there were.
      elapsed: seconds from the first attempt's start to the last one's end.
    """
    if not policy:
        return Decision(None, "no retry strategy")
    longest = _seconds(policy.get("backoffMaxDuration"))
    if longest is None and release.zero_max_duration:
        longest = 0.0
    if longest is not None and elapsed > longest:
        return Decision(None, "Max duration limit exceeded")
    wait = (_seconds(policy.get("backoffDuration")) or 0.0) * policy.get("backoffFactor", 1.0) ** (
        attempts - 1
    )
    if longest is not None and elapsed + wait > longest:
        return Decision(None, "Backoff would exceed max duration limit")
    if (release.retry_policy == "OnFailure") != (phase == "Failed"):
        return Decision(None, "Node not set to be retried")
    if attempts > policy.get("maxRetryCount", 0):
        return Decision(None, "No more retries left")
    return Decision(wait)


def _seconds(duration: str | None) -> float | None:
    """A `google.protobuf.Duration` in JSON."""
    if duration is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", duration)
    assert found is not None, duration
    return float(found[1])
