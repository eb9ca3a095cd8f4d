"""`noria replay`: the pipeline on the past again, in another home."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

if TYPE_CHECKING:
    from noria.pipeline.runs.ingest import Listener
    from noria.stores.registry import RunRecord


def replay(
    config: ConfigFile = PROJECT,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of the replay. Default: home/replays/ and the digest of the settings."),
    ] = None,
    last: Annotated[int | None, typer.Option(help="The last span to run on.")] = None,
    as_json: Json = False,
) -> int:
    """Run the pipeline on past spans in another home, to see what the current settings would have done."""
    from noria.pipeline.cli.local_run import show_work
    from noria.pipeline.config import load

    settings = load(config)
    target = (home or settings.home_path / "replays" / settings.digest()).absolute()

    def work(listen: "Listener") -> "list[RunRecord]":
        from noria.pipeline.runs.replay import replay as replay_spans

        return replay_spans(settings, target, last=last, on_event=listen)

    return show_work(settings.moved_to(target), work, config, as_json, replayed=True)
