"""The Parquet files of a span: written in row groups of bounded size, checked and read batch by batch."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noria.core import files
from noria.core.errors import SpanError
from noria.stores.manifest import Manifest, how_to_restore

# Rows of a row group: what a reader holds at a time.
GROUP_ROWS = 65_536
# Rows of a Parquet file: a damaged file loses no more than these.
FILE_ROWS = 16 * GROUP_ROWS

Batches = Iterable[pa.RecordBatch | pa.Table]


def write(
    folder: Path, batches: Batches, prefix: str = "data", empty: pa.Schema | None = None
) -> tuple[pa.Schema, list[dict[str, Any]]]:
    """Writes rows to `data-00000.parquet` and so on in a folder. Holds one row group at a time.

    Args:
      folder: where to.
      batches: the rows; all batches have the schema of the first.
      prefix: what the names of the files begin with.
      empty: the schema of a file without rows, which is written if there are none; None for an error.

    Returns:
      The schema, and of each file `name`, `rows`, `bytes`, `sha256`.

    Raises:
      SpanError: there are no rows, and `empty` is None.
    """
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    written: list[dict[str, Any]] = []
    try:
        for table in _row_groups(batches):
            if schema is None:
                schema = table.schema.remove_metadata()
            if writer is None or written[-1]["rows"] >= FILE_ROWS:
                if writer is not None:
                    writer.close()
                written.append({"name": f"{prefix}-{len(written):05d}.parquet", "rows": 0})
                writer = pq.ParquetWriter(folder / written[-1]["name"], schema, compression="zstd")
            writer.write_table(table.cast(schema), row_group_size=GROUP_ROWS)
            written[-1]["rows"] += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    if schema is None and empty is not None:
        schema = empty.remove_metadata()
        written.append({"name": f"{prefix}-00000.parquet", "rows": 0})
        pq.write_table(schema.empty_table(), folder / written[0]["name"])
    if schema is None:
        raise SpanError("a span must have rows, got none", next_step="commit no span for an empty period")
    for file in written:
        path = folder / file["name"]
        file.update(bytes=path.stat().st_size, sha256=files.sha256(path))
    return schema, written


def read(
    manifest: Manifest, columns: Sequence[str] | None = None, verify: bool = False
) -> Iterator[pa.RecordBatch]:
    """Reads the rows of a version in batches of at most 65,536.

    Args:
      manifest: of the version.
      columns: the columns to read; all by default.
      verify: compare each file with its sha256 before it is read.

    Raises:
      SpanError: a file is missing or damaged; names it.
    """
    for file in manifest.files:
        with _errors(manifest, file):
            _check(manifest, file, digest=verify)
            with pq.ParquetFile(manifest.folder / file["name"]) as parquet:
                wanted = None if columns is None else list(columns)
                if not file["rows"]:  # readers find the columns in the first batch
                    kept = parquet.schema_arrow
                    fields = kept if wanted is None else [kept.field(name) for name in wanted]
                    arrays = [pa.array([], field.type) for field in fields]
                    yield pa.RecordBatch.from_arrays(arrays, [field.name for field in fields])
                    continue
                yield from parquet.iter_batches(batch_size=GROUP_ROWS, columns=wanted)


def verify(manifest: Manifest) -> None:
    """Compares the files of a version with their sha256.

    Raises:
      SpanError: a file is missing or damaged; names it.
    """
    for file in manifest.files:
        with _errors(manifest, file):
            _check(manifest, file, digest=True)


@contextlib.contextmanager
def _errors(manifest: Manifest, file: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SpanError(
            f"a file of span {manifest.span} cannot be read: {error}",
            where=manifest.folder / file["name"],
            next_step=how_to_restore(manifest.folder.parent),
        ) from error


def _check(manifest: Manifest, file: dict[str, Any], digest: bool) -> None:
    path = files.fetched(manifest.folder / file["name"])
    expected, found = f"{file['bytes']:,} bytes", f"{path.stat().st_size:,} bytes"
    if expected == found and digest:
        expected, found = f"sha256 {file['sha256'][:12]}…", f"sha256 {files.sha256(path)[:12]}…"
    if expected != found:
        raise SpanError(
            f"a file of span {manifest.span} is damaged: expected {expected}, got {found}",
            where=path,
            next_step=how_to_restore(manifest.folder.parent),
        )


def _row_groups(batches: Batches) -> Iterator[pa.Table]:
    """Joins small batches and splits large ones into row groups."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        while table.num_rows:
            part = table.slice(0, GROUP_ROWS - rows)
            table = table.slice(part.num_rows)
            waiting.append(part)
            rows += part.num_rows
            if rows == GROUP_ROWS:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
