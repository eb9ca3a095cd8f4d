"""`noria deadletter`: the events of the stream that could not be read."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json, for_project

NEWEST = 50  # letters that are shown without --json

app = typer.Typer(help="Events of the stream that could not be read.", no_args_is_help=True)


@app.command("list")
def list_(config: ConfigFile = PROJECT, as_json: Json = False) -> int:
    """List the dead letters with partition, offset and reason."""
    from rich.markup import escape

    from noria.ingestion.segments.segment_store import SegmentStore
    from noria.ingestion.segments.stream_letters import letters, name_of
    from noria.pipeline.config import load

    settings = load(config)
    found = letters(SegmentStore(settings.home_path))
    if as_json:
        source = settings.stream.source_name
        console.emit({"letters": [{"name": name_of(each), "source": source, **each} for each in found]})
        return console.OK
    out = console.out()
    for each in found[-NEWEST:]:
        out.print(f"[bold]{name_of(each)}[/]  {escape(each['reason'])}", soft_wrap=True)
    out.print(
        f"{len(found):,} dead letters" + (f", the last {NEWEST} are shown" if len(found) > NEWEST else "")
    )
    if found:
        option = for_project(config)
        out.print(
            f"[bold]next[/]     noria deadletter show{option} NAME · noria deadletter replay{option} NAME"
        )
    return console.OK


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="SEGMENT-PARTITION-OFFSET, as in the list.")],
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Show one dead letter with its event."""
    from rich.markup import escape

    from noria.ingestion.segments.segment_store import SegmentStore
    from noria.ingestion.segments.stream_letters import find
    from noria.pipeline.config import load

    settings = load(config)
    letter = find(SegmentStore(settings.home_path), name)
    if as_json:
        console.emit({"source": settings.stream.source_name, **letter})
        return console.OK
    out = console.out()
    for key, value in letter.items():
        out.print(f"[bold]{key}[/]  {escape(str(value))}", soft_wrap=True)
    return console.OK


@app.command()
def replay(
    names: Annotated[
        list[str] | None, typer.Argument(help="SEGMENT-PARTITION-OFFSET of each. Default: all.")
    ] = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Read dead letters again with the current config. Those that can be read now go to the next spans, once."""
    from rich.markup import escape

    from noria.ingestion.segments import stream_letters
    from noria.pipeline.config import load
    from noria.pipeline.runs.project_stream import ingester

    good, bad = stream_letters.replay(ingester(load(config), lambda record: None), names or None)
    if as_json:
        console.emit(
            {"replayed": good, "dead": [{"name": stream_letters.name_of(each), **each} for each in bad]}
        )
        return console.OK
    out = console.out()
    out.print(f"[green]✓[/] {len(good):,} events replayed; the next `noria ingest` puts them into spans")
    for each in bad[:NEWEST]:
        out.print(f"[bold]{stream_letters.name_of(each)}[/]  {escape(each['reason'])}", soft_wrap=True)
    return console.OK
