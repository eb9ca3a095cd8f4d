"""`noria emit`: appends events to the project's log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

BATCH = 1 << 20  # bytes of one append


def emit(
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines. Default: standard input; each line is one event.")
    ] = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Append events to the project's event log (`stream.source: {log: FOLDER}`)."""
    import sys

    from noria.core.errors import ConfigError, DataError
    from noria.ingestion.streams.log import Log
    from noria.pipeline.config import load
    from noria.pipeline.runs.project_stream import open_stream

    settings = load(config)
    stream = open_stream(settings)
    if not isinstance(stream, Log):
        raise ConfigError(
            f"`noria emit` appends to a log only, the config names {settings.stream.source_name}",
            where=settings.path,
            next_step="send the events to your broker with its own tools",
        )
    writer, count, position = stream.writer(), 0, 0
    try:
        source = sys.stdin.buffer if file is None else file.open("rb")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=file) from None
    with source:
        for events in _batches(source):
            position = writer.append(events)
            count += len(events)
    if as_json:
        console.emit({"events": count, "position": position, "log": str(stream.path)})
    else:
        console.out().print(f"[green]✓[/] {count:,} events appended to {stream.path}", soft_wrap=True)
    return console.OK


def _batches(source: BinaryIO) -> Iterator[list[bytes]]:
    """The lines, as many at once as are there: from a terminal one by one, from a file a mebibyte."""
    rest = b""
    while chunk := source.read1(BATCH):  # type: ignore[attr-defined]
        *lines, rest = (rest + chunk).split(b"\n")
        if events := [line.strip() for line in lines if line.strip()]:
            yield events
    if rest.strip():
        yield [rest.strip()]
