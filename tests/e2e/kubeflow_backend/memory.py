"""The memory limit of a container: the kernel kills what needs more (Kubernetes, "Managing Resources for Containers").

The limit is `resources.memoryLimit` of the compiled task, in units of 10^9 bytes (kubeflow/pipelines
`argocompiler/container.go`). The container ends with exit code 137, and Kubernetes calls it `OOMKilled`.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOOK = 0.1  # seconds between two looks
KILLED = 137  # 128 + SIGKILL


def limit(container: dict[str, Any]) -> int | None:
    """Bytes that the container may use; None without a limit."""
    found = container.get("resources", {}).get("memoryLimit")
    return None if found is None else int(float(found) * 1e9)


@contextlib.contextmanager
def limited(pid: int, most: int | None) -> Iterator[threading.Event]:
    """Kills a process that uses more while the block runs; the event says whether it did."""
    killed, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while most is not None and not ended.wait(LOOK):
            if used(pid) > most:
                killed.set()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def used(pid: int) -> int:
    """Resident bytes of a process; of its children what they do not share with others (man 5 proc, Pss)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    resident = int(status.split("VmRSS:")[1].split()[0]) * 1024 if "VmRSS:" in status else 0
    return resident + sum(_shared_out(int(child)) for child in children)


def _shared_out(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(rollup.split("\nPss:")[1].split()[0]) * 1024 if "\nPss:" in rollup else 0
