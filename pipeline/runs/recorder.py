"""Ends a run, with any outcome and on any runner: its page, its `run.json`, its errors in plain words.

The stages record the outcome in the registry (Pusher a version, DataGate a broken span, SpanExampleGen a thin one).
The runner ends the run with a `RunRecorder`: `noria run` around the pipeline, on Kubeflow the task `Report`, and the
entrypoint of a task that failed or found the span thin.
"""

import dataclasses
import datetime
import errno
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import NoriaError, RegistryError, SpanError
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

__all__ = ["RunRecorder", "artifacts", "explained_error", "prune"]

FULL = 1 << 20  # bytes: a disk with less free space than this counts as full

Journal = Sequence[Mapping[str, Any]]
Artifacts = Mapping[str, Mapping[str, str]]  # node id -> output name -> folder of the artifact


@dataclasses.dataclass(frozen=True)
class RunRecorder:
    """Ends one run.

    Attributes:
      home: the project's home folder.
      project: the project's name.
      run_id: the run.
      started: ISO 8601 with zone; None for the time of the first journal record.
      log: the run's log file, if it has one.
    """

    home: Path
    project: str
    run_id: str
    started: str | None = None
    log: Path | None = None

    def close(self, journal: Journal, artifacts: Artifacts) -> RunRecord:
        """Ends a run that the registry has: published, rejected, on a broken or on a thin span.

        Writes its report and its `run.json`, which keeps what only the runner knows.

        Args:
          journal: the run's records.
          artifacts: what the run made.

        Returns:
          The run with its seconds by stage, its times and the path of its report.

        Raises:
          RegistryError: the registry has no such run.
          SpanError: the disk is full, or the home folder cannot be written to.
        """
        registry = Registry(self.home)
        run = next((run for run in registry.runs() if run.run_id == self.run_id), None)
        if run is None:
            raise RegistryError(
                f"the registry has no run {self.run_id}",
                where=registry.folder,
                next_step="see the logs of the earlier stages; on Kubeflow, `kubeflow.home` must be on one volume",
            )
        now = datetime.datetime.now(datetime.timezone.utc)
        first = min((record["time"] for record in journal), default=now.timestamp())
        begun = datetime.datetime.fromtimestamp(first, datetime.timezone.utc)
        run = dataclasses.replace(
            run,
            started=self.started or run.started or begun.isoformat(timespec="seconds"),
            finished=now.isoformat(timespec="seconds"),
            seconds={r["stage"]: r["seconds"] for r in journal if r["event"] == "end"},
        )
        fields = dataclasses.asdict(run) | self._log()
        if run.version is not None:
            version = registry.version(run.version)
            fields |= {"spans": version.spans, "parent": version.parent, "code_digest": version.code_digest}
        with files.explained(f"the report of span {run.span} cannot be written", self.home, SpanError):
            for suffix in (".html", ".json"):  # this run is the outcome of the span's failed attempts
                files.remove_tree(self._page(_failed_name(run.span)).with_suffix(suffix))
            page = self._write(f"{run.span:08d}-{self.run_id}", fields, journal, artifacts)
            run = dataclasses.replace(run, report=str(page))
            text = json.dumps(dataclasses.asdict(run), default=str, indent=1)
            files.write_text(self.home / "runs" / self.run_id / "run.json", text)
        return run

    def fail(self, span: int, error: Exception, journal: Journal, artifacts: Artifacts) -> Path:
        """Ends a run that failed: its page says in which stage and why. The next attempt replaces the page.

        Args:
          span: id of its span.
          error: what it failed with.
          journal: the run's records up to the failure.
          artifacts: what the run made.

        Returns:
          The page.

        Raises:
          SpanError: there is no such span.
          OSError: the page cannot be written.
        """
        text = str(error) if isinstance(error, NoriaError) else f"{type(error).__name__}: {error}"
        fields = {"span": span, "run_id": self.run_id, "started": self.started, "error": text, **self._log()}
        return self._write(_failed_name(span), fields, journal, artifacts)

    def _log(self) -> dict[str, str]:
        return {} if self.log is None else {"log": str(self.log)}

    def _page(self, name: str) -> Path:
        return self.home / "reports" / f"{name}.html"

    def _write(self, name: str, fields: dict[str, Any], journal: Journal, artifacts: Artifacts) -> Path:
        from noria.pipeline import report

        event_time = SpanStore(self.home).manifest(fields["span"]).event_time
        if event_time is not None:
            fields = {**fields, "span_start": event_time[0], "span_end": event_time[1]}
        run = report.RunData(project=self.project, run=fields, journal=journal, paths=artifacts)
        return report.write(self._page(name), run)


def _failed_name(span: int) -> str:
    """Name of the page of a span whose run failed: one for all attempts, until a run on the span ends well."""
    return f"{span:08d}-failed"


def explained_error(home: Path, span: int, error: Exception) -> Exception:
    """A full disk or a missing permission as an error that says what to do; any other error as it is."""
    what = f"the run on span {span} stopped"
    if isinstance(error, OSError) and error.errno in files.NEXT_STEPS:
        return files.refusal(error, what, home, SpanError)
    # SQLite and TensorFlow have their own errors for a full disk; TFX also works in the temporary folder.
    folders = (str(home), tempfile.gettempdir())
    free, fullest = min((shutil.disk_usage(folder).free, folder) for folder in folders)
    full = free < FULL or any(sign in str(error) for sign in ("No space left on device", "disk is full"))
    if full and not isinstance(error, NoriaError):
        return files.refusal(OSError(errno.ENOSPC, "", fullest), what, fullest, SpanError)
    return error


def prune(home: Path, retention: int) -> None:
    """Deletes the artifacts of all but the newest `retention` runs, and of failed runs; versions are in the registry.

    Those of the newest run stay even if it failed, for debugging.
    """
    ended = {run.run_id for run in Registry(home).runs()}
    runs = sorted(path for path in (home / "tfx").glob("*") if path.is_dir())
    good = [folder for folder in runs if folder.name in ended]
    stopped = [folder for folder in runs[:-1] if folder.name not in ended]
    for folder in [*stopped, *good[:-retention]]:
        files.remove_tree(folder)


def artifacts(home: Path, run_id: str) -> dict[str, dict[str, str]]:
    """What a run on this machine made: node id -> output name -> folder (TFX's layout: root/node/output/execution)."""
    found: dict[str, dict[str, str]] = {}
    for folder in sorted((home / "tfx" / run_id).glob("*/*/[0-9]*")):
        found.setdefault(folder.parent.parent.name, {})[folder.parent.name] = str(folder)
    return found
