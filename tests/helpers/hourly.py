"""A table sent to an event log hour by hour while `noria ingest --follow` reads it, and the same table from a file."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from noria.ingestion import duplicates
from noria.ingestion.calendar import Calendar
from noria.ingestion.streams.log import LogWriter
from noria.pipeline.config import Config, load
from noria.pipeline.runs.ingest import ingest
from noria.stores.spans import SpanStore


def from_file(folder: Path, table: pa.Table, settings: dict[str, Any]) -> Config:
    """A project whose spans come from a Parquet file with the table."""
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "rows.parquet")
    config = _project(folder, {**settings, "data": {"source": "rows.parquet"}})
    ingest(config, lambda record: None)
    return config


def from_stream(folder: Path, table: pa.Table, settings: dict[str, Any], like: Config) -> Config:
    """A project whose spans come from an event log, to which the rows of each hour are appended together.

    Args:
      folder: the project's.
      table: the rows.
      settings: as of `from_file`.
      like: the project whose columns and types the events have.
    """
    known = Calendar.load(SpanStore(like.home_path))
    assert known is not None and known.time is not None
    types = {name: kind for name, kind in known.columns.items() if name not in (known.time, known.label)}
    folder.mkdir(parents=True)
    stream = {"source": {"log": "events"}, "segment_every": "1s"}
    config = _project(folder, {**settings, "stream": stream, "data": {"columns": [*types], "types": types}})
    writer = LogWriter(folder / "events")
    writer.append([])  # makes the log
    command = [sys.executable, "-m", "noria.pipeline", "ingest", "--json"]
    reader = subprocess.Popen([*command, "--follow"], cwd=folder, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    try:
        rows = table.take(np.argsort(table[known.time].to_numpy(), kind="stable")).to_pylist()
        for _, hour in itertools.groupby(rows, key=lambda row: row[known.time] // 3600):
            writer.append(hour)
        records = map(json.loads, reader.stdout)
        read = (record["rows"] for record in records if record["event"] == "segment")
        assert len(table) in itertools.accumulate(read), "each event is read once"
    finally:
        reader.terminate()
        reader.communicate()
    subprocess.run([*command, "--flush"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return config


def content(config: Config) -> dict[int, tuple[Any, ...]]:
    """What each span has: columns and types, rows, labels, first and last event, and a digest of its rows in order.

    The order of the columns is not compared: it follows from `data.columns` and `key` in the config.
    """
    store = SpanStore(config.home_path)
    found = {}
    for span in store.ids():
        manifest, table = store.manifest(span), store.table(span)
        table = table.select(sorted(table.column_names))
        digest = hashlib.sha256(duplicates.row_hashes(table).tobytes()).hexdigest()
        schema = [(field.name, str(field.type)) for field in table.schema]
        found[span] = (schema, manifest.rows, manifest.labels, manifest.event_time, digest)
    return found


def _project(folder: Path, settings: dict[str, Any]) -> Config:
    (folder / "noria.yaml").write_text(yaml.safe_dump({**settings, "home": "home"}))
    return load(folder)
