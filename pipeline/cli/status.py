"""`noria status`: champion, versions, spans, runs and the newest rollout."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

NEWEST = 8  # runs that are shown without --all


def status(
    config: ConfigFile = PROJECT,
    all_runs: Annotated[bool, typer.Option("--all", help=f"All runs, not only the last {NEWEST}.")] = False,
    as_json: Json = False,
) -> int:
    """Show versions, their states and lineage, the newest rollout, and runs."""
    from rich.markup import escape

    from noria.pipeline.cli import rendering
    from noria.pipeline.config import load
    from noria.pipeline.report.words import ranges
    from noria.pipeline.runs import overview

    found = overview.read(load(config))
    if as_json:
        console.emit(found.to_json())
        return console.OK
    out = console.out()
    spans = f"{len(found.spans)} spans ({ranges(found.spans)})"
    if found.retired:
        spans += f", retired: {ranges(found.retired)}"
    if found.quarantined:
        spans += f", [red]in quarantine: {ranges(found.quarantined)}[/]"
    if found.pending:
        spans += f", waiting for a run: {ranges(found.pending)}"
    out.print(f"[bold]{found.config.name}[/]  {spans}", soft_wrap=True)
    if found.stream is not None:
        rendering.print_stream(out, found.stream)
    if not found.versions:
        out.print("no version yet; `noria run` makes the first")
    else:
        out.print(rendering.versions_table(found.versions))
    if found.runs:
        shown = found.runs if all_runs else found.runs[-NEWEST:]
        out.print(
            "runs" if len(shown) == len(found.runs) else f"the last {len(shown)} of {len(found.runs)} runs"
        )
        out.print(rendering.runs_table(shown))
        rendering.print_decisions(out, shown)
    if found.rollout is not None:
        out.print("the newest rollout")
        rendering.print_rollout(out, found.rollout)
    if found.twin is not None:
        out.print(f"[bold]twin[/]     {found.twin}", soft_wrap=True)
    if found.champion:
        out.print(
            f"[bold]champion[/] version {found.champion.version}: {escape(str(found.champion.model_dir))}"
        )
    return console.OK
