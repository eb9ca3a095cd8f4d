"""Runs, tasks, schedules and versions of the server as Noria's records, with times in UTC."""

import dataclasses
from datetime import datetime, timezone
from typing import Any

from noria.pipeline.config.kubeflow import TASKS

# The ends of a run. kfp's `wait_for_run_completion` never returns on CANCELED. The published states lack
# ERROR, which kfp also treats as an end.
SUCCEEDED, SKIPPED = "SUCCEEDED", "SKIPPED"
FAILURES = ("FAILED", "ERROR")
# Tasks that tell how a run ended, as a run that succeeded says nothing else: on a broken span; with an alarm, where
# the version that serves fails a bound of the model gate.
BROKEN, ALARM = "ReportBroken", "ReportAlarm"
# The server also lists Argo's nodes: the workflow, its DAGs, the drivers, `executor`.
OWN_TASKS = frozenset((*TASKS, BROKEN, ALARM))
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
    """One run.

    Attributes:
      tasks: the pipeline's own; empty in a list of runs.
      lists_tasks: whether the server has listed any node of it.
    """

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
    lists_tasks: bool = False

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDS

    @property
    def good(self) -> bool:
        """Whether it ended well."""
        return self.state in (SUCCEEDED, SKIPPED)

    @property
    def newest(self) -> dict[str, Task]:
        """The newest attempt of each task, by name."""
        epoch = datetime.min.replace(tzinfo=timezone.utc)
        return {task.name: task for task in sorted(self.tasks, key=lambda each: each.started or epoch)}

    @property
    def failed(self) -> list[Task]:
        """The tasks whose newest attempt failed."""
        return [task for task in self.newest.values() if task.state in FAILURES]

    @property
    def found_broken(self) -> bool:
        """Whether the run put a broken span into quarantine: the run succeeded, and needs attention."""
        return self._succeeded(BROKEN)

    @property
    def raised_alarm(self) -> bool:
        """Whether the version that serves after the run fails a bound of the model gate."""
        return self._succeeded(ALARM)

    @property
    def needs_attention(self) -> bool:
        """Whether somebody must look at the run: it ended badly, found a broken span, raised an alarm, or is
        over and the server does not list its tasks, so that its outcome is unknown."""
        return self.over and (not self.good or self.found_broken or self.raised_alarm or not self.lists_tasks)

    def _succeeded(self, name: str) -> bool:
        # In any attempt: where Argo starts the whole run again, a task that has ended it is skipped the second time.
        return any(task.name == name and task.state == SUCCEEDED for task in self.tasks)

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
      source_digest: `lineage.source_digest` of what its version was compiled from; None where that is unknown.
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
