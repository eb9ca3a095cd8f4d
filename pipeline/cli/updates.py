"""`noria updates`: sends the model updates that their targets have not taken yet."""

from typing import TYPE_CHECKING

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

if TYPE_CHECKING:
    from noria.pipeline.config import Config


def updates(config: ConfigFile = PROJECT, as_json: Json = False) -> int:
    """Send publications, rollbacks and quarantines to the targets in `updates` that have not received them yet."""
    from rich.markup import escape

    from noria.pipeline.config import load
    from noria.pipeline.updates.outbox import deliver

    deliveries = deliver(load(config))
    if as_json:
        console.emit({"targets": [each.to_json() for each in deliveries]})
    else:
        if not deliveries:
            console.out().print("the config names no target; docs/updates.md has examples")
        for each in deliveries:
            waiting = f"; [red]{each.waiting:,} wait[/]" if each.waiting else ""
            console.out().print(f"{escape(each.target)}: {len(each.sent):,} sent{waiting}", soft_wrap=True)
            if each.problem is not None:
                console.show_error(each.problem)
    return console.ATTENTION if any(each.problem for each in deliveries) else console.OK


def send(settings: "Config") -> None:
    """Sends updates after a command that changed the registry; what fails is a warning, as it is sent again later."""
    from noria.core.errors import NoriaError
    from noria.pipeline.updates.outbox import deliver, problems

    try:
        for line in problems(deliver(settings)):
            console.err().print(line, style="yellow", markup=False, soft_wrap=True)
    except NoriaError as error:
        console.show_error(error)
