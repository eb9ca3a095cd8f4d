"""Runs the pipeline: ingests what is new, finishes what a killed run left, and runs on each span in its order.

Imports neither TFX nor TensorFlow before the first run, so that refusals come at once.
"""

import contextlib
import dataclasses
import datetime
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.components.pusher import infra_validation
from noria.core import files
from noria.core.errors import ConfigError, DataError, SpanError, ThinError
from noria.core.locks import hold
from noria.ingestion.ingest import ingest
from noria.pipeline.config import Config
from noria.pipeline.config.sections import is_function
from noria.pipeline.runs import lineage, recorder
from noria.stores import pending as stores_pending
from noria.stores.recovery import recover
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore

# Called with each journal record: {"stage": ..., "event": "start" | "note" | "end" | "failed", ...}.
Listener = Callable[[dict[str, Any]], None]


def run_pending(
    config: Config,
    *,
    limit: int | None = None,
    wait: float = 0,
    cold: bool = False,
    again: bool = False,
    on_event: Listener | None = None,
) -> list[RunRecord]:
    """Runs the pipeline on every span that waits (`noria.stores.pending`).

    Args:
      config: the project's settings.
      limit: at most so many runs; None for all.
      wait: seconds to wait for another run that holds the project; 0 refuses at once.
      cold: train from nothing although there is a champion.
      again: where no span waits, run once more on the newest good one.
      on_event: gets the journal of every stage, and of `Ingest` and `Run` around them.

    Returns:
      The runs made, oldest first, with the seconds of each stage and the path of the report.

    Raises:
      LockedError: another run holds the project.
      NoriaError: whatever was wrong with the data, the config or the code, by its own type.
    """
    tell = on_event or (lambda record: None)
    if config.metadata_server() is not None:
        from noria.pipeline.runners import metadata

        metadata.connection(config)  # refuses now, not after the imports and the ingestion
    with hold(config.home_path, wait=wait):
        _ingest(config, tell)
        registry = Registry(config.home_path)
        for line in recover(registry, config.model_root):
            tell({"stage": "Recover", "event": "note", "recovered": line})
        made = []
        for span in waiting(config, again)[:limit]:
            # The Pusher asks each model in a fresh process; one that has imported TensorFlow waits for it.
            infra_validation.start_ahead()
            made.append(_run(config, registry, span, cold, tell))
        return made


def retrain(config: Config, *, again: bool = False, on_event: Listener | None = None) -> list[RunRecord]:
    """Trains from nothing once, because what makes the model has changed, and goes on from that warm.

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


def bring_in(config: Config, *, on_event: Listener | None = None) -> None:
    """Makes spans of what is new in the source, and runs on none.

    Raises:
      LockedError: another run holds the project.
      DataError: there is no data.
    """
    with hold(config.home_path, wait=0):
        _ingest(config, on_event or (lambda record: None))


def pending(config: Config) -> list[int]:
    """Spans that wait for a run, oldest first."""
    return stores_pending.pending(config.home_path, config.window.first)


def waiting(config: Config, again: bool) -> list[int]:
    """The same; where none waits and `again`, the newest span that can be trained on once more."""
    return pending(config) or (stores_pending.once_more(config.home_path) if again else [])


def replay(
    config: Config, home: Path, *, last: int | None = None, on_event: Listener | None = None
) -> list[RunRecord]:
    """Runs the pipeline on the history again, in a home of its own: what would these settings have done?

    The spans are hard-linked from the project's store, its source is not read; its registry and its model directory
    stay as they are.

    Args:
      config: the project's settings, changed or not.
      home: an empty or earlier replay's folder; an earlier one is gone on with.
      last: id of the last span to run on.
      on_event: as in `run_pending`.

    Raises:
      SpanError: `home` is the project's own, or there is no span to replay.
      LockedError: another replay holds that home.
    """
    if home.resolve() == config.home_path.resolve():
        raise SpanError(
            "a replay needs a home of its own", where=home, next_step="name another folder with --home"
        )
    # The history is what the project's store holds: the source may have gone on since, and is left alone.
    quiet = config.model_copy(update={"data": config.data.model_copy(update={"source": None})}).moved_to(home)
    with hold(home):
        with files.explained("the spans cannot be linked", home, SpanError):
            _link_spans(config.home_path, home, last)
        waits = [span for span in pending(quiet) if last is None or span <= last]
        return run_pending(quiet, limit=len(waits), on_event=on_event)


def _link_spans(source: Path, home: Path, last: int | None) -> None:
    """Links each version of the spans up to `last` by one rename; what is in quarantine there is judged anew here."""
    spans = home / "spans"
    files.sweep(spans)
    store = SpanStore(source)
    ids = [span for span in store.ids() if last is None or span <= last]
    if not ids:
        raise SpanError(
            "there is no span to replay" if last is None else f"there is no span up to {last} to replay",
            where=store.folder,
            next_step="`noria status` lists the spans; `noria run` makes them of the source",
        )
    for span in ids:
        for version in sorted((store.folder / f"{span:08d}").glob("v*")):
            target = spans / version.parent.name / version.name
            if not target.exists():
                beside = files.staging(spans)
                files.copy_tree(version, beside)
                files.commit_folder(beside, target)


def take_in(config: Config, tell: Listener) -> dict[str, Any]:
    """Makes spans of what is new in the source.

    Args:
      config: the project's settings.
      tell: called with what ingestion does, as it does it.

    Returns:
      What came of it, by name; nothing where the config names no source.

    Raises:
      DataError: there is no data at all, or it cannot be read.
    """
    store = SpanStore(config.home_path)
    if config.data.source is None:
        if not store.ids():
            raise DataError(
                "there is no data: the span store is empty and the config names no source",
                where=config.path,
                next_step="set `data.source` to a CSV or Parquet file, a folder or a glob of them",
            )
        return {}
    return dataclasses.asdict(ingest(_source(config), config.event_settings(), store, tell=tell))


def _ingest(config: Config, tell: Listener) -> None:
    started = time.monotonic()
    if config.data.source is not None:
        tell({"stage": "Ingest", "event": "start", "source": str(config.data.source)})
    report = take_in(config, lambda record: tell({"stage": "Ingest", "event": "note", **record}))
    if report:
        tell({"stage": "Ingest", "event": "end", "seconds": time.monotonic() - started, **report})


def _source(config: Config) -> Any:
    """What ingestion takes: a path, or the function that `module:function` names."""
    source = config.data.source
    if source is None or not is_function(source):
        return source
    from noria.core.user_code import load_function

    return load_function(source.replace(":", "."), str(config.folder), "data.source")


def _run(config: Config, registry: Registry, span: int, cold: bool, tell: Listener) -> RunRecord:
    now = datetime.datetime.now(datetime.timezone.utc)
    started, run_id = now.isoformat(timespec="seconds"), f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    folder = config.home_path / "runs" / run_id
    records: list[dict[str, Any]] = []

    def listen(record: dict[str, Any]) -> None:
        records.append(record)
        tell(record)

    log = folder / "tfx.log"
    try:
        tell({"stage": "Run", "event": "start", "span": span, "run_id": run_id, "log": str(log)})
        with contextlib.suppress(ThinError):  # it ends the run, and the registry has its run
            _execute(config, span, "cold" if cold else "auto", run_id, folder, listen)
        record = next(record for record in registry.runs() if record.run_id == run_id)
    except Exception as error:
        said = recorder.in_words(config, span, error)
        facts = {"span": span, "run_id": run_id, "started": started, "log": str(log)}
        # What went wrong counts, not that it cannot be written down as well.
        with contextlib.suppress(OSError):
            recorder.prune(config)
        with contextlib.suppress(Exception):
            page = recorder.failed(config, facts, said, records)
            tell({"stage": "Run", "event": "failed", "span": span, "report": str(page)})
        if said is error:
            raise
        raise said from error
    record = dataclasses.replace(record, started=started)
    record = recorder.close(config, record, records, recorder.artifacts(config, run_id), log=log)
    tell({"stage": "Run", "event": "end", "run": record})
    with files.explained("what old runs left cannot be deleted", config.home_path, ConfigError):
        recorder.prune(config)
    return record


def _execute(config: Config, span: int, mode: str, run_id: str, folder: Path, tell: Listener) -> None:
    from noria.core.user_code import add_project

    add_project(str(config.folder))
    # The fresh processes that a run starts (the probe, Beam's workers) find the project's code the same way.
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
