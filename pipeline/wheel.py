"""Turns the wheel: ingests what is new, finishes what a killed run left, and turns on each span in its order.

Imports neither TFX nor TensorFlow before the first turn, so that refusals come at once.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.components.pusher import probe
from noria.pipeline import lineage
from noria.pipeline.config import Config
from noria.pipeline.sections import is_function
from noria.stores import files
from noria.stores import pending as stores_pending
from noria.stores.errors import DataError, SpanError, ThinError
from noria.stores.lock import hold
from noria.stores.recovery import recover
from noria.stores.registry import Registry, Turn
from noria.stores.spans import SpanStore
from noria.streaming.ingest import ingest

# Called with each journal record: {"stage": ..., "event": "start" | "note" | "end" | "failed", ...}.
Listener = Callable[[dict[str, Any]], None]


def turn_all(
    config: Config,
    *,
    limit: int | None = None,
    wait: float = 0,
    cold: bool = False,
    again: bool = False,
    on_event: Listener | None = None,
) -> list[Turn]:
    """Turns the wheel on every span that waits (`noria.stores.pending`).

    Args:
      config: the project's settings.
      limit: at most so many turns; None for all.
      wait: seconds to wait for another run that holds the project; 0 refuses at once.
      cold: train from nothing although there is a champion.
      again: where no span waits, turn once more on the newest good one.
      on_event: gets the journal of every stage, and of `Ingest` and `Turn` around them.

    Returns:
      The turns made, oldest first, with the seconds of each stage and the path of the report.

    Raises:
      LockedError: another run holds the project.
      NoriaError: whatever was wrong with the data, the config or the code, by its own type.
    """
    tell = on_event or (lambda record: None)
    if config.metadata_server() is not None:
        from noria.pipeline import metadata

        metadata.connection(config)  # refuses now, not after the imports and the ingestion
    with hold(config.home_path, wait=wait):
        _ingest(config, tell)
        registry = Registry(config.home_path)
        for line in recover(registry, config.model_root):
            tell({"stage": "Recover", "event": "note", "recovered": line})
        turns = []
        for span in waiting(config, again)[:limit]:
            # The Pusher asks each model in a fresh process; one that has imported TensorFlow waits for it.
            probe.start_ahead()
            turns.append(_turn(config, registry, span, cold, tell))
        return turns


def retrain(config: Config, *, again: bool = False, on_event: Listener | None = None) -> list[Turn]:
    """Trains from nothing once, because what makes the model has changed, and goes on from that warm.

    A broken or thin span makes no version: then the next span's turn is the cold one.

    Args:
      config: the project's settings.
      again: where no span waits, turn once more on the newest good one.
      on_event: as in `turn_all`.
    """
    turns: list[Turn] = []
    cold = True
    while True:
        made = turn_all(config, limit=1, cold=cold, again=again and not turns, on_event=on_event)
        turns += made
        if not made:
            return turns
        cold = cold and made[0].version is None


def bring_in(config: Config, *, on_event: Listener | None = None) -> None:
    """Makes spans of what is new in the source, and turns on none.

    Raises:
      LockedError: another run holds the project.
      DataError: there is no data.
    """
    with hold(config.home_path, wait=0):
        _ingest(config, on_event or (lambda record: None))


def pending(config: Config) -> list[int]:
    """Spans that wait for a turn, oldest first."""
    return stores_pending.pending(config.home_path, config.window.first)


def waiting(config: Config, again: bool) -> list[int]:
    """The same; where none waits and `again`, the newest span that can be trained on once more."""
    return pending(config) or (stores_pending.once_more(config.home_path) if again else [])


def replay(
    config: Config, home: Path, *, last: int | None = None, on_event: Listener | None = None
) -> list[Turn]:
    """Turns the wheel on the history again, in a home of its own: what would these settings have done?

    The spans are hard-linked from the project's store; its registry and its model directory stay as they are.

    Args:
      config: the project's settings, changed or not.
      home: an empty or earlier replay's folder; an earlier one is gone on with.
      last: id of the last span to turn on.
      on_event: as in `turn_all`.
    """
    if home.resolve() == config.home_path.resolve():
        raise SpanError(
            "a replay needs a home of its own", where=home, next_step="name another folder with --home"
        )
    for span in SpanStore(config.home_path).ids():
        target = home / "spans" / f"{span:08d}"
        if (last is None or span <= last) and not target.exists():
            files.copy_tree(config.home_path / "spans" / f"{span:08d}", target)
            (target / "QUARANTINED.json").unlink(missing_ok=True)
    return turn_all(config.moved_to(home), on_event=on_event)


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
    """What ingestion takes: a path, the name of the flights, or the function that `module:function` names."""
    source = config.data.source
    if source is None or not is_function(source):
        return source
    from noria.components.user_code import load_function

    return load_function(source.replace(":", "."), str(config.folder), "data.source")


def _turn(config: Config, registry: Registry, span: int, cold: bool, tell: Listener) -> Turn:
    started = datetime.datetime.now(datetime.timezone.utc)
    run_id = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    folder = config.home_path / "runs" / run_id
    tell({"stage": "Turn", "event": "start", "span": span, "run_id": run_id, "log": str(folder / "tfx.log")})
    records: list[dict[str, Any]] = []

    def listen(record: dict[str, Any]) -> None:
        records.append(record)
        tell(record)

    with contextlib.suppress(ThinError):  # it ends the run, and the registry has its turn
        _run(config, span, "cold" if cold else "auto", run_id, folder, listen)
    turn = next(turn for turn in registry.turns() if turn.run_id == run_id)
    turn = dataclasses.replace(turn, started=started.isoformat(timespec="seconds"))
    paths = artifacts(config.home_path / "tfx" / run_id)
    turn = close(config, turn, records, paths, log=folder / "tfx.log")
    tell({"stage": "Turn", "event": "end", "turn": turn})
    _prune(config)
    return turn


def close(
    config: Config,
    turn: Turn,
    records: list[dict[str, Any]],
    paths: dict[str, dict[str, str]],
    log: Path | None = None,
) -> Turn:
    """Writes a turn's report and its `turn.json`, which keeps what only the runner knows.

    Args:
      config: the project's settings.
      turn: as the registry has it.
      records: the turn's journal.
      paths: node id -> output name -> folder of the artifact.
      log: the turn's log file.

    Returns:
      The turn with its seconds by stage, its times and the path of its report.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    first = min((record["time"] for record in records), default=now.timestamp())
    begun = datetime.datetime.fromtimestamp(first, datetime.timezone.utc)
    turn = dataclasses.replace(
        turn,
        started=turn.started or begun.isoformat(timespec="seconds"),
        finished=now.isoformat(timespec="seconds"),
        seconds={r["stage"]: r["seconds"] for r in records if r["event"] == "end"},
    )
    turn = dataclasses.replace(turn, report=str(_report(config, turn, records, paths, log)))
    folder = config.home_path / "runs" / turn.run_id
    files.write_text(folder / "turn.json", json.dumps(dataclasses.asdict(turn), default=str, indent=1))
    return turn


def _run(config: Config, span: int, mode: str, run_id: str, folder: Path, tell: Listener) -> None:
    from noria.components.user_code import add_project

    add_project(str(config.folder))
    # The fresh processes that a run starts (the probe, Beam's workers) find the project's code the same way.
    paths = [str(config.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))

    from noria.components.keras_first import ensure_keras3

    ensure_keras3()
    from noria.pipeline import beam

    beam.run(
        config,
        span=span,
        mode=mode,
        run_id=run_id,
        code_digest=lineage.digest(config),
        run_folder=folder,
        listen=tell,
    )


def _report(
    config: Config,
    turn: Turn,
    records: list[dict[str, Any]],
    paths: dict[str, dict[str, str]],
    log: Path | None,
) -> Path:
    from noria.pipeline import report

    known: dict[str, Any] = {} if log is None else {"log": str(log)}
    if turn.version is not None:
        version = Registry(config.home_path).version(turn.version)
        known |= {"spans": version.spans, "parent": version.parent, "code_digest": version.code_digest}
    event_time = SpanStore(config.home_path).manifest(turn.span).event_time
    if event_time is not None:
        known |= {"span_start": event_time[0], "span_end": event_time[1]}
    facts = report.RunFacts(
        project=config.name,
        turn=dataclasses.asdict(turn) | known,
        journal=records,
        paths=paths,
    )
    return report.write(config.home_path / "reports" / f"{turn.span:08d}-{turn.run_id}.html", facts)


def _prune(config: Config) -> None:
    """Deletes the artifacts of all but the newest runs; what a version needs is in the registry."""
    runs = sorted(path for path in (config.home_path / "tfx").glob("*") if path.is_dir())
    for folder in runs[: -config.retention]:
        files.remove_tree(folder)


def artifacts(pipeline_root: Path) -> dict[str, dict[str, str]]:
    """What a run made: node id -> output name -> folder (TFX's layout: root/node/output/execution)."""
    found: dict[str, dict[str, str]] = {}
    for folder in sorted(pipeline_root.glob("*/*/[0-9]*")):
        found.setdefault(folder.parent.parent.name, {})[folder.parent.name] = str(folder)
    return found
