"""What `noria status` says of a project: spans, versions, champion, the last turns."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from noria.pipeline.config import Config
from noria.stores.registry import Registry, Turn, Version
from noria.stores.spans import SpanStore


@dataclasses.dataclass(frozen=True)
class Status:
    """A project at one moment."""

    config: Config
    champion: Version | None
    versions: list[Version]
    turns: list[Turn]
    spans: list[int]
    quarantined: dict[int, dict[str, Any]]
    pending: list[int]

    def to_json(self) -> dict[str, Any]:
        """The object that `noria status --json` prints."""
        from noria.pipeline.tables import turn_row, version_row

        return {
            "project": self.config.name,
            "home": str(self.config.home_path),
            "model_root": str(self.config.model_root),
            "champion": self.champion.version if self.champion else None,
            "versions": [version_row(version) for version in self.versions],
            "turns": [turn_row(turn) for turn in self.turns],
            "spans": self.spans,
            "quarantined": sorted(self.quarantined),
            "pending": self.pending,
        }


def read(config: Config) -> Status:
    """Reads the project's stores; changes nothing."""
    from noria.pipeline.wheel import pending

    registry, store = Registry(config.home_path), SpanStore(config.home_path)
    return Status(
        config=config,
        champion=registry.champion(),
        versions=registry.versions(),
        turns=[measured(config.home_path, turn) for turn in registry.turns()],
        spans=store.ids(),
        quarantined=store.quarantined(),
        pending=pending(config),
    )


def measured(home: Path, turn: Turn) -> Turn:
    """A turn with what only the runner knows: its seconds and its report."""
    try:
        told = json.loads((home / "runs" / turn.run_id / "turn.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return turn
    return dataclasses.replace(
        turn, seconds=told.get("seconds") or turn.seconds, report=told.get("report") or turn.report
    )
