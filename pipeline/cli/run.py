"""`noria run` and `noria replay`: runs, seen from the terminal."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from noria.core import files
from noria.core.errors import ConfigError, NoriaError
from noria.pipeline.cli import console, rendering
from noria.pipeline.cli.options import for_project
from noria.pipeline.cli.polling import stay
from noria.pipeline.cli.progress import Progress, noise_to
from noria.pipeline.config import Config, load
from noria.stores.registry import Registry, RunRecord, Version

# Runs, and tells what it does as it does it.
Work = Callable[[Callable[[dict[str, Any]], None]], list[RunRecord]]

# What the libraries would say before Python's logging has a word in it.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}


def run(
    config_path: Path, limit: int | None, wait: float, cold: bool, every: str | None, as_json: bool
) -> int:
    """Runs the pipeline on every span that waits, and prints what came of it; with `every`, again and again."""

    def look(first: bool = True) -> int:
        config = load(config_path)  # anew: a process that stays works by today's settings

        def work_on(listen: Callable[[dict[str, Any]], None]) -> list[RunRecord]:
            from noria.pipeline.runs.run import run_pending

            return run_pending(config, limit=limit, wait=wait, cold=cold and first, on_event=listen)

        return _work_and_show(config, work_on, as_json, config_path, silent=not first, line=every is not None)

    return look() if every is None else stay(every, look)


def replay(config_path: Path, home: Path | None, last: int | None, as_json: bool) -> int:
    """Runs the pipeline on the spans again, in another home."""
    config = load(config_path)
    target = (home or config.home_path / "replays" / config.digest()).absolute()

    def work_on(listen: Callable[[dict[str, Any]], None]) -> list[RunRecord]:
        from noria.pipeline.runs.run import replay as replay_all

        return replay_all(config, target, last=last, on_event=listen)

    return _work_and_show(config.moved_to(target), work_on, as_json, config_path, replayed=True)


def _work_and_show(
    config: Config,
    work_on: Work,
    as_json: bool,
    config_path: Path,
    *,
    replayed: bool = False,
    silent: bool = False,
    line: bool = False,
) -> int:
    runs = work(config, work_on)
    if silent and not runs:
        return console.OK
    if as_json:
        console.emit(to_json(config, runs), line=line)
    else:
        show(config, runs, config_path, replayed)
    return exit_code(runs)


def work(config: Config, work_on: Work) -> list[RunRecord]:
    """Runs, with progress on standard error and the libraries' noise in the log."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    log = log_file(config)
    interactive = sys.stderr.isatty()
    with noise_to(log) as output:
        terminal = Console(file=output.terminal, force_terminal=interactive or None, highlight=False)
        with Progress(terminal, output) as progress:
            try:
                runs = work_on(progress.listen)
            except Exception as error:
                if not isinstance(error, NoriaError) or error.__cause__ is not None:
                    with contextlib.suppress(OSError):  # the disk may be full
                        traceback.print_exc()  # into the log, where the lines before tell how it came to that
                if not isinstance(error, NoriaError):
                    error.log = output.log  # type: ignore[attr-defined]
                raise
    return runs


def exit_code(runs: list[RunRecord]) -> int:
    """3 where a span was broken."""
    return console.ATTENTION if any(made.data_verdict == "broken" for made in runs) else console.OK


def to_json(config: Config, runs: list[RunRecord]) -> dict[str, Any]:
    """The object that `--json` prints."""
    champion = _champion(config)
    return {
        "project": config.name,
        "home": str(config.home_path),
        "runs": [rendering.run_row(made) for made in runs],
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
        for made in runs:
            if made.model_verdict in ("skipped", "rejected"):
                what = {"broken": "in quarantine", "thin": "thin"}.get(
                    str(made.data_verdict), "not published"
                )
                out.print(f"span {made.span} {what}: {escape('; '.join(made.reasons) or 'see the report')}")
        rendering.print_decisions(out, runs)
        broken = [made.span for made in runs if made.data_verdict == "broken"]
        if broken and not replayed:
            command = f"noria release {broken[-1]}{option} --reason ..."
            out.print(f"to go on with it: ingest a corrected delivery, or {command}", soft_wrap=True)
    else:
        out.print(_nothing(config))
    champion = _champion(config)
    if champion is not None and champion.model_dir:
        out.print(f"[bold]serving[/]  {escape(champion.model_dir)}", soft_wrap=True)
    if runs and runs[-1].report:
        out.print(f"[bold]report[/]   {escape(runs[-1].report)}", soft_wrap=True)
    if runs:
        log = config.home_path / "runs" / runs[-1].run_id / "tfx.log"
        out.print(f"[bold]log[/]      {escape(str(log))}", soft_wrap=True)
    steps = [f"noria status{option}", f"noria report{option} --open"] + (
        [] if replayed else [f"noria run{option}"]
    )
    out.print("[bold]next[/]     " + " · ".join(steps), soft_wrap=True)


def _champion(config: Config) -> Version | None:
    from noria.pipeline.cli.project_status import here

    champion = Registry(config.home_path).champion()
    return champion and here(config.home_path, champion)


def _nothing(config: Config) -> str:
    from noria.stores.spans import SpanStore

    ids, runs = SpanStore(config.home_path).ids(), Registry(config.home_path).runs()
    if not runs and len(ids) < config.window.first:
        return (
            f"{len(ids)} spans are there, the first run needs {config.window.first} (`window.first`); "
            "bring more events, or make the spans shorter (`span.every`)"
        )
    return f"nothing new: {len(ids)} spans, all have had a run"


def log_file(config: Config) -> Path:
    """Where a command's own noise goes until the run's log takes over.

    Raises:
      ConfigError: the home folder cannot be made, or not be written to.
    """
    log = config.home_path / "runs" / "noria.log"
    with files.explained("the home folder cannot be used", config.home_path, ConfigError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    return log
