"""The command line. Commands import what they need when they run: `noria --help` imports no TFX, no pandas.

Exit codes: 0 done; 1 refused, with what was wrong and what to do next; 2 wrong usage; 3 it ran, and found
something a person must look at (a broken span, a failed check of `noria doctor`, a run on the cluster that
ended badly); 70 a bug, with the path of the traceback; 130 interrupted.
"""

import enum
import importlib.metadata
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from noria.core import files
from noria.core.errors import NoriaError
from noria.pipeline.cli import cluster_app, console
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

EPILOG = "Exit codes: 0 done, 1 refused, 2 usage, 3 look at it (broken span, failed check or run), 70 bug, 130 stopped."


class _Group(TyperGroup):
    """Turns errors into words and exit codes, in one place."""

    def invoke(self, ctx: Any) -> Any:
        try:
            code = super().invoke(ctx)
            console.flush()
        except NoriaError as error:
            console.show_error(error)
            raise typer.Exit(console.REFUSED) from None
        except KeyboardInterrupt:
            console.err().print("interrupted; the last good state stays, and `noria run` goes on from it")
            raise typer.Exit(console.INTERRUPTED) from None
        except console.ReaderGone:
            console.close_out()
            raise typer.Exit(console.OK) from None
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("typer", "click"):
                raise
            if isinstance(error, OSError) and error.errno in files.NEXT_STEPS:
                console.close_out()
                where = "standard output"  # what has a name says it
                console.show_error(files.refusal(error, "cannot go on", where, NoriaError))
                raise typer.Exit(console.REFUSED) from None
            _show_bug(error)
            raise typer.Exit(console.UNEXPECTED) from None
        if isinstance(code, int) and code:
            raise typer.Exit(code)
        return code


def _show_bug(error: Exception) -> None:
    log = getattr(error, "log", None)
    if log is None:
        with tempfile.NamedTemporaryFile("w", prefix="noria-", suffix=".log", delete=False) as file:
            traceback.print_exception(error, file=file)
            log = file.name
    said = next(iter(str(error).splitlines()), "")
    console.err().print(
        f"[bold red]unexpected[/] {escape(f'{type(error).__name__}: {said}')}", soft_wrap=True
    )
    console.err().print(f"     [dim]where[/] the traceback is in {escape(str(log))}", soft_wrap=True)


app = typer.Typer(
    cls=_Group,
    name="noria",
    rich_markup_mode="markdown",  # as docs/commands.md, which typer writes
    help="A TFX pipeline that keeps a model as fresh as its data.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Action(str, enum.Enum):
    """What `noria ci` does with its verdict."""

    decide = "decide"
    run = "run"
    submit = "submit"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noria {importlib.metadata.version('noria')}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder of the new project.")],
    data: Annotated[Path, typer.Option(help="A CSV or Parquet file with the events.")],
    label: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[
        str | None, typer.Option(help="The column with the events' time. Left out: row order.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression. Left out: inferred.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="Columns that name an event; may be repeated.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Between the columns of a CSV file. Left out: found.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a project for your own data: settings, schema, preprocessing, README."""
    from noria.pipeline.cli import init

    return init.init(folder, data, label, time, task, key or [], delimiter, as_json)


@app.command()
def run(
    config: ConfigFile = PROJECT,
    runs: Annotated[
        int | None, typer.Option(min=1, help="At most so many runs. Left out: all that wait.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            max=LONGEST,
            callback=a_number,
            help="Seconds to wait for another run; 0 refuses at once.",
        ),
    ] = 0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Same as --wait 0.")] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Train from nothing, although there is a champion.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(
            help="Stay, and look for new data again after 90s, 15m, 1h30m: later runs pay no import. "
            "--json: one line with an object for the first look, and for each that trained."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run the pipeline: check, train, judge and publish, for every new span."""
    from noria.pipeline.cli import run

    return run.run(config, runs, 0 if no_wait else wait, cold, every, as_json)


@app.command()
def replay(
    config: ConfigFile = PROJECT,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder for the replay. Left out: home/replays/ and the settings' digest."),
    ] = None,
    last: Annotated[int | None, typer.Option(help="The last span to run on.")] = None,
    as_json: Json = False,
) -> int:
    """Run the pipeline on the past again, beside the project: what would these settings have done?"""
    from noria.pipeline.cli import run

    return run.replay(config, home, last, as_json)


@app.command()
def status(
    config: ConfigFile = PROJECT,
    all_runs: Annotated[bool, typer.Option("--all", help="Every run, not the last eight.")] = False,
    as_json: Json = False,
) -> int:
    """Show versions, states, lineage and runs."""
    from noria.pipeline.cli import versions

    return versions.status(config, as_json, all_runs)


@app.command()
def report(
    span: Annotated[int | None, typer.Argument(help="The span of the run. Left out: the newest.")] = None,
    config: ConfigFile = PROJECT,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: Json = False,
) -> int:
    """Print the path of a run's report."""
    from noria.pipeline.cli import versions

    return versions.report(config, span, open_it, as_json)


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="The version to publish.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the registry.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Yes, against the gate's verdict.")] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Publish a version whatever its verdict; who and why is kept."""
    from noria.pipeline.cli import versions

    return versions.promote(config, version, force, reason, as_json)


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(help="The version to go back to. Left out: the one before.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it goes into the registry.")] = "rolled back by hand",
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Make the champion's predecessor serve again."""
    from noria.pipeline.cli import versions

    return versions.rollback(config, to, reason, as_json)


@app.command()
def release(
    span: Annotated[int, typer.Argument(help="The span to take out of quarantine.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the registry.")] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Train on it as it is: broken counts as drifted. Left out: judge it anew."
        ),
    ] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Take a span out of quarantine, so that the next run runs on it; who and why is kept."""
    from noria.pipeline.cli import unquarantine as command

    return command.release(config, span, reason, force, as_json)


@app.command("compile")
def compile_(
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML file to write.")] = Path(
        "pipeline.yaml"
    ),
    config: ConfigFile = PROJECT,
    image: Image = None,
    as_json: Json = False,
) -> int:
    """Write the package for Kubeflow Pipelines: the pipeline, with its volume, secrets and resources."""
    from noria.pipeline.cli import compile

    return compile.compile_project(config, output, image, as_json)


@app.command()
@connected
def ci(
    config: ConfigFile = PROJECT,
    since: Annotated[
        str | None,
        typer.Option(
            help="The git revision to compare with. Left out: the base of GitHub's pull request or push, or where "
            "this branch left the trunk, or the commit before."
        ),
    ] = None,
    action: Annotated[
        Action, typer.Option(help="decide: say it. run: ingest, and run here. submit: run it on Kubeflow.")
    ] = Action.decide,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --action submit: start the run, and leave.")
    ] = False,
    wait_for_running: WaitForRunning = 0,
    home: Annotated[
        Path | None,
        typer.Option(
            help="The home folder that counts, such as the cluster's volume mounted here. Left out: the project's, "
            "but with --action submit or `kubeflow.volume`: the one in the cluster."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train, even if nothing asks for it: from nothing, then.")
    ] = False,
    image: Image = None,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Decide whether a change of code or data asks for a new model, say why, and run it."""
    from noria.pipeline.cli import ci as command

    asked = command.Asked(config, since, home, force)
    if action is Action.submit:
        return command.submit(asked, flags, no_wait, wait_for_running, as_json, image)
    return command.run(asked, as_json) if action is Action.run else command.decide(asked, flags, as_json)


@app.command()
def doctor(
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Check machine, packages, disk, project and stores, and say what to do."""
    from noria.pipeline.cli import doctor

    return doctor.doctor(config, as_json)


cluster_app.register(app)


def main() -> None:
    """The `noria` command."""
    # A redirected stream may have any encoding; a symbol it cannot say is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="noria")


if __name__ == "__main__":
    main()
