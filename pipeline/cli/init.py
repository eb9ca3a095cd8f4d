"""`noria init`: a project from a table, and what was inferred."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from noria.pipeline.cli import console
from noria.pipeline.cli.quiet import quietly


def init(
    folder: Path,
    data: Path,
    label: str,
    time: str | None,
    task: str | None,
    key: Sequence[str],
    delimiter: str | None,
    as_json: bool,
) -> int:
    """Writes the project and says what it is."""
    out = console.out()
    with quietly("reading the data and inferring a schema"):
        from noria.pipeline.init import project

        drafted = project.draft(
            folder, data, label, time=time, task=task, key=key, delimiter=_unescaped(delimiter)
        )
    if as_json:
        console.emit(drafted.to_json())
        return console.OK
    table = Table.grid(padding=(0, 2))
    classes = ", ".join(f"{name} {share:.1%}" for name, share in drafted.label.shares.items())
    table.add_row("rows", f"{drafted.rows:,}")
    table.add_row("label", Text(f"{label}: {drafted.task}" + (f" ({classes})" if classes else "")))
    table.add_row(
        "spans",
        Text(f"{drafted.spans} of {drafted.every}" + (f", by {drafted.time}" if drafted.time else "")),
    )
    table.add_row(
        "features", f"{len(drafted.columns.numeric)} numeric, {len(drafted.columns.categorical)} categorical"
    )
    if drafted.columns.key:
        table.add_row("key", Text(", ".join(drafted.columns.key)))
    if drafted.columns.slices:
        table.add_row("slices", Text(", ".join(drafted.columns.slices)))
    for name, why in drafted.columns.left_out.items():
        table.add_row("left out", Text(f"{name}: {why}"))
    for note in drafted.notes:
        table.add_row("[yellow]note[/]", Text(note))
    out.print(f"[green]✓[/] {escape(str(folder))}/ with {', '.join(project.FILES)}")
    out.print(table)
    there = "" if folder.absolute() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    out.print(f"[bold]next[/] {escape(there)}noria run", soft_wrap=True)
    return console.OK


def _unescaped(delimiter: str | None) -> str | None:
    """`\\t` as a shell hands it over is two characters."""
    return "\t" if delimiter in ("\\t", "tab") else delimiter
