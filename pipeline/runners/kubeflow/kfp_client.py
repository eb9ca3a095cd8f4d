"""Pipelines, versions, runs and schedules on Kubeflow Pipelines, through the kfp SDK (2.5 to 2.16).

Results are Noria's records: the same names for every version of kfp, times in UTC.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from noria.core.errors import ClusterError, ConfigError, did_you_mean
from noria.pipeline.runners.kubeflow import answers, checks
from noria.pipeline.runners.kubeflow.connection import Connection
from noria.pipeline.runners.kubeflow.package import Package
from noria.pipeline.runners.kubeflow.records import SUCCEEDED, Run, Schedule, TrainedRun, Version

PAGE = 100
OWN_STORE = "minio://mlpipeline"  # the object store that Kubeflow brings
# Runs, newest first; each is a request, as a list of runs has no tasks. A schedule of 15 minutes makes 672 in a week,
# the longest span, all but one of them empty.
LOOK_BACK = 1000
# The task that records the run, with any verdict. A run that found nothing new succeeds without it, as
# does one on a broken span.
RECORDS_THE_RUN = "Pusher"
_DIGEST = "source_digest="


class Cluster:
    """The requests of Noria to Kubeflow Pipelines.

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
        self.multi_user = bool(self._client.get_kfp_healthz().multi_user)
        if self.multi_user and self.namespace is None:
            raise ClusterError(
                "this Kubeflow has several users, and no namespace is set",
                where=connection.host,
                next_step="set --namespace, NORIA_KUBEFLOW_NAMESPACE or `kubeflow.namespace`",
            )

    def check_root(self, root: str | None) -> None:
        """Refuses a pipeline root that the runs' namespace may not write to.

        Kubeflow's own store gives each namespace of several one folder since 2.15 (the profile controller's
        `sync.py`). What other stores permit is not known here.

        Raises:
          ConfigError: it is another folder of that store.
        """
        own = f"{OWN_STORE}/private-artifacts/{self.namespace}"
        if not self.multi_user or root is None or not f"{root}/".startswith(f"{OWN_STORE}/"):
            return
        if not f"{root}/".startswith(f"{own}/"):
            raise ConfigError(
                f"the namespace {self.namespace} may not write to {root}",
                where="kubeflow.pipeline_root",
                next_step=f"remove the key, so that the namespace's own root applies, or set it below {own}/",
            )

    def upload(self, package: Package, name: str, version: str) -> Version:
        """The version of that name; uploaded, with the pipeline, if the server does not have it."""
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

    def run(self, version: Version, name: str, pipeline_root: str | None) -> Run:
        """Starts a run of the version. Without a root, the namespace's own applies (`kfp-launcher`)."""
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

    def get_run(self, run_id: str) -> Run:
        """The run as it is now, with its tasks."""
        return self._as_run(self._client.run_answer(run_id, [answers.VIEW]))

    def runs(self, limit: int) -> list[Run]:
        """The experiment's newest runs, newest first."""
        experiment = self._known_experiment()
        if experiment is None:
            return []
        pages = self._pages("runs", self._client.list_runs, limit, experiment)
        return [self._as_run(each) for each in pages]

    def unfinished(self, name: str) -> Run | None:
        """A run of the pipeline of that name that is not finished, among the experiment's newest."""
        newest = itertools.islice(self._runs_of(name), PAGE)
        return next((run for run in newest if not run.over), None)

    def trained(self, name: str) -> TrainedRun | None:
        """The newest run of the pipeline of that name that trained on a span, and what its version was made of.

        Raises:
          ClusterError: none of the newest `LOOK_BACK` did, and older ones are not read; or the server lists no
            tasks.
        """
        for read, listed in enumerate(self._runs_of(name)):
            if read == LOOK_BACK:
                raise ClusterError(
                    f"none of the newest {LOOK_BACK} runs has trained on a span",
                    where=f"experiment {self.connection.experiment} on {self.connection.host}",
                    next_step="check whether new data still arrives; archive old runs",
                )
            if listed.state != SUCCEEDED:
                continue
            run = self.get_run(listed.id)
            if not run.lists_tasks:
                raise ClusterError(
                    "the server lists no tasks of a run that succeeded, so what it did is unknown",
                    where=run.link,
                    next_step="check that the server is Kubeflow Pipelines 2.5 or newer, and update Noria",
                )
            if any(task.name == RECORDS_THE_RUN and task.state == SUCCEEDED for task in run.tasks):
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
            next_step="`noria schedule list` lists the schedules",
        )

    def create_schedule(
        self,
        version: Version,
        name: str,
        pipeline_root: str | None,
        cron: str | None = None,
        seconds: int | None = None,
        max_concurrency: int = 1,
        catch_up: bool = False,
        enabled: bool = True,
    ) -> Schedule:
        """Runs the version repeatedly: at the times of a cron expression, or at an interval in seconds.

        `enabled`: False creates it paused, so that no run starts.
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
        """Starts no more runs until it is resumed."""
        self._client.disable_recurring_run(schedule.id)
        return dataclasses.replace(schedule, enabled=False)

    def resume(self, schedule: Schedule) -> Schedule:
        """Starts runs again."""
        self._client.enable_recurring_run(schedule.id)
        return dataclasses.replace(schedule, enabled=True)

    def delete(self, schedule: Schedule) -> None:
        """Deletes the schedule; its runs are kept."""
        try:
            self._client.delete_recurring_run(schedule.id)
        except ClusterError as error:
            if error.status != 404:  # it is deleted: the answer to an earlier attempt may have been lost
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
        answer = self._client.as_json(run)
        return answers.run(answer, self.connection.link("runs", answer["run_id"]))

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
            created=answers.utc(run.created_at and run.created_at.isoformat()),
            link=self.connection.link("recurringrun", run.recurring_run_id),
        )


def _every(seconds: int) -> str:
    """An interval in its largest whole unit: 5400 gives 'every 90 min'."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"every {seconds // length} {unit}"
    return f"every {seconds} s"


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})
