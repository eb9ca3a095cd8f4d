"""`noria schedule`: recurring runs on Kubeflow Pipelines."""

import math
import re
import shlex
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from noria.core import periods
from noria.core.errors import ClusterError, ConfigError
from noria.pipeline.cli import console
from noria.pipeline.cli import submit as runs
from noria.pipeline.cli.options import for_project
from noria.pipeline.runners.kubeflow import cron as cron_fields
from noria.pipeline.runners.kubeflow.connection import Flags
from noria.pipeline.runners.kubeflow.records import Schedule

SPAN_SECONDS = {"hour": 3600, "day": 86400, "week": 7 * 86400}  # of rows:N nobody knows how long one takes
_KEEPS_UP = {"hour": "--every 1h", "day": "--every 1d", "week": "--every 7d"}
_DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}


def create(
    config_path: Path,
    flags: Flags,
    name: str | None,
    cron: str | None,
    every: str | None,
    package: Path | None,
    max_concurrency: int | None,
    catch_up: bool | None,
    replace: bool,
    as_json: bool,
    image: str | None = None,
) -> int:
    """Uploads this version where it is new, and schedules it.

    A schedule in another's place is paused where that was, and keeps its `max_concurrency` and `catch_up` where
    nothing is said of them (None).
    """
    if (cron is None) == (every is None):
        raise ConfigError(
            "a schedule needs either times or an interval",
            where="noria schedule create",
            next_step="--cron '0 6 * * *', or --every 1h",
        )
    expression = None if cron is None else six_fields(cron)
    seconds = None if every is None else periods.seconds(every)
    config, cluster = runs.connect(config_path, flags)
    called = name or config.name
    old = [each for each in cluster.schedules() if each.name == called]
    if old and not replace:
        raise ClusterError(
            f"there is a schedule {called!r} already ({old[0].trigger}, {_state(old[0])})",
            where=old[0].link,
            next_step="--replace puts this one in its place; another name makes a second one",
        )
    with runs.compiled(config, package, image=image) as ready:
        version = runs.upload(config, cluster, ready)
    if old and max_concurrency is None:
        max_concurrency = old[0].max_concurrency
    if old and catch_up is None:
        catch_up = old[0].catch_up
    made = cluster.create_schedule(
        version,
        called,
        config.kubeflow.pipeline_root,
        expression,
        seconds,
        max_concurrency or 1,
        bool(catch_up),
        enabled=not old or any(each.enabled for each in old),  # who paused it had a reason
    )
    for each in old:  # after the new one is there: killed in between, there are two, and --replace mends it
        cluster.delete(each)
    if as_json:
        console.emit({"schedule": made.row(), "version": version.name, "replaced": [each.id for each in old]})
    else:
        out = console.out()
        how = "replaced" if old else "scheduled"
        out.print(f"[green]✓[/] {how}: {escape(called)}, {escape(made.trigger)}, version {version.name}")
        out.print(f"[bold]link[/]     {escape(made.link)}", soft_wrap=True)
    between = float(seconds or cron_fields.seconds_between(str(expression)))
    span = SPAN_SECONDS.get(config.span.every, math.inf)
    if between > 1.01 * span:
        console.err().print(
            f"[yellow]note[/] a run runs on one span, and there is one each {config.span.every}: "
            f"{escape(made.trigger)} falls behind for ever; {_KEEPS_UP[config.span.every]} keeps up",
            soft_wrap=True,
        )
    if not made.enabled:
        resume = escape(f"noria schedule resume{for_project(config_path)} {shlex.quote(called)}")
        console.err().print(
            f"[yellow]paused[/], as the one before was; {resume} starts its runs again", soft_wrap=True
        )
    return console.OK


def list_all(config_path: Path, flags: Flags, as_json: bool) -> int:
    """All schedules of the experiment."""
    _, cluster = runs.connect(config_path, flags)
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


def change(config_path: Path, flags: Flags, name: str, verb: str, as_json: bool) -> int:
    """Pauses, resumes or deletes one schedule."""
    _, cluster = runs.connect(config_path, flags)
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


def six_fields(cron: str) -> str:
    """A cron expression as Kubeflow reads it: six fields, seconds first.

    Kubeflow takes five fields for an expression with seconds and without weekdays, so that the usual
    `0 6 * * *` (six o'clock) would mean six minutes past every hour. Five fields get their second here.

    Raises:
      ConfigError: neither five nor six fields, nor a word such as @daily, or a number out of its field's range.
    """
    fields = cron.split()
    if len(fields) == 1 and re.fullmatch(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)", cron):
        return cron
    if len(fields) not in (5, 6) or not all(re.fullmatch(r"[\w*/,?-]+", field) for field in fields):
        raise ConfigError(
            f"a cron expression must have five fields, or six with the seconds first, got {cron!r}",
            where="--cron",
            next_step="--cron '0 6 * * *' runs at six o'clock every day (UTC, if the cluster sets nothing else)",
        )
    fields = ["0", *fields] if len(fields) == 5 else fields
    if problem := cron_fields.problem(fields):
        raise ConfigError(
            f"a cron expression cannot be {cron!r}: {problem}",
            where="--cron",
            next_step="minute, hour, day of the month, month, day of the week: '0 6 * * mon-fri'",
        )
    return " ".join(fields)


def _state(schedule: Schedule) -> str:
    return "on" if schedule.enabled else "paused"
