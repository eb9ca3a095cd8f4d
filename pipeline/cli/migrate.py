"""`noria migrate`: columns of all spans get new types."""

from typing import Annotated

import typer

from noria.core.errors import ConfigError
from noria.pipeline.cli import console
from noria.pipeline.cli.init import pairs
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def migrate(
    types: Annotated[list[str], typer.Argument(help="COLUMN=TYPE, such as zip=string; may be repeated.")],
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Change the types even if some values are lost.")
    ] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Change the types of columns in all spans; spans, models and history stay. Show which values would be lost."""
    import dataclasses

    from rich.markup import escape

    from noria.pipeline.config import load
    from noria.pipeline.runs.migrate import migrate as migrate_spans

    done = migrate_spans(load(config), pairs(types, "noria migrate"), accept_loss=accept_loss)
    if as_json:
        console.emit(dataclasses.asdict(done))
        return console.OK if done.done else console.REFUSED
    lines = []
    for change in done.changes:
        lost = f"{change.lost:,} of {change.values:,} values are lost" if change.lost else "no value is lost"
        if change.lost:
            spans = ", ".join(map(str, change.spans))
            lost += f", such as {', '.join(map(repr, change.examples))} (spans {spans})"
        lines.append(f"{change.column}: {change.old} -> {change.new}; {lost}")
    if not done.done:
        raise ConfigError(
            f"nothing was changed, because values would be lost: {'; '.join(lines)}",
            where="noria migrate",
            next_step=f"noria migrate {' '.join(types)} --accept-loss changes the types; the files of the spans keep "
            "the values, so the types can be set back",
        )
    for line in [*lines, *done.notes]:
        console.out().print(f"[green]✓[/] {escape(line)}", soft_wrap=True)
    console.out().print(
        "If the model reads such a column, check the preprocessing: NUMBERS and CATEGORIES in a preprocessing.py that "
        "noria init wrote. The next [bold]noria run[/] uses the new types.",
        soft_wrap=True,
    )
    return console.OK
