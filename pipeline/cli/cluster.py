"""Runs on Kubeflow Pipelines as the command line shows them: compiled, uploaded, started, followed."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.markup import escape

from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console
from noria.pipeline.cli.compile import compile_quietly
from noria.pipeline.cli.options import for_project
from noria.pipeline.cli.run_view import RunView, coloured_state
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import failure, follow
from noria.pipeline.runners.kubeflow.connection import Connection, Flags, resolve
from noria.pipeline.runners.kubeflow.image import with_image
from noria.pipeline.runners.kubeflow.kfp_client import Cluster
from noria.pipeline.runners.kubeflow.package import Package, version_name
from noria.pipeline.runners.kubeflow.records import Run, Version


def submit(
    config: Config,
    flags: Flags,
    *,
    package: Path | None = None,
    image: str | None = None,
    no_wait: bool = False,
    timeout: float | None = None,
    wait: float = 0,
    cold: bool = False,
    as_json: bool = False,
    decision: Mapping[str, Any] | None = None,
) -> int:
    """Uploads this version if it is new, starts a run of it, and follows the run.

    Args:
      config: the project's settings.
      flags: where the cluster is.
      package: compiled already; None compiles now.
      image: of every task; overrides environment and config.
      no_wait: start the run and return.
      timeout: seconds to follow the run; None for its end.
      wait: seconds to wait for another run of the project.
      cold: the run trains from scratch.
      as_json: print an object.
      decision: more keys of that object: the decision of `noria ci`.

    Returns:
      The exit code: 3 where the run needs attention (`Run.needs_attention`), or was not followed to its end.
    """
    cluster = Cluster(resolve(config, flags))  # before compiling, which takes longer
    cluster.check_root(config.kubeflow.pipeline_root)
    wait_for_others(cluster, config, wait)
    with compiled(config, package, cold, image) as ready:
        version = upload(config, cluster, ready)
        now = datetime.now(timezone.utc)
        run = cluster.run(version, f"{config.name} {now:%Y-%m-%d %H:%M:%S}", config.kubeflow.pipeline_root)
        view = RunView(console.err(), ready.tasks)
    view.started(run, version)
    if not no_wait:
        try:
            run = _follow(cluster, run, view, timeout)
        except KeyboardInterrupt:
            console.err().print(f"no longer following; the run continues: {escape(run.link)}", soft_wrap=True)
            return console.INTERRUPTED
    if as_json:
        console.emit({**(decision or {}), **_to_json(run, version, cluster.connection, view)})
    else:
        out = console.out()
        out.print(coloured_state(run.state), escape(run.name))
        if run.error:
            out.print(escape(run.error), soft_wrap=True)
        out.print(f"[bold]run[/]      {run.id}")
        out.print(f"[bold]link[/]     {escape(run.link)}", soft_wrap=True)
    print_failure(run, cluster, config)
    if run.over:
        return console.ATTENTION if run.needs_attention else console.OK
    return console.OK if no_wait else console.ATTENTION


def wait_for_others(cluster: Cluster, config: Config, seconds: float) -> bool:
    """Waits until no other run of the project is active; whether one was."""

    def on_wait(run: Run) -> None:
        console.err().print(f"waiting for the end of {escape(run.name)}  {escape(run.link)}", soft_wrap=True)

    return follow.wait_for_others(cluster, config.name, seconds, on_wait=on_wait)


def print_failure(run: Run, cluster: Cluster, config: Config) -> None:
    """On standard error: what failed and where to look next; nothing about a run that needs no attention."""
    err = console.err()
    if run.found_broken:
        err.print(
            "[yellow]the span is broken:[/] it is in quarantine, and the champion still serves",
            soft_wrap=True,
        )
        err.print("   [dim]next[/] noria report, where the volume is mounted", soft_wrap=True)
    if run.raised_alarm:
        err.print(
            "[bold red]alarm:[/] the version that serves after this run fails a bound of the model gate",
            soft_wrap=True,
        )
        err.print("   [dim]next[/] noria report, where the volume is mounted", soft_wrap=True)
    if run.over and not run.lists_tasks:
        err.print(
            "the server does not list the run's tasks, so it is unknown here whether its span is broken",
            soft_wrap=True,
        )
        err.print("   [dim]next[/] noria status, where the volume is mounted", soft_wrap=True)
    if not run.over or run.good:
        return
    causes = failure.causes(run, config, cluster.namespace)
    for task in run.failed:
        why = f": {causes[task.name]}" if task.name in causes else ""
        err.print(f"[bold red]failed[/] {escape(task.name + why)}", soft_wrap=True)
    for step in failure.next_steps(run, causes, config, cluster.namespace):
        err.print(f"   [dim]next[/] {escape(step)}", soft_wrap=True)


@contextlib.contextmanager
def compiled(
    config: Config, package: Path | None, cold: bool = False, image: str | None = None
) -> Iterator[Package]:
    """The given package, or one compiled now, for `image` if the command line names one."""
    if package is not None and image:
        raise ConfigError(
            "the package has an image already, so --image cannot be used with --package",
            where=package,
            next_step="omit --package to compile now, or give --image to `noria compile`",
        )
    if package is not None:
        ready = Package.read(package)
        if ready.name != config.name:
            raise ConfigError(
                f"the package is of the project {ready.name!r}, and this one is {config.name!r}",
                where=package,
                next_step=f"noria compile{for_project(config.path)} --output FILE writes this project's package; "
                "or name the package's project: --config",
            )
        yield ready
        return
    with tempfile.TemporaryDirectory(prefix="noria-") as folder:
        yield Package.read(
            compile_quietly(with_image(config, image), Path(folder) / f"{config.name}.yaml", cold)
        )


def upload(config: Config, cluster: Cluster, package: Package) -> Version:
    """The version of these settings, this code and this package on the server."""
    return cluster.upload(package, config.name, version_name(config, package))


def _follow(cluster: Cluster, run: Run, view: RunView, timeout: float | None) -> Run:
    """The run as it was last seen: an error while following must not look like a run that never started."""
    lost: NoriaError | None = None
    with view:
        try:
            for seen in follow.follow(cluster, run, timeout, on_loss=view.lost):
                run = seen
                view.show(run)
        except NoriaError as error:
            lost = error
    if lost is not None:
        console.show_error(lost)  # here, after the live table has ended
    elif not run.over:
        view.print(f"[yellow]stopped following after {timeout:g} seconds;[/] the run continues")
    return run


def _to_json(run: Run, version: Version, connection: Connection, view: RunView) -> dict[str, Any]:
    tasks = [
        {"name": task.name, "state": task.state, "seconds": task.seconds, "error": task.error}
        for task in view.tasks(run)
    ]
    return {
        **run.row(),
        "over": run.over,
        "broken_span": run.found_broken,
        "alarm": run.raised_alarm,
        "failed": [task.name for task in run.failed],
        "pipeline_id": version.pipeline_id,
        "version_id": version.id,
        "version": version.name,
        "uploaded": version.uploaded,
        "experiment": connection.experiment,
        "tasks": tasks,
    }
