"""One run of the pipeline on TFX's BeamDagRunner, in this process."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_beam_component
from tfx.orchestration import pipeline
from tfx.orchestration.beam import beam_dag_runner

from noria.components import batch_cache, journal
from noria.components.internals import tfx
from noria.core.errors import NoriaError
from noria.pipeline import dag
from noria.pipeline.config import Config
from noria.pipeline.runners import metadata
from noria.pipeline.runs.ingest import Listener


def run(
    config: Config,
    *,
    span: int,
    mode: str,
    run_id: str,
    code_digest: str,
    run_folder: Path,
    listen: Listener | None = None,
) -> list[dict[str, Any]]:
    """Runs the pipeline on one span.

    Args:
      config: the project's settings.
      span: id of the span.
      mode: `auto`, `cold` or `twin`.
      run_id: names the run.
      code_digest: digest of the code that makes the model.
      run_folder: gets `tfx.log` and `journal.jsonl`.
      listen: called with each journal record as it is written.

    Returns:
      The journal's records.

    Raises:
      NoriaError: a component's error, without Beam's wrapping.
      OSError: a component met a full disk or a missing permission; also without the wrapping.
      KeyboardInterrupt: the user interrupted the run.
    """
    # TFX keeps every pipeline that its process has defined, unless each has a separate registry.
    with tfx.new_registry():
        nodes = _pipeline(config, span=span, mode=mode, run_id=run_id, code_digest=code_digest)
    run_folder.mkdir(parents=True, exist_ok=True)
    with (
        _logging_to(run_folder / "tfx.log", metadata.secrets(config)),
        _journal(run_folder / "journal.jsonl", listen) as book,
        tfx.indexed_executions(),
        batch_cache.examples.enabled(),
    ):
        try:
            beam_dag_runner.BeamDagRunner().run(nodes)
        except Exception as error:
            for cause in book.errors:
                if isinstance(cause, (NoriaError, OSError, KeyboardInterrupt)):
                    raise cause from None
            # Between two stages no journal records it, and Beam turns it into a RuntimeError.
            if "KeyboardInterrupt" in str(error):
                raise KeyboardInterrupt from None
            raise
    return book.records


def _pipeline(config: Config, *, span: int, mode: str, run_id: str, code_digest: str) -> pipeline.Pipeline:
    nodes = dag.components(config, span=str(span), mode=mode, run_id=run_id, code_digest=code_digest)
    for node in nodes:
        # Not through Pipeline, which would prepend its arguments to the component's instead of replacing them.
        if isinstance(node, base_beam_component.BaseBeamComponent):
            node.with_beam_pipeline_args(config.beam.per_component.get(node.id, config.beam.args))
    return pipeline.Pipeline(
        pipeline_name=config.name,
        # One root for each run: its artifacts are found, and later deleted, as one folder.
        pipeline_root=str(config.home_path / "tfx" / run_id),
        components=nodes,
        # A cache hit would be stale: the span store and the registry change under the same inputs.
        enable_cache=False,
        metadata_connection_config=metadata.connection(config),
    )


class _Book(logging.Handler):
    """Keeps the journal in memory and on disk, and passes it on."""

    def __init__(self, path: Path, listen: Listener | None):
        super().__init__()
        self.records: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._listen = listen

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "journal"):
            return  # a plain line, which is in tfx.log
        entry = {"time": record.created, **record.journal}
        self.records.append(entry)
        if record.error is not None:  # type: ignore[attr-defined]
            self.errors.append(record.error)  # type: ignore[attr-defined]
        self._file.write(json.dumps(entry, default=str) + "\n")
        if self._listen is not None:
            self._listen(entry)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def _journal(path: Path, listen: Listener | None) -> Iterator[_Book]:
    book = _Book(path, listen)
    journal.logger.addHandler(book)
    try:
        yield book
    finally:
        journal.logger.removeHandler(book)
        book.close()


@contextlib.contextmanager
def _logging_to(path: Path, secrets: list[str]) -> Iterator[None]:
    """Sends Python's log, TFX's screenfuls among it, to a file for the time of a run; secrets become `***`."""
    root = logging.getLogger()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_Formatter(secrets))
    before, level = root.handlers[:], root.level
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)
        handler.close()


class _Formatter(logging.Formatter):
    """TFX logs the whole pipeline, the metadata server's password with it."""

    def __init__(self, secrets: list[str]):
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
