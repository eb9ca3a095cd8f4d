"""StatisticsGen: TFDV's statistics of the newest span, of the training window, and of the span before."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.statistics_gen import executor


class StatisticsGenSpec(component_spec.ComponentSpec):
    """The home folder caches a span's statistics, so that they are computed once."""

    PARAMETERS = {
        "home": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "time": component_spec.ExecutionParameter(type=str),
        "execution": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics)}


class StatisticsGen(base_beam_component.BaseBeamComponent):
    """Writes `Split-span`, `Split-train` and, if there is one, `Split-previous`, each a FeatureStats.pb.

    Args:
      examples: SpanExampleGen's output.
      schema: the curated schema; it names the integers that are categories.
      home: the project's home folder, which has the statistics of each span.
      label: name of the label column.
      task: `binary`, `multiclass` or `regression`.
      time: name of the event-time column; empty if spans are a number of rows.
      execution: `auto`, `in-process` or `beam`.
    """

    SPEC_CLASS = StatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        schema: channel.BaseChannel,
        home: str,
        label: str,
        task: str = "binary",
        time: str = "",
        execution: str = "auto",
    ):
        super().__init__(
            StatisticsGenSpec(
                examples=examples,
                schema=schema,
                home=home,
                label=label,
                task=task,
                time=time,
                execution=execution,
                statistics=channel_utils.as_channel([standard_artifacts.ExampleStatistics()]),
            )
        )
