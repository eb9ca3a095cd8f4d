"""Ingestion as every runner does it: new events of the project's source become spans."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from noria.core.errors import DataError
from noria.ingestion.ingest import ingest as ingest_source
from noria.ingestion.sources import SOURCES
from noria.ingestion.sources.base import Source
from noria.pipeline.config import Config
from noria.pipeline.config.sections import is_function, is_url
from noria.stores.spans import SpanStore

# Of the home folder: where a source keeps what it has copied.
LANDING = "landing"

__all__ = ["Listener", "ingest"]

# Called with each journal record: {"stage": ..., "event": "start" | "note" | "end" | "failed", ...}.
Listener = Callable[[dict[str, Any]], None]


def ingest(config: Config, on_event: Listener) -> dict[str, Any]:
    """Makes spans of the new events in the source. The caller holds the project's lock.

    Args:
      config: the project's settings.
      on_event: gets the journal records of the stage `Ingest`; none where the config names no source.

    Returns:
      The fields of `noria.ingestion.ingest.IngestReport`; empty where the config names no source.

    Raises:
      DataError: there is no data at all, or it cannot be read.
    """
    store = SpanStore(config.home_path)
    if config.data.source is None:
        if not store.ids():
            if config.stream.source is not None:
                raise DataError(
                    "there is no span yet",
                    where=store.folder,
                    next_step="`noria ingest` makes spans of the events in `stream.source`",
                )
            raise DataError(
                "there is no data: the span store is empty and the config names no source",
                where=config.path,
                next_step="set `data.source` to a CSV or Parquet file, a folder or a glob of them",
            )
        return {}
    started = time.monotonic()

    def tell(event: str, **facts: Any) -> None:
        on_event({"stage": "Ingest", "event": event, **facts})

    tell("start", source=config.data.source_name)
    report = ingest_source(
        _source(config), config.event_settings(), store, tell=lambda facts: tell("note", **facts)
    )
    facts = dataclasses.asdict(report)
    tell("end", seconds=time.monotonic() - started, **facts)
    return facts


def _source(config: Config) -> Source:
    """The event source that the config names."""
    source = config.data.source
    assert source is not None
    if isinstance(source, str):
        kind, given = ("function" if is_function(source) else "remote" if is_url(source) else "files"), source
    else:
        [(kind, given)] = source.items()
    return SOURCES.find(kind, config.folder)(given, config.folder, config.home_path / LANDING)
