"""What the server says of runs, tasks, schedules and versions, as our own values: times in UTC, one name for each."""

import dataclasses
from datetime import datetime, timezone
from typing import Any

# The ends of a run. kfp's own `wait_for_run_completion` waits for ever on CANCELED. The published states lack
# ERROR, which kfp ends on as well; a server that says it is believed.
SUCCEEDED, SKIPPED = "SUCCEEDED", "SKIPPED"
FAILURES = ("FAILED", "ERROR")
BROKEN = "ReportBroken"  # the task that closes a run on a broken span
ENDS = (SUCCEEDED, SKIPPED, *FAILURES, "CANCELED")


@dataclasses.dataclass(frozen=True)
class Task:
    """One node of the pipeline in one run."""

    name: str
    state: str
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """From start to end; None before the end."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run as the server tells it."""

    id: str
    name: str
    state: str
    created: datetime | None
    ended: datetime | None
    error: str | None
    link: str
    tasks: tuple[Task, ...] = ()
    pipeline_id: str | None = None
    version_id: str | None = None

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDS

    @property
    def good(self) -> bool:
        """Whether it ended as it should."""
        return self.state in (SUCCEEDED, SKIPPED)

    @property
    def newest(self) -> dict[str, Task]:
        """Each task as its newest try says, by name."""
        epoch = datetime.min.replace(tzinfo=timezone.utc)
        return {task.name: task for task in sorted(self.tasks, key=lambda each: each.started or epoch)}

    @property
    def failed(self) -> list[Task]:
        """The tasks that failed in the end."""
        return [task for task in self.newest.values() if task.state in FAILURES]

    @property
    def found_broken(self) -> bool:
        """Whether the run put a broken span into quarantine: that is no failure of the run, and yet news."""
        return BROKEN in self.newest and self.newest[BROKEN].state == SUCCEEDED

    @property
    def seconds(self) -> float | None:
        """From creation to end; None before the end."""
        return (self.ended - self.created).total_seconds() if self.created and self.ended else None

    def row(self) -> dict[str, Any]:
        """The run as one JSON object."""
        return {
            "run_id": self.id,
            "name": self.name,
            "state": self.state,
            "started": _iso(self.created),
            "ended": _iso(self.ended),
            "seconds": self.seconds,
            "error": self.error,
            "link": self.link,
        }


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A recurring run."""

    id: str
    name: str
    enabled: bool
    trigger: str
    max_concurrency: int
    catch_up: bool
    version_id: str | None
    created: datetime | None
    link: str

    def row(self) -> dict[str, Any]:
        """The schedule as one JSON object."""
        return {**dataclasses.asdict(self), "created": _iso(self.created)}


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run that trained on a span.

    Attributes:
      run: the run.
      source_digest: `lineage.source_digest` of what its version was compiled from; None where that does not say.
    """

    run: Run
    source_digest: str | None


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of the pipeline on the server."""

    pipeline_id: str
    id: str
    name: str
    uploaded: bool


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
