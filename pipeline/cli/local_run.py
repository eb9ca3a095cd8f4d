"""Runs on this machine as the command line shows them: progress and log while they run, the result after."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from noria.core import files
from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console, rendering
from noria.pipeline.cli.options import for_project
from noria.pipeline.cli.progress import Progress, noise_to
from noria.pipeline.cli.quiet import QUIET
from noria.pipeline.config import Config
from noria.pipeline.runs import overview
from noria.stores.registry import RunRecord
from noria.stores.versions import TWIN

if TYPE_CHECKING:
    from noria.pipeline.runs.ingest import Listener

Work = Callable[["Listener"], list[RunRecord]]


def show_work(
    config: Config,
    work: Work,
    config_path: Path,
    as_json: bool,
    *,
    replayed: bool = False,
    silent: bool = False,
    line: bool = False,
) -> int:
    """Runs with progress, then prints the result.

    Args:
      config: the project's settings.
      work: makes the runs, and passes their journal records to its argument.
      config_path: as typed, for the commands that are proposed.
      as_json: print an object instead of tables.
      replayed: the runs are those of a replay.
      silent: print nothing where there was no run.
      line: print the object on one line.
    """
    runs = with_progress(config, work)
    if silent and not runs:
        return console.OK
    if as_json:
        console.emit(to_json(config, runs), line=line)
    else:
        show(config, runs, config_path, replayed)
    return exit_code(runs)


def with_progress(config: Config, work: Work) -> list[RunRecord]:
    """Runs with progress on standard error; what libraries print goes to the log."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    log = _log_file(config)
    interactive = sys.stderr.isatty()
    with noise_to(log) as output:
        terminal = Console(file=output.terminal, force_terminal=interactive or None, highlight=False)
        with Progress(terminal, output) as progress:
            try:
                return work(progress.listen)
            except Exception as error:
                if not isinstance(error, NoriaError) or error.__cause__ is not None:
                    with contextlib.suppress(OSError):  # the disk may be full
                        traceback.print_exc()  # into the log, after the lines that led to it
                if not isinstance(error, NoriaError):
                    error.log = output.log  # type: ignore[attr-defined]
                raise


def exit_code(runs: list[RunRecord]) -> int:
    """3 where a span was broken, or the version that serves after the last run fails a bound of the model gate."""
    broken = any(run.data_verdict == "broken" for run in runs)
    return console.ATTENTION if broken or _alarms(runs) else console.OK


def _alarms(runs: list[RunRecord]) -> tuple[str, ...]:
    """Those of the last run that could publish; the cold twin's says nothing about the version that serves."""
    return next((run.alarms for run in reversed(runs) if run.mode != TWIN), ())


def to_json(config: Config, runs: list[RunRecord]) -> dict[str, Any]:
    """The object that `--json` prints."""
    champion = overview.champion(config)
    return {
        "project": config.name,
        "home": str(config.home_path),
        "runs": [rendering.run_row(run) for run in runs],
        "champion": champion.version if champion else None,
        "model_dir": champion.model_dir if champion else None,
    }


def show(config: Config, runs: list[RunRecord], config_path: Path, replayed: bool = False) -> None:
    """The runs as a table, where the model is, and what to do next."""
    out = console.out()
    option = for_project(config_path)
    if runs:
        out.print(rendering.runs_table(runs))
        seconds = rendering.seconds_table(runs)
        if seconds is not None:
            out.print(seconds)
        for run in runs:
            if run.model_verdict in ("skipped", "rejected"):
                outcome = {"broken": "in quarantine", "thin": "thin"}.get(
                    str(run.data_verdict), "not published"
                )
                out.print(f"span {run.span} {outcome}: {escape('; '.join(run.reasons) or 'see the report')}")
        rendering.print_decisions(out, runs)
        for line in _alarms(runs):
            out.print(f"[bold red]alarm[/]    {escape(line)}", soft_wrap=True)
        broken = [run.span for run in runs if run.data_verdict == "broken"]
        if broken and not replayed:
            command = f"noria unquarantine {broken[-1]}{option} --reason ..."
            out.print(f"to use the span: ingest a corrected delivery, or {command}", soft_wrap=True)
    else:
        out.print(_nothing(config))
    champion = overview.champion(config)
    if champion is not None and champion.model_dir:
        out.print(f"[bold]serving[/]  {escape(champion.model_dir)}", soft_wrap=True)
    if runs and runs[-1].report:
        out.print(f"[bold]report[/]   {escape(runs[-1].report)}", soft_wrap=True)
    if runs:
        log = config.home_path / "runs" / runs[-1].run_id / "tfx.log"
        out.print(f"[bold]log[/]      {escape(str(log))}", soft_wrap=True)
    steps = [f"noria status{option}", f"noria report{option} --open"]
    steps += [] if replayed else [f"noria run{option}"]
    out.print("[bold]next[/]     " + " · ".join(steps), soft_wrap=True)


def _nothing(config: Config) -> str:
    found = overview.read(config)
    spans, first = len(found.spans), config.window.first
    if not found.runs and spans < first:
        return (
            f"{spans} spans are there, the first run needs {first} (`window.first`); "
            "add more events, or make the spans shorter (`span.every`)"
        )
    return f"nothing new: {spans} spans, all have had a run"


def _log_file(config: Config) -> Path:
    """The log of the command itself; each run has another one.

    Raises:
      ConfigError: the home folder cannot be made, or not be written to.
    """
    log = config.home_path / "runs" / "noria.log"
    with files.explained("the home folder cannot be used", config.home_path, ConfigError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    return log
