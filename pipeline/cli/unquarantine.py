"""`noria unquarantine`: a person takes a span out of quarantine."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def unquarantine(
    span: Annotated[int, typer.Argument(help="The span to take out of quarantine.")],
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Train on it as it is: broken counts as drifted. Default: the gate judges it again.",
        ),
    ] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Take a span out of quarantine, so that the next run uses it; the registry records who did it and why."""
    import dataclasses

    from rich.markup import escape

    from noria.pipeline.config import load
    from noria.stores import quarantine
    from noria.stores.pending import pending

    settings = load(config)
    decision = quarantine.unquarantine(settings.home_path, span, reason, console.user(), forced=force)
    if as_json:
        waiting = pending(settings.home_path, settings.window.first)
        console.emit({**dataclasses.asdict(decision), "pending": waiting})
        return console.OK
    how = "trains on it even if it is broken" if force else "judges it again"
    console.out().print(
        f"[green]✓[/] span {span} {escape(str(decision))}; the next `noria run` {how}", soft_wrap=True
    )
    return console.OK
