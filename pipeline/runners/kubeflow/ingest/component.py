"""Ingest: new events become spans on the volume; says whether a span waits for a run."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec

from noria.components.types import Ingested
from noria.pipeline.runners.kubeflow.ingest import executor


class IngestSpec(component_spec.ComponentSpec):
    """No inputs: what crosses runs lives on the volume."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
        "source_digest": component_spec.ExecutionParameter(type=str),
        "again": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {}
    OUTPUTS = {"ingested": component_spec.ChannelParameter(type=Ingested)}


class Ingest(base_component.BaseComponent):
    """The first node of a Kubeflow run. It is not in `components/`, which may not import `ingestion`.

    Args:
      config: the settings, as `noria.pipeline.runners.kubeflow.container_project.to_json` writes them.
      run_id: names the run.
      source_digest: digest of the project's sources at compile time; '' is not compared.
      again: where no span waits, the newest one counts as waiting.
    """

    SPEC_CLASS = IngestSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, config: str, run_id: str, source_digest: str = "", again: bool = False):
        ingested = channel_utils.as_channel([Ingested()])
        super().__init__(
            IngestSpec(
                config=config, run_id=run_id, source_digest=source_digest, again=int(again), ingested=ingested
            )
        )
