"""Pipelines, versions, runs and schedules on Kubeflow Pipelines, by way of the kfp SDK (2.5 to 2.16).

Values come back as our own: the same names whatever kfp's version, times in UTC.
"""

import dataclasses
import graphlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from noria.pipeline.kubeflow import checks
from noria.pipeline.kubeflow.connection import Connection
from noria.stores.errors import ClusterError, DataError, did_you_mean

# The ends of a run. kfp's own `wait_for_run_completion` waits for ever on CANCELED. The published states lack
# ERROR, which kfp ends on as well; a server that says it is believed.
SUCCEEDED, SKIPPED = "SUCCEEDED", "SKIPPED"
ENDS = (SUCCEEDED, SKIPPED, "FAILED", "ERROR", "CANCELED")
PAGE = 100


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

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDS

    @property
    def good(self) -> bool:
        """Whether it ended as it should."""
        return self.state in (SUCCEEDED, SKIPPED)

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
class Version:
    """A version of the pipeline on the server."""

    pipeline_id: str
    id: str
    name: str
    uploaded: bool


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline: a YAML file with the specification and, after it, the platform's part."""

    path: Path
    name: str
    tasks: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Package":
        """Raises DataError where the file is no package."""
        try:
            spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            dags = [each["dag"] for each in (spec["root"], *spec["components"].values()) if "dag" in each]
            tasks = tuple(task for dag in dags for task in _in_order(dag["tasks"]))
            return cls(path, spec["pipelineInfo"]["name"], tasks)
        except OSError as error:
            reason = str(error.strerror)
        except (
            StopIteration,
            graphlib.CycleError,
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
            yaml.YAMLError,
        ):
            reason = "it is no Kubeflow pipeline (schema 2.1, YAML)"
        raise DataError(
            f"the package cannot be used: {reason}",
            where=path,
            next_step="noria compile --output FILE writes one; left out, `noria submit` compiles by itself",
        )


class Cluster:
    """What Noria asks of Kubeflow Pipelines.

    Raises:
      ClusterError: from every method, where the server refuses, fails or cannot be reached.
      LaneError: kfp is not installed.
    """

    def __init__(self, connection: Connection):
        checks.check_installed()
        from noria.pipeline.kubeflow import transport

        self.connection = connection
        self._quiet = transport.quiet
        self._client: Any = transport.Client(connection)
        if self._client.get_kfp_healthz().multi_user and not self._client.get_user_namespace():
            raise ClusterError(
                "this Kubeflow has several users, and nothing says which namespace is ours",
                where=connection.host,
                next_step="--namespace, NORIA_KUBEFLOW_NAMESPACE or `kubeflow.namespace`",
            )

    def upload(self, package: Package, name: str, version: str) -> Version:
        """The version of that name; uploaded, together with the pipeline, where it is not there yet."""
        client, namespace = self._client, self.connection.namespace
        found = client.list_pipelines(filter=_named(name), namespace=namespace, page_size=PAGE).pipelines
        pipeline = next(iter(found or ()), None)
        with self._quiet():
            if pipeline is None:
                pipeline = client.upload_pipeline(str(package.path), pipeline_name=name, namespace=namespace)
            there = client.list_pipeline_versions(
                pipeline.pipeline_id, filter=_named(version), page_size=PAGE
            ).pipeline_versions
            known = next(iter(there or ()), None)
            if known is None:
                made = client.upload_pipeline_version(
                    str(package.path), pipeline_version_name=version, pipeline_id=pipeline.pipeline_id
                )
        which = (known or made).pipeline_version_id
        return Version(pipeline.pipeline_id, which, version, uploaded=known is None)

    def run(self, version: Version, name: str, pipeline_root: str) -> Run:
        """Starts a run of the version."""
        with self._quiet():
            made = self._client.run_pipeline(
                experiment_id=self._experiment(),
                job_name=name,
                pipeline_id=version.pipeline_id,
                version_id=version.id,
                pipeline_root=pipeline_root,
            )
        return self._as_run(made)

    def look(self, run_id: str) -> Run:
        """The run as it is now, with its tasks."""
        return self._as_run(self._client.get_run(run_id))

    def runs(self, limit: int) -> list[Run]:
        """The experiment's newest runs, newest first."""
        experiment = self._known_experiment()
        if experiment is None:
            return []
        pages = self._pages("runs", self._client.list_runs, limit, experiment)
        return [self._as_run(each) for each in pages]

    def schedules(self) -> list[Schedule]:
        """The experiment's schedules, newest first."""
        experiment = self._known_experiment()
        if experiment is None:
            return []
        pages = self._pages("recurring_runs", self._client.list_recurring_runs, None, experiment)
        return [self._as_schedule(each) for each in pages]

    def schedule(self, name: str) -> Schedule:
        """The one of that name or id.

        Raises:
          ClusterError: there is none, or several share the name.
        """
        there = self.schedules()
        found = [each for each in there if name in (each.name, each.id)]
        if len(found) == 1:
            return found[0]
        where = f"experiment {self.connection.experiment} on {self.connection.host}"
        if found:
            ids = ", ".join(each.id for each in found)
            raise ClusterError(
                f"{len(found)} schedules are called {name!r}", where=where, next_step=f"give one's id: {ids}"
            )
        hint = did_you_mean(name, [each.name for each in there])
        raise ClusterError(
            f"there is no schedule {name!r}" + (f"; {hint}" if hint else ""),
            where=where,
            next_step="`noria schedule list` shows those that are there",
        )

    def create_schedule(
        self,
        version: Version,
        name: str,
        pipeline_root: str,
        cron: str | None = None,
        seconds: int | None = None,
        max_concurrency: int = 1,
        catch_up: bool = False,
    ) -> Schedule:
        """Runs the version again and again: at a cron expression's times, or every so many seconds."""
        with self._quiet():
            made = self._client.create_recurring_run(
                experiment_id=self._experiment(),
                job_name=name,
                cron_expression=cron,
                interval_second=seconds,
                max_concurrency=max_concurrency,
                no_catchup=not catch_up,
                pipeline_id=version.pipeline_id,
                version_id=version.id,
                pipeline_root=pipeline_root,
            )
        return self._as_schedule(made)

    def pause(self, schedule: Schedule) -> Schedule:
        """No further runs until resumed."""
        self._client.disable_recurring_run(schedule.id)
        return dataclasses.replace(schedule, enabled=False)

    def resume(self, schedule: Schedule) -> Schedule:
        """Runs again."""
        self._client.enable_recurring_run(schedule.id)
        return dataclasses.replace(schedule, enabled=True)

    def delete(self, schedule: Schedule) -> None:
        """Forgets the schedule; its runs stay."""
        self._client.delete_recurring_run(schedule.id)

    def _experiment(self) -> str:
        made = self._client.create_experiment(
            self.connection.experiment, namespace=self.connection.namespace
        )  # or finds it
        return str(made.experiment_id)

    def _known_experiment(self) -> str | None:
        found = self._client.list_experiments(
            filter=_named(self.connection.experiment), namespace=self.connection.namespace, page_size=PAGE
        ).experiments
        return str(found[0].experiment_id) if found else None

    def _pages(
        self, kind: str, call: Callable[..., Any], limit: int | None, experiment: str
    ) -> Iterator[Any]:
        token, left = "", limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            answer = call(
                page_token=token, page_size=size, sort_by="created_at desc", experiment_id=experiment
            )
            found = (getattr(answer, kind) or [])[:size]
            yield from found
            token = answer.next_page_token or ""
            left = None if left is None else left - len(found)
            if not token or not found:
                return

    def _as_run(self, run: Any) -> Run:
        details = getattr(run.run_details, "task_details", None) or ()
        state = _state(run.state)
        return Run(
            id=run.run_id,
            name=run.display_name or run.run_id,
            state=state,
            created=_utc(run.created_at),
            ended=_utc(run.finished_at),
            error=_message(run.error),
            link=self.connection.link("runs", run.run_id),
            tasks=tuple(
                Task(
                    name=task.display_name or task.task_id or "",
                    state=_state(task.state, run_over=state in ENDS),
                    started=_utc(task.start_time),
                    ended=_utc(task.end_time),
                    error=_message(task.error),
                )
                for task in details
            ),
        )

    def _as_schedule(self, run: Any) -> Schedule:
        trigger, reference = run.trigger, run.pipeline_version_reference
        cron = getattr(getattr(trigger, "cron_schedule", None), "cron", None)
        every = getattr(getattr(trigger, "periodic_schedule", None), "interval_second", None)
        return Schedule(
            id=run.recurring_run_id,
            name=run.display_name or run.recurring_run_id,
            enabled=run.mode == "ENABLE" if run.mode else run.status == "ENABLED",
            trigger=f"cron {cron}" if cron else _every(int(every or 0)),
            max_concurrency=int(run.max_concurrency or 1),
            catch_up=not run.no_catchup,
            version_id=getattr(reference, "pipeline_version_id", None),
            created=_utc(run.created_at),
            link=self.connection.link("recurringrun", run.recurring_run_id),
        )


def _in_order(tasks: dict[str, Any]) -> Iterator[str]:
    """Names as the tasks run; the file has them by the alphabet."""
    after = {name: task.get("dependentTasks", ()) for name, task in sorted(tasks.items())}
    return iter(graphlib.TopologicalSorter(after).static_order())


def _state(said: str | None, run_over: bool = False) -> str:
    """The server has no word for a task that never began, because one before it failed; Argo says omitted."""
    if said and said != "RUNTIME_STATE_UNSPECIFIED":
        return str(said)
    return "OMITTED" if run_over else "PENDING"


def _every(seconds: int) -> str:
    """An interval in its largest whole unit: 5400 gives 'every 90 min'."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"every {seconds // length} {unit}"
    return f"every {seconds} s"


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})


def _message(status: Any) -> str | None:
    said = getattr(status, "message", None)
    return str(said).strip().splitlines()[0][:300] if said else None


def _utc(time: datetime | None) -> datetime | None:
    """The server says 1970 for "not yet"."""
    if time is None or time.year <= 1970:
        return None
    return time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
