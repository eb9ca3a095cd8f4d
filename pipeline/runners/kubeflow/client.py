"""Pipelines, versions, runs and schedules on Kubeflow Pipelines, by way of the kfp SDK (2.5 to 2.16).

Values come back as our own: the same names whatever kfp's version, times in UTC.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from noria.core.errors import ClusterError, did_you_mean
from noria.pipeline.runners.kubeflow import checks
from noria.pipeline.runners.kubeflow.connection import Connection
from noria.pipeline.runners.kubeflow.failure import STORE
from noria.pipeline.runners.kubeflow.package import Package
from noria.pipeline.runners.kubeflow.records import ENDS, SUCCEEDED, Run, Schedule, Task, TrainedRun, Version

PAGE = 100
# Runs, newest first; each is a request, as a list of runs has no tasks. A schedule of 15 minutes makes 672 in a week,
# the longest span, all but one of them empty.
LOOK_BACK = 1000
# The task that records the run, whatever the verdict. A run that found nothing new succeeds without it, as
# does one on a broken span.
RECORDS_THE_TURN = "Pusher"
_DIGEST = "source_digest="


class Cluster:
    """What Noria asks of Kubeflow Pipelines.

    Raises:
      ClusterError: from every method, where the server refuses, fails or cannot be reached.
      LaneError: kfp is not installed.
    """

    def __init__(self, connection: Connection):
        checks.check_installed()
        from noria.pipeline.runners.kubeflow import transport

        self.connection = connection
        self._quiet = transport.quiet
        self._client: Any = transport.Client(connection)
        # Given, or in a pod the pod's own, which kfp looks up where Kubeflow has several users.
        self.namespace: str | None = connection.namespace or self._client.get_user_namespace() or None
        if self._client.get_kfp_healthz().multi_user and self.namespace is None:
            raise ClusterError(
                "this Kubeflow has several users, and nothing says which namespace is ours",
                where=connection.host,
                next_step="--namespace, NORIA_KUBEFLOW_NAMESPACE or `kubeflow.namespace`",
            )

    def upload(self, package: Package, name: str, version: str) -> Version:
        """The version of that name; uploaded, together with the pipeline, where it is not there yet."""
        client, pipeline = self._client, self._pipeline(name)
        with self._quiet():
            if pipeline is None:
                pipeline = client.upload_pipeline(
                    str(package.path), pipeline_name=name, namespace=self.namespace
                ).pipeline_id
            there = client.list_pipeline_versions(
                pipeline, filter=_named(version), page_size=PAGE
            ).pipeline_versions
            known = next(iter(there or ()), None)
            if known is None:
                made = client.upload_pipeline_version(
                    str(package.path),
                    pipeline_version_name=version,
                    pipeline_id=pipeline,
                    description=f"{_DIGEST}{package.source_digest}" if package.source_digest else None,
                )
        which = (known or made).pipeline_version_id
        return Version(pipeline, which, version, uploaded=known is None)

    def run(self, version: Version, name: str, pipeline_root: str) -> Run:
        """Starts a run of the version."""
        with self._quiet():
            made = self._client.run_pipeline(
                experiment_id=self._experiment(),
                job_name=name,
                pipeline_id=version.pipeline_id,
                version_id=version.id,
                pipeline_root=pipeline_root,
                service_account=self.connection.service_account,
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

    def unfinished(self, name: str) -> Run | None:
        """A run of the pipeline of that name that is not over, among the experiment's newest."""
        newest = itertools.islice(self._runs_of(name), PAGE)
        return next((run for run in newest if not run.over), None)

    def trained(self, name: str) -> TrainedRun | None:
        """The newest run of the pipeline of that name that trained on a span, and what its version was made of.

        Raises:
          ClusterError: none of the newest `LOOK_BACK` did; what came before is not looked at.
        """
        for looked, listed in enumerate(self._runs_of(name)):
            if looked == LOOK_BACK:
                raise ClusterError(
                    f"none of the newest {LOOK_BACK} runs has trained on a span",
                    where=f"experiment {self.connection.experiment} on {self.connection.host}",
                    next_step="see whether data still comes; archive old runs",
                )
            if listed.state != SUCCEEDED:
                continue
            run = self.look(listed.id)
            if any(task.name == RECORDS_THE_TURN and task.state == SUCCEEDED for task in run.tasks):
                return TrainedRun(run, self._source_digest(run))
        return None

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
        enabled: bool = True,
    ) -> Schedule:
        """Runs the version again and again: at a cron expression's times, or every so many seconds.

        `enabled`: False makes it paused, so that not even a first run starts.
        """
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
                enabled=enabled,
                pipeline_root=pipeline_root,
                service_account=self.connection.service_account,
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
        try:
            self._client.delete_recurring_run(schedule.id)
        except ClusterError as error:
            if error.status != 404:  # gone is gone: the first try's answer may have been lost
                raise

    def _experiment(self) -> str:
        made = self._client.create_experiment(
            self.connection.experiment, namespace=self.namespace
        )  # or finds it
        return str(made.experiment_id)

    def _known_experiment(self) -> str | None:
        found = self._client.list_experiments(
            filter=_named(self.connection.experiment), namespace=self.namespace, page_size=PAGE
        ).experiments
        return str(found[0].experiment_id) if found else None

    def _pipeline(self, name: str) -> str | None:
        found = self._client.list_pipelines(
            filter=_named(name), namespace=self.namespace, page_size=PAGE
        ).pipelines
        return str(found[0].pipeline_id) if found else None

    def _runs_of(self, name: str) -> Iterator[Run]:
        pipeline, experiment = self._pipeline(name), self._known_experiment()
        if pipeline is not None and experiment is not None:
            for each in self._pages("runs", self._client.list_runs, None, experiment):
                run = self._as_run(each)
                if run.pipeline_id == pipeline:
                    yield run

    def _source_digest(self, run: Run) -> str | None:
        try:
            version = self._client.get_pipeline_version(run.pipeline_id, run.version_id)
        except ClusterError as error:
            if error.status != 404:  # somebody may have deleted it
                raise
            return None
        found = re.search(rf"{_DIGEST}([0-9a-f]{{64}})\b", version.description or "")
        return found[1] if found else None

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
        reference = run.pipeline_version_reference
        state = _state(run.state)
        return Run(
            id=run.run_id,
            name=run.display_name or run.run_id,
            state=state,
            created=_utc(run.created_at),
            ended=_utc(run.finished_at),
            error=_message(run.error),
            link=self.connection.link("runs", run.run_id),
            pipeline_id=getattr(reference, "pipeline_id", None),
            version_id=getattr(reference, "pipeline_version_id", None),
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
    """One line of the server's words: the one in which the object store refuses, or the first."""
    lines = [
        line.strip() for line in str(getattr(status, "message", None) or "").splitlines() if line.strip()
    ]
    return next((line for line in lines if STORE.search(line)), lines[0])[:300] if lines else None


def _utc(time: datetime | None) -> datetime | None:
    """The server says 1970 for "not yet"."""
    if time is None or time.year <= 1970:
        return None
    return time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)
