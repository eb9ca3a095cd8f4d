"""Runs the pipeline: ingests, finishes what a killed run left, and runs on each span that waits, oldest first.

Imports neither TFX nor TensorFlow before the first run, so that errors in the settings come at once.
"""

import contextlib
import datetime
import os
import uuid
from pathlib import Path
from typing import Any

from noria.components.infra_validation import validator
from noria.core import files
from noria.core.errors import ConfigError, ThinError
from noria.core.locks import hold
from noria.pipeline import forgetting, retirement
from noria.pipeline.config import Config
from noria.pipeline.runs import lineage, recorder
from noria.pipeline.runs.ingest import Listener, ingest
from noria.pipeline.updates import outbox
from noria.stores import twin
from noria.stores.pending import once_more, pending
from noria.stores.recovery import recover
from noria.stores.registry import Registry, RunRecord
from noria.stores.versions import TWIN

__all__ = ["Listener", "retrain", "run_pending", "waiting"]


def run_pending(
    config: Config,
    *,
    limit: int | None = None,
    wait: float = 0,
    cold: bool = False,
    again: bool = False,
    on_event: Listener | None = None,
) -> list[RunRecord]:
    """Runs the pipeline on every span that waits (`noria.stores.pending`), and trains the cold twin if it is due then.

    Args:
      config: the project's settings.
      limit: at most so many runs; None for all.
      wait: seconds to wait for another run that holds the project; 0 refuses at once.
      cold: train from scratch although there is a champion.
      again: where no span waits, run once more on the newest good one.
      on_event: gets the journal of every stage, and of `Ingest` and `Run` around them.

    Returns:
      The runs made, oldest first, with the seconds of each stage and the path of the report.

    Raises:
      LockedError: another run uses the project.
      NoriaError: whatever was wrong with the data, the config or the code, by its own type.
    """
    tell = on_event or (lambda record: None)
    if config.metadata_server() is not None:
        from noria.pipeline.runners import metadata

        metadata.connection(config)  # fails now, not after the imports and the ingestion
    with hold(config.home_path, wait=wait):
        finish_deletions(config, tell)
        ingest(config, tell)
        for line in recover(Registry(config.home_path), config.model_root, config.signing.key):
            tell({"stage": "Recover", "event": "note", "recovered": line})
        _send_updates(config, tell)
        made = []
        for span in waiting(config, again)[:limit]:
            # The Pusher validates each model in a separate process, which takes seconds to import TensorFlow.
            validator.start()
            made.append(_run(config, span, "cold" if cold else "auto", tell))
            _send_updates(config, tell)
        for span in [] if len(made) == limit else twin_span(config):
            validator.start()
            made.append(_run(config, span, TWIN, tell))
        retire_old_spans(config, tell, actor="noria run")
        return made


def retrain(config: Config, *, again: bool = False, on_event: Listener | None = None) -> list[RunRecord]:
    """Makes one cold run, because what makes the model has changed, and warm runs on the spans after it.

    A broken or thin span makes no version: then the next span's run is the cold one.

    Args:
      config: the project's settings.
      again: where no span waits, run once more on the newest good one.
      on_event: as in `run_pending`.
    """
    records: list[RunRecord] = []
    cold = True
    while True:
        made = run_pending(config, limit=1, cold=cold, again=again and not records, on_event=on_event)
        records += made
        if not made:
            return records
        cold = cold and made[0].version is None


def finish_deletions(config: Config, tell: Listener) -> None:
    """Finishes `noria forget` and `noria retire` where they were killed; the caller holds the home."""
    for name, finish in (("forget", forgetting.finish), ("retire", retirement.finish)):
        if finish(config):
            tell({"stage": "Recover", "event": "note", "recovered": f"finished `noria {name}`"})


def retire_old_spans(config: Config, tell: Listener, *, actor: str, wait: float = 0) -> None:
    """Deletes the rows of old spans after a run, as far as `data.keep_spans` allows; see `retirement.retire`.

    Args:
      config: the project's settings.
      tell: gets a note if spans were retired.
      actor: who; for the registry.
      wait: seconds to wait for another holder of the project.

    Raises:
      LockedError: another process holds the project.
    """
    if config.data.keep_spans is None:
        return
    done = retirement.retire(config, reason="`data.keep_spans`", actor=actor, wait=wait)
    if done.spans:
        tell({"stage": "Retire", "event": "note", "spans": done.spans, "rows": done.rows})


def waiting(config: Config, again: bool) -> list[int]:
    """Spans that wait for a run; with `again`, where none waits, the newest span that can be trained on once more."""
    found = pending(config.home_path, config.window.first)
    return found or (once_more(config.home_path) if again else [])


def twin_span(config: Config) -> list[int]:
    """The newest span if a cold twin is due and no span waits (`noria.stores.twin`), else nothing."""
    if not twin.due(Registry(config.home_path).state(), config.window.twin) or waiting(config, False):
        return []
    return once_more(config.home_path)


def _send_updates(config: Config, tell: Listener) -> None:
    """Tells the targets in the config. One that does not answer gets its updates after the next run."""
    for line in outbox.problems(outbox.deliver(config)):
        tell({"stage": "Updates", "event": "note", "problem": line})


def _run(config: Config, span: int, mode: str, tell: Listener) -> RunRecord:
    home = config.home_path
    now = datetime.datetime.now(datetime.timezone.utc)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    folder = home / "runs" / run_id
    log = folder / "tfx.log"
    recording = recorder.RunRecorder(
        home, config.name, run_id, started=now.isoformat(timespec="seconds"), log=log
    )
    records: list[dict[str, Any]] = []

    def listen(record: dict[str, Any]) -> None:
        records.append(record)
        tell(record)

    try:
        tell({"stage": "Run", "event": "start", "span": span, "run_id": run_id, "log": str(log)})
        with contextlib.suppress(ThinError):  # an ordinary end: the registry has the run
            _execute(config, span, mode, run_id, folder, listen)
    except Exception as error:
        explained = recorder.explained_error(home, span, error)
        # The error itself matters more than a failure to record it.
        with contextlib.suppress(OSError):
            recorder.prune(home, config.retention)
        with contextlib.suppress(Exception):
            page = recording.fail(span, explained, records, recorder.artifacts(home, run_id))
            tell({"stage": "Run", "event": "failed", "span": span, "report": str(page)})
        if explained is error:
            raise
        raise explained from error
    record = recording.close(records, recorder.artifacts(home, run_id))
    tell({"stage": "Run", "event": "end", "run": record})
    with files.explained("the artifacts of old runs cannot be deleted", home, ConfigError):
        recorder.prune(home, config.retention)
    return record


def _execute(config: Config, span: int, mode: str, run_id: str, folder: Path, tell: Listener) -> None:
    from noria.core.user_code import add_project

    add_project(str(config.folder))
    # Processes that a run starts (infra validation, Beam's workers) find the project's code the same way.
    paths = [str(config.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))

    from noria.components.keras3 import ensure_keras3

    ensure_keras3()
    from noria.pipeline.runners import beam

    beam.run(
        config,
        span=span,
        mode=mode,
        run_id=run_id,
        code_digest=lineage.digest(config),
        run_folder=folder,
        listen=tell,
    )
