"""`noria submit`, `noria runs` and `noria schedule`, as the command line takes them."""

from pathlib import Path
from typing import Annotated

import typer

from noria.pipeline.cli.options import (
    LONGEST,
    PROJECT,
    ConfigFile,
    Image,
    Json,
    WaitForRunning,
    a_number,
    connected,
)
from noria.pipeline.runners.kubeflow.connection import Flags

schedule = typer.Typer(help="Runs again and again, on Kubeflow Pipelines.", no_args_is_help=True)

Package = Annotated[
    Path | None,
    typer.Option(help="A package that `noria compile` has written. Left out: compiled now."),
]
Name = Annotated[str, typer.Argument(help="The schedule's name or id.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `noria`."""
    app.command()(submit)
    app.command()(runs)
    app.add_typer(schedule, name="schedule")


@connected
def submit(
    config: ConfigFile = PROJECT,
    package: Package = None,
    image: Image = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the run, and leave.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=LONGEST,
            callback=a_number,
            help="Seconds to follow the run; it goes on after that. Left out: to its end.",
        ),
    ] = None,
    wait_for_running: WaitForRunning = 0,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Run the pipeline on Kubeflow Pipelines: upload this version, start it, follow it to its end."""
    from noria.pipeline.cli import submit

    return submit.submit(config, flags, package, no_wait, timeout, as_json, wait_for_running, image=image)


@connected
def runs(
    config: ConfigFile = PROJECT,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """List the newest runs on Kubeflow Pipelines."""
    from noria.pipeline.cli import submit

    return submit.runs(config, flags, limit, as_json)


@schedule.command("create")
@connected
def create(
    name: Annotated[str | None, typer.Argument(help="Its name. Left out: the project's.")] = None,
    config: ConfigFile = PROJECT,
    cron: Annotated[
        str | None, typer.Option(help="Five cron fields such as '0 6 * * *', or six, seconds first.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="Or an interval: 90s, 15m, 1h, 2d, 1h30m.")] = None,
    package: Package = None,
    image: Image = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=10, help="Runs at the same time. Left out: 1, or that of the one that is replaced."
        ),
    ] = None,
    catch_up: Annotated[
        bool | None,
        typer.Option(
            "--catch-up/--no-catch-up",
            help="After a pause, run once for each missed time. Left out: no, or as the one that is replaced.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of the one of that name; paused, if that is.")
    ] = False,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Run this version of the pipeline at a cron expression's times, or at an interval."""
    from noria.pipeline.cli import schedule

    return schedule.create(
        config, flags, name, cron, every, package, max_concurrency, catch_up, replace, as_json, image
    )


@schedule.command("list")
@connected
def list_(config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """List the schedules."""
    from noria.pipeline.cli import schedule

    return schedule.list_all(config, flags, as_json)


@schedule.command("pause")
@connected
def pause(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Start no further runs until resumed."""
    from noria.pipeline.cli import schedule

    return schedule.change(config, flags, name, "pause", as_json)


@schedule.command("resume")
@connected
def resume(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Start runs again."""
    from noria.pipeline.cli import schedule

    return schedule.change(config, flags, name, "resume", as_json)


@schedule.command("delete")
@connected
def delete(name: Name, config: ConfigFile = PROJECT, *, flags: Flags, as_json: Json = False) -> int:
    """Delete the schedule; its runs stay."""
    from noria.pipeline.cli import schedule

    return schedule.change(config, flags, name, "delete", as_json)
