"""`noria predict`: what a running server predicts for the rows of a file."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import Json
from noria.pipeline.cli.server_credentials import CaFile, CertFile, KeyFile, TokenFile, credentials

DEFAULT, COLUMNS, EXAMPLES = "serving_default", "predict", "examples"
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def predict(
    rows: Annotated[Path, typer.Argument(help="A CSV file with a header; - for standard input.")],
    url: Annotated[
        str, typer.Option(help="http:// or https://host:8501, grpc:// or grpcs://host:8500.")
    ] = "http://localhost:8501",
    model: Annotated[str, typer.Option(help="The model's name.")] = "default",
    version: Annotated[int | None, typer.Option(help="Its version. Default: the newest.")] = None,
    signature: Annotated[
        str, typer.Option(help="The signature. Default: predict if the model has it, or serving_default.")
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 1000,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    token_file: TokenFile = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for each request.")] = 30.0,
    as_json: Json = False,
) -> int:
    """Ask a server for the rows of a CSV file; writes a CSV with the outputs to standard output."""
    from noria.core.errors import ServingError
    from noria.serving import client

    asked = client.connect(url, model, version, timeout, credentials(ca, cert, key, token_file))
    known = asked.signatures()
    name = signature or (COLUMNS if COLUMNS in known else DEFAULT)
    if name not in known:
        raise ServingError(
            f"model {model} has no signature {name}; it has {', '.join(sorted(known))}",
            where=url,
            next_step="choose one of them by --signature",
        )
    types = known[name]
    writer: Any = None
    found: dict[str, list[Any]] = {}
    for columns in _batches(rows, batch):
        if list(types) == [EXAMPLES]:
            given = {EXAMPLES: client.examples({key: _guess(each) for key, each in columns.items()})}
        else:
            given = {key: _typed(key, columns, dtype, rows, name == COLUMNS) for key, dtype in types.items()}
        outputs = asked.predict(given, name)
        if as_json:
            for output, values in outputs.items():
                found.setdefault(output, []).extend(map(_text, values))
            continue
        if writer is None:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(outputs)
        writer.writerows(zip(*(map(_text, each) for each in outputs.values()), strict=True))
    asked.close()
    if as_json:
        console.emit(found)
    return console.OK


def _batches(path: Path, size: int) -> Iterator[dict[str, list[str]]]:
    """Columns of at most `size` rows each."""
    from noria.core import files
    from noria.core.errors import DataError

    try:
        with open(
            0 if str(path) == "-" else path, encoding="utf-8", newline="", closefd=str(path) != "-"
        ) as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if header is None:
                raise DataError("the file is empty", where=path, next_step="give it a header and rows")
            rows: list[list[str]] = []
            for row in reader:
                if len(row) != len(header):
                    raise DataError(
                        f"a row has {len(row)} cells, the header has {len(header)}",
                        where=f"{path}, line {reader.line_num}",
                    )
                rows.append(row)
                if len(rows) == size:
                    yield dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
                    rows = []
            if rows:
                yield dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    except OSError as error:
        raise files.refusal(error, "the rows cannot be read", path, DataError) from error


def _guess(cells: list[str]) -> list[Any]:
    """A column for tf.Examples: whole numbers if all are, else numbers, else text; an empty cell is missing."""
    for kind in (int, float):
        try:
            return [kind(each) if each else None for each in cells]
        except ValueError:
            continue
    return [each or None for each in cells]


def _typed(name: str, columns: dict[str, list[str]], dtype: str, path: Path, gaps: bool) -> list[Any]:
    """A column for an input of a known type; with `gaps` an empty cell is a missing value."""
    from noria.core.errors import DataError

    if name not in columns:
        raise DataError(f"the model needs the column {name}; the file has {', '.join(columns)}", where=path)
    if dtype == "string":
        return [each.encode() for each in columns[name]]
    kind = int if dtype in _INTEGERS else _boolean if dtype == "bool" else float
    if gaps and dtype == "int64" and (seconds := _seconds(columns[name])):
        return seconds
    try:
        return [None if gaps and not each else kind(each) for each in columns[name]]
    except ValueError as error:
        raise DataError(
            f"column {name} must hold values of type {dtype}: {error}",
            where=path,
            next_step="correct the file; a time is whole seconds since 1970, or ISO 8601",
        ) from error


def _seconds(cells: list[str]) -> list[int | None] | None:
    """A column of times in ISO 8601 as the model has them, in seconds since 1970; None if it is another column."""
    if not any("-" in each[1:] for each in cells):
        return None
    import pyarrow as pa

    from noria.ingestion import times

    seconds, bad = times.parse(pa.array([each or None for each in cells], pa.string()))
    return None if bad.any() else seconds.to_pylist()


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise ValueError(f"neither true nor false: {text!r}")


def _text(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
