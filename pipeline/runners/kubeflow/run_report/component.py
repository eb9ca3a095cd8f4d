"""RunReport: ends a run on Kubeflow as `noria run` ends one here, with `run.json` and the HTML report."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.types import DataVerdict
from noria.components.types import RunReport as RunReportType
from noria.pipeline.runners.kubeflow.run_report import executor


class RunReportSpec(component_spec.ComponentSpec):
    """The artifacts that the page shows; a broken span has no model."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "verdict": component_spec.ChannelParameter(type=DataVerdict),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=RunReportType)}


class RunReport(base_component.BaseComponent):
    """The last node of a Kubeflow run, so that `noria status` and `noria report` work on the volume.

    Args:
      config: the settings, as `noria.pipeline.runners.kubeflow.container_project.to_json` writes them.
      run_id: names the run.
      champion, statistics, verdict: of this run.
      model, evaluation: of this run; None where the span is broken.
    """

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        config: str,
        run_id: str,
        champion: channel.BaseChannel,
        statistics: channel.BaseChannel,
        verdict: channel.BaseChannel,
        model: channel.BaseChannel | None = None,
        evaluation: channel.BaseChannel | None = None,
    ):
        super().__init__(
            RunReportSpec(
                config=config,
                run_id=run_id,
                champion=champion,
                statistics=statistics,
                verdict=verdict,
                model=model,
                evaluation=evaluation,
                report=channel_utils.as_channel([RunReportType()]),
            )
        )
