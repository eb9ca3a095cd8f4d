"""Other files with rows: prediction logs, and any Parquet or Arrow file that a project keeps in its home."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from noria.core import files
from noria.pipeline.forgetting.change import Change
from noria.pipeline.forgetting.keys import Keys

# Parts of the home that other files of this folder are about, and payloads, whose digests the registry has.
_OTHERS = ("landing", "models", "registry", "replays", "spans", "stream", "tfx")

# A file that is being written beside the old one.
_BESIDE = f"{files.STAGING}forget-"
STALE_SECONDS = 3_600


def in_tables(home: Path, folder: Path, keys: Keys, only_find: bool) -> list[Change]:
    """Rows in files below a folder: the home, or one of prediction logs."""
    found = []
    if not only_find:
        for path in _left_behind(home, folder):
            files.remove_tree(path)
    for path in _paths(home, folder):
        files.fetched(path)
        table = _read(path)
        mask = keys.rows(table) | _predictions(table, keys)
        if not mask.any():
            continue
        name = path.relative_to(home) if path.is_relative_to(home) else path
        found.append(Change("tables", name.as_posix(), int(mask.sum())))
        if not only_find:
            _write(path, pa.Table.from_batches([table]).filter(pa.array(~mask)))
    return found


def _paths(home: Path, folder: Path) -> Iterator[Path]:
    for path in _inside(home, folder):
        if not path.name.startswith(files.STAGING) and path.suffix in (".parquet", ".arrow", ".feather"):
            yield path


def _left_behind(home: Path, folder: Path) -> Iterator[Path]:
    """What killed processes have left: ours, and that of a server, unless it may still be writing."""
    for path in list(_inside(home, folder)):
        ours = path.name.startswith(_BESIDE)
        if ours or (
            path.name.startswith(files.STAGING) and time.time() - path.stat().st_mtime > STALE_SECONDS
        ):
            yield path


def _inside(home: Path, folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(home).parts if path.is_relative_to(home) else ()
        if not (inside and inside[0] in _OTHERS) and path.is_file():
            yield path


def _read(path: Path) -> pa.RecordBatch:
    table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.feather.read_table(path)
    batches = table.combine_chunks().to_batches()
    return (
        batches[0]
        if batches
        else pa.RecordBatch.from_arrays(
            [pa.array([], each.type) for each in table.schema], schema=table.schema
        )
    )


def _write(path: Path, table: pa.Table) -> None:
    beside = path.with_name(f"{_BESIDE}{path.name}")
    try:
        if path.suffix == ".parquet":
            pq.write_table(table, beside)
        else:
            pyarrow.feather.write_feather(table, str(beside))
        files.commit_file(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _predictions(batch: pa.RecordBatch, keys: Keys) -> np.ndarray:
    """Which rows of a prediction log hold a key, `[rows]` bool."""
    found = np.zeros(batch.num_rows, bool)
    names = batch.schema.names
    if not {"request_id", "example", "columns"} <= set(names):
        return found
    examples, columns = (batch.column(names.index(name)).to_pylist() for name in ("example", "columns"))
    for place, (example, asked) in enumerate(zip(examples, columns, strict=True)):
        if example is not None:
            found[place] = keys.in_record(of_example(example), example.decode("utf-8", "replace"))
        else:
            found[place] = keys.in_record(_first(json.loads(asked or "{}")), "")
    return found


def of_example(data: bytes) -> dict[str, Any]:
    """The first value of each feature of a serialized tf.Example; empty where it is none."""
    from noria.serving.protos import Example

    found: dict[str, Any] = {}
    try:
        example = Example.FromString(data)
    except Exception:  # protobuf's DecodeError differs between its implementations
        return found
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        found[name] = values[0] if values else None
    return found


def _first(record: dict[str, Any]) -> dict[str, Any]:
    def first(value: Any) -> Any:
        while isinstance(value, list):
            value = value[0] if value else None
        return value

    return {name: first(value) for name, value in record.items()}
