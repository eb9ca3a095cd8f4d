"""Ingests, finishes what a killed run left, and names a span that waits for a run."""

import json
from pathlib import Path
from typing import Any

import tenacity
from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.core.errors import ConfigError
from noria.core.locks import hold
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import container_project, tasklog
from noria.pipeline.runs import lineage
from noria.pipeline.runs.ingest import Listener, ingest
from noria.pipeline.runs.recorder import RunRecorder
from noria.pipeline.runs.run import finish_deletions, twin_span, waiting
from noria.stores.recovery import recover
from noria.stores.registry import Registry

# A task of an earlier run may hold the lock; a recurring run has time.
LOCK_SECONDS = 600
# Python's (and botocore's), asyncio's in Python 3.10, aiohttp's, botocore's and urllib3's classes for it.
_LOST = frozenset(
    {"ConnectionError", "TimeoutError", "ClientConnectionError", "HTTPClientError", "ProtocolError"}
)


class Executor(base_executor.BaseExecutor):
    """The steps of `noria run` before its first run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sets the custom properties `state` (waiting or nothing) and `span` of `output_dict["ingested"][0]`.

        Raises:
          ConfigError: the image holds other sources than the pipeline was compiled from.
          DataError: there is no data, or it cannot be read.
          LockedError: another run uses the project for longer than LOCK_SECONDS.
        """
        config = container_project.from_json(exec_properties["config"])
        artifact = output_dict["ingested"][0]
        with journal.stage("Ingest", source=config.data.source_name) as stage:
            _same_sources(config, exec_properties.get("source_digest") or "")
            registry, run_id = Registry(config.home_path), exec_properties.get("run_id") or ""
            with hold(config.home_path, wait=LOCK_SECONDS, command="Kubeflow's Ingest"):

                def tell(record: dict[str, Any]) -> None:
                    stage.note(**_fields(record))

                finish_deletions(config, tell)
                report = _read(config, tell)
                for line in recover(registry, config.model_root, config.signing.key):
                    stage.note(recovered=line)
            spans = waiting(config, again=bool(exec_properties.get("again"))) or twin_span(config)
            if any(run.run_id == run_id for run in registry.runs()):
                # Argo has started the whole run again under the same id, after a lost pod. It has had its span:
                # the next one is for the next run.
                stage.note(repeated=run_id)
                _close(config, run_id)
                spans = []
            fields = {"state": "waiting" if spans else "nothing", "span": spans[0] if spans else -1}
            # A run takes one span; where this number grows, the schedule is too slow.
            stage.note(**report, **fields, waiting=len(spans))
        artifact.set_string_custom_property("state", fields["state"])
        artifact.set_int_custom_property("span", fields["span"])
        folder = Path(artifact.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ingested.json").write_text(json.dumps({**fields, "waiting": spans}), encoding="utf-8")


def connection_lost(error: BaseException | None) -> bool:
    """Whether a lost connection is the cause. A source raises another error, whose context is the lost connection.

    By names, as the libraries that read have classes of their own: botocore's `ConnectionError` is not Python's.
    """
    while error is not None:
        if {each.__name__ for each in type(error).__mro__} & _LOST:
            return True
        error = error.__cause__ or error.__context__
    return False


@tenacity.retry(
    retry=tenacity.retry_if_exception(connection_lost),
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_exponential_jitter(1, 30),
    reraise=True,
)
def _read(config: Config, tell: Listener) -> dict[str, Any]:
    """Ingests. A source may read from an object store; what has been read so far is kept between attempts."""
    return ingest(config, tell)


def _close(config: Config, run_id: str) -> None:
    """Writes the page of a run that was recorded and then lost its last pod."""
    if not (config.home_path / "runs" / run_id / "run.json").is_file():
        RunRecorder(config.home_path, config.name, run_id).close(tasklog.read(config.home_path, run_id), {})


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("stage", "event")}


def _same_sources(config: Config, compiled: str) -> None:
    found = lineage.source_digest(config) if compiled else ""
    if found != compiled:
        raise ConfigError(
            "the code or the schema in the image differs from what the pipeline was compiled from",
            where=f"project folder {config.folder}: digest {found[:12]}, compiled {compiled[:12]}",
            next_step="rebuild the image from the sources that `noria compile` reads, or compile from the image",
        )
