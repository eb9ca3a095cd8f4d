"""What a project's stores hold at one moment: spans, versions, champion, runs. `noria status` shows it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.config import Config
from noria.serving.rollouts.operations import summary
from noria.serving.rollouts.rollout_store import RolloutStore
from noria.stores import twin
from noria.stores.pending import pending
from noria.stores.registry import Registry, RunRecord, Version
from noria.stores.spans import SpanStore

__all__ = ["Overview", "champion", "read", "version_row"]


@dataclasses.dataclass(frozen=True)
class Overview:
    """A project at one moment.

    Attributes:
      config: the project's settings.
      champion: the version that serves; None before the first.
      versions, runs: all of them, oldest first.
      spans: ids of all spans with rows; `pending`: of those that wait for a run.
      retired: ids of the spans whose rows were deleted by `noria retire`.
      quarantined: id of each span in quarantine -> its note.
      rollout: the newest rollout, as `noria rollout status` has it; None before the first.
      stream: the stream's positions as they were stored last; None where nothing was read of one.
      twin: the record of the cold twin; None where there is none.
    """

    config: Config
    champion: Version | None
    versions: list[Version]
    runs: list[RunRecord]
    spans: list[int]
    retired: list[int]
    quarantined: dict[int, dict[str, Any]]
    pending: list[int]
    rollout: dict[str, Any] | None
    stream: dict[str, Any] | None
    twin: twin.Record | None

    def to_json(self) -> dict[str, Any]:
        """The object that `noria status --json` prints."""
        return {
            "project": self.config.name,
            "home": str(self.config.home_path),
            "model_root": str(self.config.model_root),
            "champion": self.champion.version if self.champion else None,
            "versions": [version_row(version) for version in self.versions],
            "runs": [dataclasses.asdict(run) for run in self.runs],
            "spans": self.spans,
            "retired": self.retired,
            "quarantined": sorted(self.quarantined),
            "pending": self.pending,
            "rollout": self.rollout,
            "stream": self.stream,
            "twin": None if self.twin is None else self.twin.to_json(),
        }


def read(config: Config) -> Overview:
    """Reads the project's stores; changes nothing."""
    home = config.home_path
    registry, store = Registry(home), SpanStore(home)
    return Overview(
        config=config,
        champion=champion(config),
        versions=[_relocated(config, version) for version in registry.versions()],
        runs=[_with_run_file(home, run) for run in registry.runs()],
        spans=store.ids(),
        retired=sorted(store.retired()),
        quarantined=store.quarantined(),
        pending=pending(home, config.window.first),
        rollout=_rollout(config),
        stream=_stream(config),
        twin=twin.record(registry.state()),
    )


def champion(config: Config) -> Version | None:
    """The version that serves, with the path of its model on this machine, or its URL."""
    found = Registry(config.home_path).champion()
    return found and _relocated(config, found)


def version_row(version: Version) -> dict[str, Any]:
    """A version as one JSON object."""
    values = version.to_json()
    values["spans"] = list(version.spans)
    values["reasons"] = list(version.reasons)
    return values


def _rollout(config: Config) -> dict[str, Any] | None:
    found = RolloutStore(config.model_root).read()
    return summary(found) if found is not None else None


def _stream(config: Config) -> dict[str, Any] | None:
    """Positions, lag and counts of the stream as its ingester stored them last."""
    store = SegmentStore(config.home_path)
    state = store.state()
    if not state.commit:
        return None
    return {
        "source": config.stream.source_name,
        **{name: value for name, value in state.identity.items() if name != "source"},
        "partitions": [
            {
                "partition": partition,
                "position": position,
                "end": state.ends.get(partition),
                "lag": max(0, state.ends.get(partition, position) - position),
                "event_time": state.clocks[partition].time if partition in state.clocks else None,
            }
            for partition, position in sorted(state.next.items())
        ],
        "looked": state.looked,
        "counts": state.counts,
        "segments": len(store.pending()),
        "losses": list(state.losses),
    }


def _with_run_file(home: Path, run: RunRecord) -> RunRecord:
    """A run with what its `run.json` adds: seconds by stage, and the report."""
    try:
        content = json.loads((home / "runs" / run.run_id / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return run
    report = content.get("report") or run.report
    if report:  # the home may have been at another path when this was written
        report = str(home / "reports" / Path(report).name)
    return dataclasses.replace(run, seconds=content.get("seconds") or run.seconds, report=report)


def _relocated(config: Config, version: Version) -> Version:
    """A version whose `model_dir` is below today's home, which may have been at another path at publication."""
    if version.model_dir is None:
        return version
    folder = Path(version.model_dir)
    return dataclasses.replace(version, model_dir=f"{config.home}/models/{folder.parent.name}/{folder.name}")
