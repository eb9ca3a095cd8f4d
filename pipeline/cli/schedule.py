"""`noria schedule`: recurring runs on Kubeflow Pipelines."""

import math
import re
from typing import TYPE_CHECKING, Annotated

import typer

from noria.core import periods
from noria.core.errors import ClusterError, ConfigError
from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Image, Json, Package, connected, for_project
from noria.pipeline.runners.kubeflow.connection import Flags

if TYPE_CHECKING:
    from pathlib import Path

    from noria.pipeline.runners.kubeflow.kfp_client import Cluster
    from noria.pipeline.runners.kubeflow.records import Schedule

_AS_INTERVAL = {"hour": "1h", "day": "1d", "week": "7d"}  # a part of an hour is written the same
_DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}

app = typer.Typer(help="Recurring runs on Kubeflow Pipelines.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The schedule's name or id.")]


@app.command()
@connected
def create(
    name: Annotated[str | None, typer.Argument(help="The schedule's name. Default: the project's.")] = None,
    config: ConfigFile = PROJECT,
    cron: Annotated[
        str | None, typer.Option(help="Five cron fields such as '0 6 * * *', or six with the seconds first.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="An interval instead of --cron: 90s, 15m, 1h, 2d, 1h30m.")
    ] = None,
    package: Package = None,
    image: Image = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10,
            help="How many runs at the same time. Default: 1, or that of the replaced schedule.",
        ),
    ] = None,
    catch_up: Annotated[
        bool | None,
        typer.Option(
            "--catch-up/--no-catch-up",
            help="After a pause, run once for each missed time. Default: no, or as the replaced schedule.",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace the schedule of that name; stays paused if that was paused."),
    ] = False,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Run this version of the pipeline at the times of a cron expression, or at an interval."""
    import shlex

    from rich.markup import escape

    from noria.pipeline.cli.cluster import compiled, upload
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow import cron as cron_fields

    if (cron is None) == (every is None):
        raise ConfigError(
            "a schedule needs either times or an interval",
            where="noria schedule create",
            next_step="--cron '0 6 * * *', or --every 1h",
        )
    expression = None if cron is None else six_fields(cron)
    seconds = None if every is None else periods.seconds(every)
    settings = load(config)
    cluster = _cluster(config, flags)
    cluster.check_root(settings.kubeflow.pipeline_root)
    called = name or settings.name
    old = [each for each in cluster.schedules() if each.name == called]
    if old and not replace:
        raise ClusterError(
            f"a schedule {called!r} exists already ({old[0].trigger}, {_state(old[0])})",
            where=old[0].link,
            next_step="--replace replaces it; another name adds a second one",
        )
    with compiled(settings, package, image=image) as ready:
        version = upload(settings, cluster, ready)
    if old and max_concurrency is None:
        max_concurrency = old[0].max_concurrency
    if old and catch_up is None:
        catch_up = old[0].catch_up
    made = cluster.create_schedule(
        version,
        called,
        settings.kubeflow.pipeline_root,
        expression,
        seconds,
        max_concurrency or 1,
        bool(catch_up),
        enabled=not old or any(each.enabled for each in old),  # a pause has a reason that may still hold
    )
    for each in old:  # after the new one exists: a kill in between leaves two, and --replace repairs it
        cluster.delete(each)
    if as_json:
        console.emit({"schedule": made.row(), "version": version.name, "replaced": [each.id for each in old]})
    else:
        out = console.out()
        how = "replaced" if old else "scheduled"
        out.print(f"[green]✓[/] {how}: {escape(called)}, {escape(made.trigger)}, version {version.name}")
        out.print(f"[bold]link[/]     {escape(made.link)}", soft_wrap=True)
    between = float(seconds or cron_fields.seconds_between(str(expression)))
    length = settings.span.every
    span = periods.length(length) or math.inf  # nobody knows how long rows:N takes
    if between > 1.01 * span:
        console.err().print(
            f"[yellow]note[/] each run takes one span, and there is a new one every {length}: "
            f"{escape(made.trigger)} falls behind; --every {_AS_INTERVAL.get(length, length)} keeps up",
            soft_wrap=True,
        )
    if not made.enabled:
        command = escape(f"noria schedule resume{for_project(config)} {shlex.quote(called)}")
        console.err().print(
            f"[yellow]paused[/], as the replaced schedule was; {command} resumes it", soft_wrap=True
        )
    return console.OK


@app.command("list")
@connected
def list_(config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """List the schedules."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    cluster = _cluster(config, flags)
    found = cluster.schedules()
    if as_json:
        console.emit(
            {"experiment": cluster.connection.experiment, "schedules": [each.row() for each in found]}
        )
        return console.OK
    out = console.out()
    if not found:
        experiment = escape(cluster.connection.experiment)
        out.print(
            f"no schedule in experiment {experiment}; `noria schedule create --every 1h` makes one",
            soft_wrap=True,
        )
        return console.OK
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("schedule", "state", "when", "at once", "catch-up", "created (UTC)"):
        table.add_column(title, justify="right" if title == "at once" else "left")
    table.add_column("id", no_wrap=True)
    for each in found:
        table.add_row(
            escape(each.name),
            Text(_state(each), "green" if each.enabled else "yellow"),
            escape(each.trigger),
            str(each.max_concurrency),
            "yes" if each.catch_up else "no",
            f"{each.created:%Y-%m-%d %H:%M}" if each.created else "–",
            each.id,
        )
    out.print(table)
    return console.OK


@app.command()
@connected
def pause(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Pause a schedule: it starts no run until it is resumed."""
    return _change(config, flags, name, "pause", as_json)


@app.command()
@connected
def resume(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Resume a paused schedule."""
    return _change(config, flags, name, "resume", as_json)


@app.command()
@connected
def delete(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Delete a schedule; its runs are kept."""
    return _change(config, flags, name, "delete", as_json)


def _change(config: "Path", flags: Flags, name: str, verb: str, as_json: bool) -> int:
    from rich.markup import escape

    cluster = _cluster(config, flags)
    found = cluster.schedule(name)
    if verb == "delete":
        cluster.delete(found)
    else:
        found = cluster.pause(found) if verb == "pause" else cluster.resume(found)
    if as_json:
        console.emit({"schedule": found.row(), "done": _DONE[verb]})
    else:
        console.out().print(f"[green]✓[/] {_DONE[verb]}: {escape(found.name)} ({escape(found.trigger)})")
    return console.OK


def _cluster(config: "Path", flags: Flags) -> "Cluster":
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow.connection import resolve
    from noria.pipeline.runners.kubeflow.kfp_client import Cluster

    return Cluster(resolve(load(config), flags))


def six_fields(cron: str) -> str:
    """A cron expression as Kubeflow reads it: six fields, seconds first.

    Kubeflow reads five fields as an expression with seconds and without weekdays, so that the usual
    `0 6 * * *` (six o'clock) would mean six minutes past every hour. Five fields get a second 0 here.

    Raises:
      ConfigError: neither five nor six fields, nor a word such as @daily, or a number out of its field's range.
    """
    from noria.pipeline.runners.kubeflow import cron as cron_fields

    fields = cron.split()
    if len(fields) == 1 and re.fullmatch(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)", cron):
        return cron
    if len(fields) not in (5, 6) or not all(re.fullmatch(r"[\w*/,?-]+", field) for field in fields):
        raise ConfigError(
            f"a cron expression must have five fields, or six with the seconds first, got {cron!r}",
            where="--cron",
            next_step="--cron '0 6 * * *' runs at six o'clock every day (UTC, unless the cluster sets a time zone)",
        )
    fields = ["0", *fields] if len(fields) == 5 else fields
    if problem := cron_fields.problem(fields):
        raise ConfigError(
            f"a cron expression cannot be {cron!r}: {problem}",
            where="--cron",
            next_step="minute, hour, day of the month, month, day of the week: '0 6 * * mon-fri'",
        )
    return " ".join(fields)


def _state(schedule: "Schedule") -> str:
    return "on" if schedule.enabled else "paused"
