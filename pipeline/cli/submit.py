"""`noria submit` and `noria runs`: Kubeflow Pipelines, seen from the terminal."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console
from noria.pipeline.cli.compile import compile_quietly
from noria.pipeline.cli.options import for_project
from noria.pipeline.cli.run_view import RunView, coloured_state
from noria.pipeline.config import Config, load
from noria.pipeline.runners.kubeflow import failure, follow
from noria.pipeline.runners.kubeflow.client import Cluster
from noria.pipeline.runners.kubeflow.connection import Connection, Flags, resolve
from noria.pipeline.runners.kubeflow.image import with_image
from noria.pipeline.runners.kubeflow.package import Package, version_name
from noria.pipeline.runners.kubeflow.records import Run, Version


def connect(config_path: Path, flags: Flags) -> tuple[Config, Cluster]:
    """The project and its cluster, reached."""
    config = load(config_path)
    return config, Cluster(resolve(config, flags))


def submit(
    config_path: Path,
    flags: Flags,
    package: Path | None,
    no_wait: bool,
    timeout: float | None,
    as_json: bool,
    wait: float = 0,
    cold: bool = False,
    besides: Mapping[str, Any] | None = None,
    image: str | None = None,
) -> int:
    """Uploads this version where it is new, starts a run of it, and follows it.

    Args:
      wait: seconds to wait for another run of the project.
      cold: the run trains from nothing.
      besides: further facts of the object that `--json` prints.
      image: of every task, instead of what environment or config say.
    """
    config, cluster = connect(config_path, flags)  # before compiling, which takes longer
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
            console.err().print(
                f"not followed any further; the run goes on: {escape(run.link)}", soft_wrap=True
            )
            return console.INTERRUPTED
    if as_json:
        console.emit({**(besides or {}), **_submitted(run, version, cluster.connection, view)})
    else:
        out = console.out()
        out.print(coloured_state(run.state), escape(run.name))
        if run.error:
            out.print(escape(run.error), soft_wrap=True)
        out.print(f"[bold]run[/]      {run.id}")
        out.print(f"[bold]link[/]     {escape(run.link)}", soft_wrap=True)
    tell_bad_end(run, cluster, config)
    if run.over:
        return console.OK if run.good and not run.found_broken else console.ATTENTION
    return (
        console.OK if no_wait else console.ATTENTION
    )  # one that is not over in time, or not watched to its end, is looked at


def wait_for_others(cluster: Cluster, config: Config, seconds: float) -> bool:
    """Waits until no other run of the project goes on; whether one did."""

    def say(run: Run) -> None:
        console.err().print(f"waiting for the end of {escape(run.name)}  {escape(run.link)}", soft_wrap=True)

    return follow.wait_for_others(cluster, config.name, seconds, on_wait=say)


def tell_bad_end(run: Run, cluster: Cluster, config: Config) -> None:
    """On standard error: what failed and where to look next; nothing about a run that needs nobody."""
    said = console.err()
    if run.found_broken:
        said.print(
            "[yellow]the span is broken:[/] it is in quarantine, and the champion serves on", soft_wrap=True
        )
        said.print("   [dim]next[/] noria report, where the volume is mounted", soft_wrap=True)
    if not run.over or run.good:
        return
    for task in run.failed:
        why = f": {task.error}" if task.error else ""
        said.print(f"[bold red]failed[/] {escape(task.name + why)}", soft_wrap=True)
    for step in failure.next_steps(run, cluster.namespace, config.kubeflow.pipeline_root):
        said.print(f"   [dim]next[/] {escape(step)}", soft_wrap=True)


def _follow(cluster: Cluster, run: Run, view: RunView, timeout: float | None) -> Run:
    """The run as it was last seen: a watch that fails after the start must not look like a run that never began."""
    lost: NoriaError | None = None
    with view:
        try:
            for seen in follow.follow(cluster, run, timeout, on_loss=view.lost):
                run = seen
                view.show(run)
        except NoriaError as error:
            lost = error
    if lost is not None:
        console.show_error(lost)  # not above: the live table is gone here
    elif not run.over:
        view.print(f"[yellow]{timeout:g} seconds are over;[/] the run goes on")
    return run


def _submitted(run: Run, version: Version, connection: Connection, view: RunView) -> dict[str, Any]:
    tasks = [
        {"name": task.name, "state": task.state, "seconds": task.seconds, "error": task.error}
        for task in view.tasks(run)
    ]
    return {
        **run.row(),
        "over": run.over,
        "broken_span": run.found_broken,
        "failed": [task.name for task in run.failed],
        "pipeline_id": version.pipeline_id,
        "version_id": version.id,
        "version": version.name,
        "uploaded": version.uploaded,
        "experiment": connection.experiment,
        "tasks": tasks,
    }


@contextlib.contextmanager
def compiled(
    config: Config, package: Path | None, cold: bool = False, image: str | None = None
) -> Iterator[Package]:
    """The package given, or one compiled now, for `image` where the command line names one."""
    if package is not None and image:
        raise ConfigError(
            "a package names its image already: --image cannot change it",
            where=package,
            next_step="leave out --package to compile now, or give --image to `noria compile`",
        )
    if package is not None:
        ready = Package.read(package)
        if ready.name != config.name:
            raise ConfigError(
                f"the package is of the project {ready.name!r}, and this one is {config.name!r}",
                where=package,
                next_step=f"noria compile{for_project(config.path)} --output FILE writes this project's package; "
                "or name the package's own project: --config",
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


def runs(config_path: Path, flags: Flags, limit: int, as_json: bool) -> int:
    """The newest runs of the experiment."""
    config, cluster = connect(config_path, flags)
    found = cluster.runs(limit)
    if as_json:
        console.emit({"experiment": cluster.connection.experiment, "runs": [run.row() for run in found]})
        return console.OK
    out = console.out()
    if not found:
        out.print(
            f"no run yet in experiment {escape(cluster.connection.experiment)}; `noria submit` starts one"
        )
        return console.OK
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "state", "started (UTC)"):
        table.add_column(title)
    table.add_column("seconds", justify="right")
    table.add_column("id", no_wrap=True)
    for run in found:
        started = f"{run.created:%Y-%m-%d %H:%M}" if run.created else "–"
        seconds = "–" if run.seconds is None else f"{run.seconds:.0f}"
        table.add_row(escape(run.name), coloured_state(run.state), started, seconds, run.id)
    out.print(table)
    out.print(f"[bold]link[/]     {escape(found[0].link)}", soft_wrap=True)
    if found[0].over:
        tell_bad_end(cluster.look(found[0].id), cluster, config)  # a list has no tasks
    return console.OK
