"""`noria forget`: the rows of a key leave everything that the home keeps."""

from pathlib import Path
from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json, Wait


def forget(
    key: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE of the rows to forget; may be repeated.")
    ] = None,
    keys_file: Annotated[
        Path | None,
        typer.Option(help="A CSV file: its first line names the columns, each other line is one key."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "",
    predictions: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of prediction logs (`noria serve --log`); may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; change nothing.")
    ] = False,
    wait: Wait = 0,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Remove all rows of a key from spans, segments, dead letters, logs and caches; list the versions trained on them.

    A command that was killed is finished by the next `noria forget` or `noria run`.
    """
    import dataclasses

    from rich.markup import escape

    from noria.core.locks import hold
    from noria.pipeline import forgetting
    from noria.pipeline.config import load

    settings = load(config)
    if not key and keys_file is None and not dry_run:
        with hold(settings.home_path, wait=wait):
            if forgetting.finish(settings):
                console.out().print("[green]✓[/] finished the request that was interrupted")
                return console.OK
    done = forgetting.forget(
        settings,
        forgetting.Keys.read(key or [], keys_file),
        reason=reason,
        actor=console.user(),
        predictions=[folder.absolute() for folder in predictions or []],
        dry_run=dry_run,
        wait=wait,
    )
    if as_json:
        console.emit(dataclasses.asdict(done))
        return console.OK
    out = console.out()
    for change in done.changes:
        what = "is deleted" if change.rows is None else f"{change.rows:,} rows"
        out.print(f"[bold]{change.store}[/]  {escape(change.name)}: {what}", soft_wrap=True)
    verb = "removed" if done.done else "would be removed"
    total = sum(done.rows.values())
    out.print(
        f"[green]✓[/] {total:,} rows {verb}" if done.changes else "no row holds the key", soft_wrap=True
    )
    if done.versions:
        numbers = ", ".join(map(str, done.versions))
        out.print(f"Versions that were trained on these spans: {numbers}", soft_wrap=True)
    if done.warmups:
        numbers = ", ".join(map(str, done.warmups))
        out.print(f"The warm-up file holds such a row in versions: {numbers}", soft_wrap=True)
    return console.OK
