"""Puts the commands together: errors become messages and exit codes here.

Exit codes: 0 done; 1 refused, with what was wrong and what to do next; 2 wrong usage; 3 finished, and something needs
your attention (a broken span, a model that serves and fails a bound, a failed check of `noria doctor`, a run on the
cluster that failed); 70 a bug, with the path of the traceback; 130 interrupted.

A command imports what it needs when it runs, so that `noria --help` imports neither TFX nor pandas.
"""

import importlib.metadata
import sys
import tempfile
import traceback
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from noria.core import files
from noria.core.errors import NoriaError
from noria.pipeline.cli import (
    audit,
    ci,
    compile,
    console,
    deadletter,
    doctor,
    emit,
    forget,
    ingest,
    init,
    migrate,
    predict,
    promote,
    replay,
    report,
    retire,
    rollback,
    rollout,
    run,
    runs,
    schedule,
    serve,
    serving_config,
    serving_manifests,
    status,
    submit,
    unquarantine,
    updates,
    verify,
)

EPILOG = (
    "Exit codes: 0 done, 1 refused, 2 usage, 3 needs attention (broken span, alarm, failed check or run), 70 bug, "
    "130 interrupted."
)


class _Group(TyperGroup):
    """Turns errors into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            code = super().invoke(ctx)
            print(end="", flush=True)  # here, where its errors are handled
        except NoriaError as error:
            console.show_error(error)
            raise typer.Exit(console.REFUSED) from None
        except KeyboardInterrupt:
            console.err().print("interrupted; the next `noria run` continues from the last good state")
            raise typer.Exit(console.INTERRUPTED) from None
        except console.ReaderGone:
            raise
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("typer", "click"):
                raise
            if isinstance(error, OSError) and error.errno in files.NEXT_STEPS:
                raise
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
    message = next(iter(str(error).splitlines()), "")
    console.err().print(
        f"[bold red]unexpected[/] {escape(f'{type(error).__name__}: {message}')}", soft_wrap=True
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


for _command in (
    init.init,
    emit.emit,
    ingest.ingest,
    run.run,
    replay.replay,
    status.status,
    report.report,
    promote.promote,
    rollback.rollback,
    unquarantine.unquarantine,
    forget.forget,
    retire.retire,
    updates.updates,
    migrate.migrate,
    doctor.doctor,
    ci.ci,
):
    app.command()(_command)
app.command("compile")(compile.compile_)
app.command()(submit.submit)
app.command()(runs.runs)
app.command()(serve.serve)
app.command()(predict.predict)
app.command()(serving_config.serving_config)
app.command()(verify.verify)
app.command()(serving_manifests.serving_manifests)
app.add_typer(rollout.app, name="rollout")
app.add_typer(schedule.app, name="schedule")
app.add_typer(deadletter.app, name="deadletter")
app.add_typer(audit.app, name="audit")


def main() -> None:
    """The `noria` command."""
    # A redirected stream may have any encoding; a character that it lacks must not fail the command.
    if sys.stderr is not None:
        sys.stderr.reconfigure(errors="replace")  # type: ignore[union-attr]
    if sys.stdout is not None:
        sys.stdout = console.StandardOutput(
            sys.stdout.buffer, sys.stdout.encoding, errors="replace", line_buffering=sys.stdout.isatty()
        )
    try:
        try:
            app(prog_name="noria")
        finally:
            print(end="", flush=True)
    except console.ReaderGone:
        console.close_out()
    except OSError as error:
        console.close_out()
        where = "standard output"  # an error about a file names the file itself
        console.show_error(files.refusal(error, "cannot continue", where, NoriaError))
        sys.exit(console.REFUSED)


if __name__ == "__main__":
    main()
