"""`noria promote`: a person publishes a version."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json, for_project


def promote(
    version: Annotated[int, typer.Argument(help="The version to publish.")],
    reason: Annotated[str, typer.Option(help="Why; recorded in the registry.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Override the gate's verdict.")] = False,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Publish a version regardless of its verdict; the registry records who did it and why."""
    from noria.core.errors import GateError
    from noria.pipeline.cli import rendering, updates
    from noria.pipeline.config import load
    from noria.stores.publication import Publication
    from noria.stores.registry import Registry

    settings = load(config)
    registry = Registry(settings.home_path)
    found = registry.version(version)
    if not force:
        verdict = "; ".join(found.reasons) or "it did not win against the champion"
        raise GateError(
            f"version {version} is {found.state}: promoting it overrides the gate ({verdict})",
            where=registry.folder,
            next_step=f'noria promote {version}{for_project(config)} --force --reason "why"',
        )
    publication = Publication(registry, settings.model_root, settings.signing.key)
    promoted = publication.promote(version, reason, console.user())
    updates.send(settings)
    return rendering.print_champion(promoted, "promoted", as_json)
