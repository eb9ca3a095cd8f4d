"""`noria run`: the pipeline on every span that waits, once or again and again."""

from typing import TYPE_CHECKING, Annotated

import typer

from noria.pipeline.cli.options import PROJECT, ConfigFile, Json, Wait

if TYPE_CHECKING:
    from noria.pipeline.runs.ingest import Listener
    from noria.stores.registry import RunRecord


def run(
    config: ConfigFile = PROJECT,
    runs: Annotated[
        int | None, typer.Option(min=1, help="At most this many runs. Default: one for each span that waits.")
    ] = None,
    wait: Wait = 0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Same as --wait 0.")] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Train from scratch, even if there is a champion.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(
            help="Keep running and poll at this interval (90s, 15m, 1h30m); later runs start faster. "
            "--json: one line with an object for the first poll, and for each poll with a run."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run the pipeline: check, train, evaluate and publish, for every new span."""
    from noria.pipeline.cli.local_run import show_work
    from noria.pipeline.cli.polling import poll
    from noria.pipeline.config import load

    def look(first: bool = True) -> int:
        settings = load(config)  # each time: a change of the file applies from the next poll on

        def work(listen: "Listener") -> "list[RunRecord]":
            from noria.pipeline.runs.run import run_pending

            seconds = 0 if no_wait else wait
            return run_pending(settings, limit=runs, wait=seconds, cold=cold and first, on_event=listen)

        return show_work(settings, work, config, as_json, silent=not first, line=every is not None)

    return look() if every is None else poll(every, look)
