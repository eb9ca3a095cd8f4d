"""A pod that is lost while it runs: SIGTERM, and SIGKILL after the grace period.

Kubernetes, "Pod Lifecycle", Termination of Pods: `terminationGracePeriodSeconds`, 30 by default. Argo has two words for
it, with other retry rules (argo-workflows `workflow/controller/operator.go`). A pod that is deleted, as its node is
drained or another pod has a higher priority, disappears: that is an `Error` (podReconciliation). A pod that the kubelet
evicts, for its disk say, or ends at its deadline, stays with a message: that is `Failed` (inferFailedReason).
"""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from .retries import Phase


@dataclasses.dataclass(frozen=True)
class Eviction:
    """What happens to the first pod of a task.

    Attributes:
      when: whether it is time; asked again and again from the container's start.
      grace: seconds from SIGTERM to SIGKILL.
      phase: what Argo sees: a pod that disappears, or one that stays with the kubelet's message.
    """

    when: Callable[[], bool]
    grace: float = 30.0
    phase: Phase = "Error"


@contextlib.contextmanager
def evicted(pid: int, plan: Eviction | None) -> Iterator[threading.Event]:
    """Ends the process while the block runs; the event says whether it did."""
    begun, ended = threading.Event(), threading.Event()

    def end() -> None:
        if plan is None:
            return
        while not plan.when():
            if ended.wait(0.05):
                return
        begun.set()
        for number, seconds in ((signal.SIGTERM, plan.grace), (signal.SIGKILL, 0.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while seconds and not ended.is_set() and time.monotonic() < deadline:
                ended.wait(0.05)
            if ended.is_set():
                return

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield begun
    finally:
        ended.set()
        thread.join()
