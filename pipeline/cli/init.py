"""`noria init`: a project for the user's table, and what was inferred."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from noria.core.errors import ConfigError
from noria.ingestion.column_types import COLUMN_TYPES
from noria.pipeline.cli import console
from noria.pipeline.cli.options import Json


def init(
    folder: Annotated[Path, typer.Argument(help="The folder of the new project.")],
    data: Annotated[
        str,
        typer.Option(
            help="A CSV, JSON or Parquet file, a folder or a glob of them; a URL of files (s3://, gs://, https://); "
            "or the URL of a database, with --table or --query."
        ),
    ],
    label: Annotated[
        str | None, typer.Option(help="The column to predict. Without it, the columns are listed.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table of a database.")] = None,
    query: Annotated[str | None, typer.Option(help="A query of a database, instead of a table.")] = None,
    cursor: Annotated[
        str | None,
        typer.Option(
            help="The column that shows which rows of a database are new: its values only grow. "
            "Default: the primary key."
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="The column with the time of the event. Default: none, rows in file order."),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            help="How the time is written, such as '%d/%m/%Y %H:%M' (Python's strptime), or excel for days as Excel "
            "counts them. Default: detected."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression. Default: inferred from the label.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Columns that identify an event, with commas between; may be repeated."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="The delimiter of a CSV file. Default: detected.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of a text file, such as cp1250. Default: detected.")
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(help="The decimal sign in a text file, `.` or `,`. Default: detected in each column."),
    ] = None,
    header: Annotated[
        str | None,
        typer.Option(
            help="The names of all columns of CSV files without a header, with commas between. Default: in their "
            "first line."
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help='Another text that means "missing", such as "?"; may be repeated.'),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            help=f"COLUMN=TYPE, may be repeated: {', '.join(COLUMN_TYPES.names())}, 'time(%d.%m.%Y)' for times in "
            "this format, or the import path of your own. Default: inferred."
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="Columns to leave out, with commas between; may be repeated.")
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            help="The project reads a stream: events that `noria emit` appends to this folder. --data is a sample."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a project for your data: settings, schema, preprocessing, README."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from noria.pipeline.cli.quiet import quietly

    out = console.out()
    with quietly("reading the data and inferring a schema"):
        from noria.pipeline.init import draft

        drafted = draft.draft(
            folder,
            data,
            label,
            table=table,
            query=query,
            cursor=cursor,
            time=time,
            time_format=time_format,
            task=task,
            key=key or [],
            delimiter=_unescaped(delimiter),
            encoding=encoding,
            decimal=_decimal(decimal),
            header=[name.strip() for name in header.split(",")] if header else [],
            missing=missing or [],
            types=pairs(types or [], "--types"),
            drop=drop or [],
            log=log,
        )
    if as_json:
        console.emit(drafted.to_json())
        return console.OK
    grid = Table.grid(padding=(0, 2))
    classes = ", ".join(f"{name} {share:.1%}" for name, share in drafted.label.shares.items())
    grid.add_row("rows", f"{drafted.rows:,}")
    grid.add_row("label", Text(f"{label}: {drafted.task}" + (f" ({classes})" if classes else "")))
    grid.add_row(
        "spans",
        Text(f"{drafted.spans} of {drafted.every}" + (f", by {drafted.time}" if drafted.time else "")),
    )
    grid.add_row(
        "features", f"{len(drafted.columns.numeric)} numeric, {len(drafted.columns.categorical)} categorical"
    )
    if drafted.columns.times:
        grid.add_row("times", Text(", ".join(drafted.columns.times)))
    if drafted.columns.key:
        grid.add_row("key", Text(", ".join(drafted.columns.key)))
    if drafted.columns.slices:
        grid.add_row("slices", Text(", ".join(drafted.columns.slices)))
    for name, why in drafted.columns.left_out.items():
        grid.add_row("not used", Text(f"{name}: {why}"))
    for note in drafted.notes:
        grid.add_row("[yellow]note[/]", Text(note))
    out.print(f"[green]✓[/] {escape(str(folder))}/ with {', '.join(draft.FILES)}")
    out.print(grid)
    there = "" if folder.absolute() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    commands = "noria run" if log is None else "noria emit EVENTS && noria ingest && noria run"
    out.print(f"[bold]next[/] {escape(there)}{commands}", soft_wrap=True)
    return console.OK


def pairs(types: list[str], where: str) -> dict[str, str]:
    """`zip=string` -> {"zip": "string"}.

    Raises:
      ConfigError: a text has another form, or names no type.
    """
    found = {}
    for pair in types:
        name, equals, kind = pair.rpartition("=")
        try:
            if not equals:
                raise ValueError(f"must be COLUMN=TYPE, got {pair!r}")
            COLUMN_TYPES.check_name(kind)
        except ValueError as error:
            raise ConfigError(f"a type {error}", where=where, next_step="write it as in zip=string") from None
        found[name] = kind
    return found


def _decimal(sign: str | None) -> str | None:
    if sign not in (None, ".", ","):
        raise ConfigError(
            f"the decimal sign must be . or , got {sign!r}",
            where="--decimal",
            next_step="give one of the two",
        )
    return sign


def _unescaped(delimiter: str | None) -> str | None:
    """A shell passes `\\t` on as two characters."""
    return "\t" if delimiter in ("\\t", "tab") else delimiter
