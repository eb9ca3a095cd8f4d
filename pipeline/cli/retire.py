"""`noria retire`: the rows of old spans that nothing needs are deleted."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import LONGEST_WAIT, PROJECT, ConfigFile, Json, not_nan


def retire(
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "",
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="How many of the newest spans stay at least. Default: `data.keep_spans`."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted; change nothing.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            max=LONGEST_WAIT,
            callback=not_nan,
            help="Seconds to wait for a run that holds the project.",
        ),
    ] = 0,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Delete the rows of old spans that no run and no kept version needs; their manifests stay.

    A command that was killed is finished by the next `noria retire` or `noria run`.
    """
    import dataclasses

    from rich.markup import escape

    from noria.pipeline import retirement
    from noria.pipeline.config import load
    from noria.pipeline.report.words import ranges

    found = retirement.retire(
        load(config), keep=keep, reason=reason, actor=console.user(), dry_run=dry_run, wait=wait
    )
    if as_json:
        console.emit(dataclasses.asdict(found))
        return console.OK
    out = console.out()
    for change in found.changes:
        rows = "" if change.rows is None else f": {change.rows:,} rows"
        out.print(f"[bold]{change.store}[/]  {escape(change.name)}{rows}", soft_wrap=True)
    for why, spans in found.kept.items():
        out.print(f"kept, {why}: {ranges(spans)}", soft_wrap=True)
    if not found.spans:
        out.print("no span can be retired")
        return console.OK
    verb = "retired" if found.done else "would be retired"
    out.print(
        f"[green]✓[/] {len(found.spans)} spans ({ranges(found.spans)}) {verb}: {found.rows:,} rows in "
        f"{found.bytes / (1 << 20):,.1f} MiB",
        soft_wrap=True,
    )
    return console.OK
