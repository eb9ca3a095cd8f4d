"""A project's stream: what reads it, what appends to it, and its dead letters."""

from collections.abc import Callable
from typing import Any

from noria.core.errors import ConfigError
from noria.ingestion.segments.ingester import Ingester
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.streams import STREAMS
from noria.ingestion.streams.base import Stream
from noria.pipeline.config import Config
from noria.stores.spans import SpanStore

__all__ = ["ingester", "open_stream"]


def open_stream(config: Config) -> Stream:
    """The stream that the config names.

    Raises:
      ConfigError: it names none, or its settings are wrong.
    """
    if config.stream.source is None:
        raise ConfigError(
            "the config names no stream",
            where=config.path,
            next_step="set `stream.source`, such as `stream: {source: {log: events}}` (docs/streams.md); "
            "`noria run` itself reads `data.source`",
        )
    [(kind, given)] = config.stream.source.items()
    return STREAMS.find(kind, config.folder)(given, config.folder, config.name)


def ingester(config: Config, tell: Callable[[dict[str, Any]], None]) -> Ingester:
    """What brings the project's stream into its spans.

    Args:
      config: the project's settings.
      tell: gets a record for each thing that happened.
    """
    return Ingester(
        open_stream(config),
        config.event_settings(),
        config.stream_settings(),
        SegmentStore(config.home_path),
        SpanStore(config.home_path),
        tell=tell,
    )
