"""`noria rollback`: an earlier version serves again."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def rollback(
    to: Annotated[
        int | None, typer.Option(help="The version to go back to. Default: the previous champion.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "rolled back by hand",
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Make an earlier version serve again."""
    from noria.pipeline.cli import rendering, updates
    from noria.pipeline.config import load
    from noria.stores.publication import Publication
    from noria.stores.registry import Registry

    settings = load(config)
    publication = Publication(Registry(settings.home_path), settings.model_root, settings.signing.key)
    champion = publication.rollback(reason, console.user(), to)
    updates.send(settings)
    return rendering.print_champion(champion, "rolled back", as_json)
