"""What `noria status` says of a project: spans, versions, champion, the last runs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from noria.pipeline.config import Config
from noria.stores.registry import Registry, RunRecord, Version
from noria.stores.spans import SpanStore


@dataclasses.dataclass(frozen=True)
class Status:
    """A project at one moment."""

    config: Config
    champion: Version | None
    versions: list[Version]
    runs: list[RunRecord]
    spans: list[int]
    quarantined: dict[int, dict[str, Any]]
    pending: list[int]

    def to_json(self) -> dict[str, Any]:
        """The object that `noria status --json` prints."""
        from noria.pipeline.cli.rendering import run_row, version_row

        return {
            "project": self.config.name,
            "home": str(self.config.home_path),
            "model_root": str(self.config.model_root),
            "champion": self.champion.version if self.champion else None,
            "versions": [version_row(version) for version in self.versions],
            "runs": [run_row(run) for run in self.runs],
            "spans": self.spans,
            "quarantined": sorted(self.quarantined),
            "pending": self.pending,
        }


def read(config: Config) -> Status:
    """Reads the project's stores; changes nothing."""
    from noria.pipeline.runs.run import pending

    registry, store = Registry(config.home_path), SpanStore(config.home_path)
    champion = registry.champion()
    return Status(
        config=config,
        champion=champion and here(config.home_path, champion),
        versions=[here(config.home_path, version) for version in registry.versions()],
        runs=[measured(config.home_path, run) for run in registry.runs()],
        spans=store.ids(),
        quarantined=store.quarantined(),
        pending=pending(config),
    )


def measured(home: Path, run: RunRecord) -> RunRecord:
    """A run with what only the runner knows: its seconds and its report."""
    try:
        told = json.loads((home / "runs" / run.run_id / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return run
    report = told.get("report") or run.report
    if report:  # written under the home's path of then: the volume may be mounted elsewhere here
        report = str(home / "reports" / Path(report).name)
    return dataclasses.replace(run, seconds=told.get("seconds") or run.seconds, report=report)


def here(home: Path, version: Version) -> Version:
    """A version whose `model_dir` is a path of today: the home may have been elsewhere when it was published."""
    if version.model_dir is None:
        return version
    folder = Path(version.model_dir)
    return dataclasses.replace(version, model_dir=str(home / "models" / folder.parent.name / folder.name))
