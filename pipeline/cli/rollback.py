"""`noria rollback`: an earlier version serves again, or the cold twin."""

from typing import TYPE_CHECKING, Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

if TYPE_CHECKING:
    from noria.stores.registry import Registry


def rollback(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|twin",
            help="The version to go back to, or the cold twin (`window.twin`). Default: the previous champion.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "rolled back by hand",
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Make an earlier version serve again, or the cold twin."""
    from noria.pipeline.cli import rendering, updates
    from noria.pipeline.config import load
    from noria.stores.publication import Publication
    from noria.stores.registry import Registry

    settings = load(config)
    registry = Registry(settings.home_path)
    publication = Publication(registry, settings.model_root, settings.signing.key)
    champion = publication.rollback(reason, console.user(), None if to is None else _number(to, registry))
    updates.send(settings)
    return rendering.print_champion(champion, "rolled back", as_json)


def _number(to: str, registry: "Registry") -> int:
    from noria.core.errors import RegistryError

    if to == "twin":
        twin = registry.state().twin
        if twin is None:
            raise RegistryError(
                "there is no cold twin",
                where=registry.folder,
                next_step="`noria status` lists the versions; with `window.twin` in noria.yaml a later run makes one",
            )
        return twin.version
    if not (to.isascii() and to.isdigit()):
        raise typer.BadParameter(f"must be the number of a version or twin, got {to!r}", param_hint="'--to'")
    return int(to)
