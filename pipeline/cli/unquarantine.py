"""`noria unquarantine`: a person takes spans out of quarantine."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def unquarantine(
    span: Annotated[int | None, typer.Argument(help="The span to take out of quarantine.")] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Train on it unchanged: broken counts as drifted. Default: the gate judges it again.",
        ),
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="All spans in quarantine.")] = False,
    normal: Annotated[
        bool,
        typer.Option(
            "--accept-as-normal",
            help="With --all: train on them; their state is the new normal, and older spans are not references.",
        ),
    ] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Take spans out of quarantine, so that the next run uses them; the registry records who did it and why."""
    import dataclasses

    from rich.markup import escape

    from noria.core.errors import ConfigError
    from noria.pipeline.config import load
    from noria.stores import quarantine
    from noria.stores.pending import pending

    if every == (span is not None):
        raise ConfigError("name one span, or --all", where="noria unquarantine", next_step="noria status")
    if normal and not every:
        raise ConfigError(
            "--accept-as-normal is about all spans in quarantine",
            where="noria unquarantine",
            next_step="noria unquarantine --all --accept-as-normal",
        )
    home, actor = load(config).home_path, console.user()
    if normal and not reason:
        reason = "accepted as normal"
    if span is not None:
        decisions = [quarantine.unquarantine(home, span, reason, actor, forced=force)]
    else:
        decisions = quarantine.unquarantine_all(home, reason, actor, forced=force, normal=normal)
    if as_json:
        waiting = pending(home, load(config).window.first)
        spans = [dataclasses.asdict(decision) for decision in decisions]
        console.emit({"spans": spans, "pending": waiting} if every else {**spans[0], "pending": waiting})
        return console.OK
    how = "trains on it even if it is broken" if force or normal else "judges it again"
    for decision in decisions:
        console.out().print(
            f"[green]✓[/] span {decision.span} {escape(str(decision))}; the next `noria run` {how}",
            soft_wrap=True,
        )
    if normal:
        console.out().print(f"Later spans are not compared with spans older than span {decisions[0].span}.")
    return console.OK
