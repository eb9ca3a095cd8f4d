"""`noria release`: a person takes a span out of quarantine."""

import dataclasses
from pathlib import Path

from rich.markup import escape

from noria.pipeline.cli import console
from noria.pipeline.cli.versions import actor
from noria.pipeline.config import load
from noria.stores import quarantine
from noria.stores.pending import pending


def release(config_path: Path, span: int, reason: str, force: bool, as_json: bool) -> int:
    """Writes the release into the registry's log; the next run runs on the span."""
    config = load(config_path)
    made = quarantine.release(config.home_path, span, reason, actor(), forced=force)
    waiting = pending(config.home_path, config.window.first)
    if as_json:
        console.emit({**dataclasses.asdict(made), "pending": waiting})
        return console.OK
    how = "is trained on even if it is broken" if force else "is judged anew"
    console.out().print(
        f"[green]✓[/] span {span} {escape(str(made))}; it {how} by the next `noria run`", soft_wrap=True
    )
    return console.OK
