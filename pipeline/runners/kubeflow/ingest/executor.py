"""Ingests, finishes what a killed run left, and looks for a span that waits."""

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.core.errors import ConfigError
from noria.core.locks import hold
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import container_project
from noria.pipeline.runs import lineage, run
from noria.stores.recovery import recover
from noria.stores.registry import Registry

# Another task of an earlier run may be at the store; a recurring run has time.
LOCK_SECONDS = 600


class Executor(base_executor.BaseExecutor):
    """What `noria run` does before its first run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sets the custom properties `state` (waiting or nothing) and `span` of `output_dict["news"][0]`.

        Raises:
          ConfigError: the image holds other sources than the pipeline was compiled from.
          DataError: there is no data, or it cannot be read.
          LockedError: another run holds the project for longer than LOCK_SECONDS.
        """
        config = container_project.from_json(exec_properties["config"])
        artifact = output_dict["news"][0]
        with journal.stage("Ingest", source=str(config.data.source)) as stage:
            _same_sources(config, exec_properties.get("source_digest") or "")
            with hold(config.home_path, wait=LOCK_SECONDS, command="Kubeflow's Ingest"):
                report = run.take_in(config, lambda record: stage.note(**record))
                for line in recover(Registry(config.home_path), config.model_root):
                    stage.note(recovered=line)
            waiting = run.waiting(config, again=bool(exec_properties.get("again")))
            facts = {"state": "waiting" if waiting else "nothing", "span": waiting[0] if waiting else -1}
            stage.note(**report, **facts, waiting=len(waiting))  # one a run: a number that grows falls behind
        artifact.set_string_custom_property("state", facts["state"])
        artifact.set_int_custom_property("span", facts["span"])
        folder = Path(artifact.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "news.json").write_text(json.dumps({**facts, "waiting": waiting}), encoding="utf-8")


def _same_sources(config: Config, compiled: str) -> None:
    found = lineage.source_digest(config) if compiled else ""
    if found != compiled:
        raise ConfigError(
            "the image holds other code, or another schema, than the pipeline was compiled from",
            where=f"project folder {config.folder}: digest {found[:12]}, compiled {compiled[:12]}",
            next_step="build the image anew from the sources that `noria compile` reads, or compile from the image's",
        )
