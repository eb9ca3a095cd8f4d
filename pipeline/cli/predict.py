"""`noria predict`: what a running server predicts for the rows of a file."""

import contextlib
import csv
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, Json
from noria.pipeline.cli.server_credentials import CaFile, CertFile, KeyFile, TokenFile, credentials

DEFAULT, COLUMNS, EXAMPLES = "serving_default", "predict", "examples"


def predict(
    rows: Annotated[
        Path, typer.Argument(help="A CSV, JSON lines or Parquet file; - for a CSV from standard input.")
    ],
    url: Annotated[
        str, typer.Option(help="http:// or https://host:8501, grpc:// or grpcs://host:8500.")
    ] = "http://localhost:8501",
    model: Annotated[
        str, typer.Option(help="The model's name. Default: the project's name, or `default`.")
    ] = "",
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
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The noria.yaml that says how the rows are written, or its folder. Default: the one here, if the "
            "model is its.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Ask a server for the rows of a file; writes a CSV with the outputs to standard output.

    The rows are read as the project reads its data. Without a project, times must be in ISO 8601 or in seconds.
    """
    from noria.core.errors import ServingError
    from noria.ingestion import model_columns
    from noria.ingestion.calendar import Calendar
    from noria.serving import client
    from noria.stores.spans import SpanStore

    project = _project(config, model)
    model = model or (project.name if project is not None else "default")
    asked = client.connect(url, model, version, timeout, credentials(ca, cert, key, token_file))
    known = asked.signatures()
    name = signature or (COLUMNS if COLUMNS in known else DEFAULT)
    if name not in known:
        raise ServingError(
            f"model {model} has no signature {name}; it has {', '.join(sorted(known))}",
            where=url,
            next_step="choose one of them by --signature",
        )
    inputs = known[name] if list(known[name]) != [EXAMPLES] else None
    settings = project.event_settings() if project is not None else None
    calendar = Calendar.load(SpanStore(project.home_path)) if project is not None else None
    writer: Any = None
    found: dict[str, list[Any]] = {}
    with _source(rows) as source:
        for columns in model_columns.read(source, batch, inputs, settings, calendar):
            given = columns if inputs is not None else {EXAMPLES: client.examples(columns)}
            outputs = asked.predict(given, name)
            if as_json:
                for output, values in outputs.items():
                    found.setdefault(output, []).extend(map(_text, values))
                continue
            columns = _flat(outputs, calendar.classes if calendar is not None else ())
            if writer is None:
                writer = csv.writer(sys.stdout, lineterminator="\n")
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    asked.close()
    if as_json:
        console.emit(found)
    return console.OK


def _project(config: Path | None, model: str) -> Any:
    """The project that says how the rows are written: the one that is named, or the one here, if the model is its."""
    from noria.pipeline.config import load

    if config is not None:
        return load(config)
    found = load(PROJECT) if PROJECT.exists() else None
    return found if found is not None and model in ("", found.name) else None


@contextlib.contextmanager
def _source(rows: Path) -> Iterator[Any]:
    """What ingestion opens; standard input is copied first, because files are read twice."""
    from noria.ingestion.sources.base import FoundFile

    if str(rows) != "-":
        yield rows
        return
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield FoundFile(Path(file.name), "standard input")


def _flat(outputs: dict[str, list[Any]], classes: Sequence[str]) -> dict[str, list[Any]]:
    """A column for each number: those of an output with several are named by its classes, or numbered from 0."""
    found = {}
    for name, rows in outputs.items():
        width = len(rows[0]) if isinstance(rows[0], list) else 1
        labels = classes if len(classes) == width else range(width)
        if width == 1:
            found[name] = list(map(_text, rows))
        else:
            found |= {
                f"{name}_{label}": [_text(row[place]) for row in rows] for place, label in enumerate(labels)
            }
    return found


def _text(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
