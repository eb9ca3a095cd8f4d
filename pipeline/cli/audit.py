"""`noria audit`: the server's audit log."""

from pathlib import Path
from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import Json

app = typer.Typer(help="The audit log of `noria serve`.", no_args_is_help=True)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The file that `noria serve --audit-log` has written.")],
    head: Annotated[
        str, typer.Option(help="A hash that this command printed before: its line must still be there.")
    ] = "",
    as_json: Json = False,
) -> int:
    """Verify the chain of hashes: that no line was changed, removed or moved. Print the hash of the newest line."""
    from noria.serving import audit_log

    found = audit_log.verify(file, head)
    if as_json:
        console.emit({"entries": found.entries, "head": found.head, "torn_bytes": found.torn})
        return console.OK
    console.out().print(
        f"{found.entries} entries form an unbroken chain; the newest has the hash {found.head}",
        soft_wrap=True,
    )
    if found.torn:
        console.out().print(f"a crash has left {found.torn} bytes after it; the next start ends them")
    return console.OK
