"""DataGate: may this span be trained on?"""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.data_gate import executor
from noria.components.types import DataVerdict


class DataGateSpec(component_spec.ComponentSpec):
    """What the span is compared with comes in as artifacts, what came before it from the home folder."""

    PARAMETERS = {
        "home": component_spec.ExecutionParameter(type=str),
        "gate": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "time": component_spec.ExecutionParameter(type=str),
        "every": component_spec.ExecutionParameter(type=str),
        "project": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"verdict": component_spec.ChannelParameter(type=DataVerdict)}


class DataGate(base_component.BaseComponent):
    """Writes `data_verdict.json`, sets the custom property `verdict`, and quarantines a broken span.

    Args:
      statistics: StatisticsGen's output.
      schema: the curated schema.
      champion: ChampionResolver's output; its training statistics are the second reference.
      home: the project's home folder, which holds the span store and the kept statistics.
      gate: JSON object of `noria.components.data_gate.settings.DataGateSettings`; empty for the defaults.
      label: name of the label's column.
      task: `binary`, `multiclass` or `regression`.
      time: name of the event-time column; empty to take the one that the spans were cut by.
      every: how the stream is cut (a period, or rows:N); empty to take what the spans were cut by.
      project: folder to import the user's own measures from, besides the Python path.
      run_id: names the run; the verdict depends on the home folder, so a cached one must not be taken.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: channel.BaseChannel,
        schema: channel.BaseChannel,
        champion: channel.BaseChannel,
        home: str,
        label: str,
        task: str = "binary",
        time: str = "",
        every: str = "",
        gate: str = "",
        project: str = "",
        run_id: str = "",
    ):
        super().__init__(
            DataGateSpec(
                statistics=statistics,
                schema=schema,
                champion=champion,
                home=home,
                gate=gate,
                label=label,
                task=task,
                time=time,
                every=every,
                project=project,
                run_id=run_id,
                verdict=channel_utils.as_channel([DataVerdict()]),
            )
        )
