"""The rules of the model, against cases that are plain from Argo's and Kubeflow's sources."""

import pytest

from .graph import FAILED, SKIPPED, SUCCEEDED, ready
from .release import V2_5, V2_16, V2_17
from .retries import decide

POLICY = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0}
LONG = {**POLICY, "backoffMaxDuration": "86400s"}


@pytest.mark.parametrize(
    ("policy", "release", "phase", "attempts", "elapsed", "wait", "why"),
    [
        (POLICY, V2_5, "Failed", 1, 5.0, 30.0, ""),
        (POLICY, V2_16, "Failed", 1, 5.0, None, "Max duration limit exceeded"),
        (LONG, V2_16, "Failed", 1, 5.0, 30.0, ""),
        (LONG, V2_16, "Failed", 2, 40.0, 60.0, ""),
        (LONG, V2_16, "Failed", 3, 99.0, None, "No more retries left"),
        (LONG, V2_16, "Error", 1, 5.0, None, "Node not set to be retried"),
        (LONG, V2_17, "Error", 1, 5.0, 30.0, ""),
        (LONG, V2_17, "Failed", 1, 5.0, None, "Node not set to be retried"),
        ({**POLICY, "backoffMaxDuration": "30s"}, V2_16, "Failed", 1, 5.0, None, "Backoff would exceed"),
        (None, V2_16, "Failed", 1, 5.0, None, "no retry strategy"),
    ],
)
def test_retries(policy, release, phase, attempts, elapsed, wait, why) -> None:  # type: ignore[no-untyped-def]
    """Time from the first attempt on, kind of failure and number of attempts each end the retries."""
    found = decide(policy, release, phase, attempts, elapsed)
    assert wait == found.wait
    assert found.why.startswith(why)


def test_what_starts() -> None:
    """Behind a skipped task everything is omitted; after a failed one nothing starts."""
    waiting = {"B": {"A"}, "C": {"B"}}
    assert (["B"], []) == ready(waiting, {"A": SUCCEEDED})
    assert ([], ["B"]) == ready(waiting, {"A": SKIPPED})
    assert ([], ["B", "C"]) == ready({**waiting}, {"A": SUCCEEDED, "X": FAILED})
