"""Closes a run, good or failed: its page, its `run.json`, and what older runs need not leave any longer."""

import dataclasses
import datetime
import errno
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import NoriaError, SpanError
from noria.pipeline.config import Config
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

FULL = 1 << 20  # bytes: a disk with less room than this is full


def close(
    config: Config,
    run: RunRecord,
    records: list[dict[str, Any]],
    paths: dict[str, dict[str, str]],
    log: Path | None = None,
) -> RunRecord:
    """Writes a run's report and its `run.json`, which keeps what only the runner knows.

    Args:
      config: the project's settings.
      run: as the registry has it.
      records: the run's journal.
      paths: node id -> output name -> folder of the artifact.
      log: the run's log file.

    Returns:
      The run with its seconds by stage, its times and the path of its report.

    Raises:
      SpanError: the disk is full, or the home folder cannot be written to.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    first = min((record["time"] for record in records), default=now.timestamp())
    begun = datetime.datetime.fromtimestamp(first, datetime.timezone.utc)
    run = dataclasses.replace(
        run,
        started=run.started or begun.isoformat(timespec="seconds"),
        finished=now.isoformat(timespec="seconds"),
        seconds={r["stage"]: r["seconds"] for r in records if r["event"] == "end"},
    )
    with files.explained(f"the report of span {run.span} cannot be written", config.home_path, SpanError):
        run = dataclasses.replace(run, report=str(_report(config, run, records, paths, log)))
        folder = config.home_path / "runs" / run.run_id
        files.write_text(folder / "run.json", json.dumps(dataclasses.asdict(run), default=str, indent=1))
    return run


def failed(config: Config, facts: dict[str, Any], error: Exception, records: list[dict[str, Any]]) -> Path:
    """Writes the page of a run that failed; the next try's takes its place.

    Args:
      config: the project's settings.
      facts: `span`, `run_id`, `started` and `log` of the run.
      error: what it failed with.
      records: the run's journal as far as it went.

    Returns:
      The page.
    """
    said = str(error) if isinstance(error, NoriaError) else f"{type(error).__name__}: {error}"
    paths = artifacts(config, facts["run_id"])
    return _page(config, _failed_name(facts["span"]), {**facts, "error": said}, records, paths)


def in_words(config: Config, span: int, error: Exception) -> Exception:
    """A full disk or a missing right as an error that says what to do; anything else as it is."""
    what = f"the run on span {span} stopped"
    if isinstance(error, OSError) and error.errno in files.NEXT_STEPS:
        return files.refusal(error, what, config.home_path, SpanError)
    # SQLite and TensorFlow have errors of their own for a full disk; TFX works in the temporary folder, too.
    folders = (str(config.home_path), tempfile.gettempdir())
    free, fullest = min((shutil.disk_usage(folder).free, folder) for folder in folders)
    full = free < FULL or any(sign in str(error) for sign in ("No space left on device", "disk is full"))
    if full and not isinstance(error, NoriaError):
        return files.refusal(OSError(errno.ENOSPC, "", fullest), what, fullest, SpanError)
    return error


def prune(config: Config) -> None:
    """Deletes what all but the newest runs made, failed ones at once; what a version needs is in the registry.

    The newest run of all stays even if it failed: somebody will look at it.
    """
    ended = {run.run_id for run in Registry(config.home_path).runs()}
    runs = sorted(path for path in (config.home_path / "tfx").glob("*") if path.is_dir())
    good = [folder for folder in runs if folder.name in ended]
    stopped = [folder for folder in runs[:-1] if folder.name not in ended]
    for folder in [*stopped, *good[: -config.retention]]:
        files.remove_tree(folder)


def artifacts(config: Config, run_id: str) -> dict[str, dict[str, str]]:
    """What a run made: node id -> output name -> folder (TFX's layout: root/node/output/execution)."""
    found: dict[str, dict[str, str]] = {}
    for folder in sorted((config.home_path / "tfx" / run_id).glob("*/*/[0-9]*")):
        found.setdefault(folder.parent.parent.name, {})[folder.parent.name] = str(folder)
    return found


def _report(
    config: Config,
    run: RunRecord,
    records: list[dict[str, Any]],
    paths: dict[str, dict[str, str]],
    log: Path | None,
) -> Path:
    known: dict[str, Any] = {} if log is None else {"log": str(log)}
    if run.version is not None:
        version = Registry(config.home_path).version(run.version)
        known |= {"spans": version.spans, "parent": version.parent, "code_digest": version.code_digest}
    reports = config.home_path / "reports"
    for suffix in (".html", ".json"):  # the span's earlier tries are over
        (reports / f"{_failed_name(run.span)}{suffix}").unlink(missing_ok=True)
    name = f"{run.span:08d}-{run.run_id}"
    return _page(config, name, dataclasses.asdict(run) | known, records, paths)


def _failed_name(span: int) -> str:
    """Name of the page of a span whose run failed: one for all tries, until a run on it comes to its end."""
    return f"{span:08d}-failed"


def _page(
    config: Config,
    name: str,
    run: dict[str, Any],
    records: list[dict[str, Any]],
    paths: dict[str, dict[str, str]],
) -> Path:
    from noria.pipeline import report

    event_time = SpanStore(config.home_path).manifest(run["span"]).event_time
    if event_time is not None:
        run = {**run, "span_start": event_time[0], "span_end": event_time[1]}
    facts = report.RunFacts(project=config.name, run=run, journal=records, paths=paths)
    return report.write(config.home_path / "reports" / f"{name}.html", facts)
