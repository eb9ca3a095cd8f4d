"""Ingestion as every runner does it: new events of the project's source become spans."""

import dataclasses
import time
from collections.abc import Collection
from typing import Any

from noria.core.errors import ConfigError, DataError
from noria.ingestion.delivery import Listener
from noria.ingestion.ingest import ingest as ingest_source
from noria.ingestion.sources import SOURCES
from noria.ingestion.sources.base import Source
from noria.pipeline.config import Config
from noria.pipeline.config.sections import is_function, is_url
from noria.stores.spans import SpanStore

# Of the home folder: where a source keeps what it has copied.
LANDING = "landing"

__all__ = ["Listener", "ingest"]


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
        for note in follow(config, store):
            on_event({"stage": "Ingest", "event": "note", "changed": note})
        return {}
    started = time.monotonic()

    def tell(event: str, **fields: Any) -> None:
        on_event({"stage": "Ingest", "event": event, **fields})

    tell("start", source=config.data.source_name)
    report = ingest_source(
        _source(config),
        config.event_settings(),
        store,
        tell=lambda fields: tell("note", **fields),
        reads=lambda: _read_columns(config),
    )
    report = dataclasses.replace(report, notes=(*report.notes, *follow(config, store)))
    counts = dataclasses.asdict(report)
    tell("end", seconds=time.monotonic() - started, **counts)
    return counts


def follow(config: Config, store: SpanStore) -> list[str]:
    """Lets the schema file follow columns whose type has changed, and new classes; returns what to tell."""
    types, classes = store.retyped(), config.label.classes
    if (not types and classes is None) or not config.schema_path.is_file():
        return []
    from noria.schemas import evolution, loader

    schema = loader.load(config.schema_path)
    changes = evolution.retype(schema, {name: str(kind) for name, kind in types.items()})
    if classes is not None and config.task == "multiclass":
        changes += evolution.add_classes(schema, config.label.column, len(classes))
    if not changes:
        return []
    try:
        loader.save(schema, config.schema_path)
    except OSError as error:
        raise ConfigError(
            f"the data has changed, and so must the schema ({'; '.join(changes)}), but its file cannot be written: "
            f"{error.strerror}",
            where=config.schema_path,
            next_step="make these changes in the file, or give this process the right to write it",
        ) from error
    return [f"{config.schema_path.name} has changed: {change}" for change in changes]


def _read_columns(config: Config) -> Collection[str]:
    """The columns that the preprocessing reads, and those of the key and the slices. Imports TensorFlow."""
    from noria.components.keras3 import ensure_keras3
    from noria.core.user_code import load_function
    from noria.schemas import loader

    tf = ensure_keras3()
    import tensorflow_transform as tft

    from noria.components.internals.tft import feature_spec_of

    parsed = feature_spec_of(loader.load(config.schema_path)).feature_spec
    spec = {
        name: tf.TensorSpec([None, *kind.shape], kind.dtype)
        if isinstance(kind, tf.io.FixedLenFeature)
        else tf.SparseTensorSpec([None, None], kind.dtype)
        for name, kind in parsed.items()
    }
    function = load_function(config.preprocessing, str(config.folder))
    slices = [column for slicing in config.gates.model.slices for column in slicing]
    try:
        read = tft.get_transform_input_columns(function, spec)
    except Exception:  # the user's code; Transform explains what is wrong with it
        read = list(spec)
    return {*read, *config.key, *slices}


def _source(config: Config) -> Source:
    """The event source that the config names."""
    source = config.data.source
    assert source is not None
    if isinstance(source, str):
        kind, given = ("function" if is_function(source) else "remote" if is_url(source) else "files"), source
    else:
        [(kind, given)] = source.items()
    return SOURCES.find(kind, config.folder)(given, config.folder, config.home_path / LANDING)
