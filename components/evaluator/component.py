"""Evaluator: judges the challenger against the champion on the newest span's held-out rows."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.evaluator import executor


class EvaluatorSpec(component_spec.ComponentSpec):
    """The outputs are those of TFX's Evaluator, so that its Pusher understands the blessing."""

    PARAMETERS = {
        "gate": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "project": component_spec.ExecutionParameter(type=str),
        "execution": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Computes TFMA's metrics of both models and blesses the challenger, or says why it does not.

    Args:
      examples: raw examples; the split `eval` counts.
      model: the challenger.
      champion: ChampionResolver's output; an artifact that says `absent` makes this a first run.
      schema: of the raw examples.
      gate: JSON object of `noria.components.evaluator.settings.EvaluatorSettings`; empty for the defaults.
      label: name of the label's feature.
      task: `binary`, `multiclass` or `regression`.
      project: folder to import the user's own metrics from, besides the Python path.
      execution: `auto`, `in-process` or `beam`.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        champion: channel.BaseChannel,
        schema: channel.BaseChannel,
        gate: str,
        label: str,
        task: str,
        project: str = "",
        execution: str = "auto",
    ):
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                champion=champion,
                schema=schema,
                gate=gate,
                label=label,
                task=task,
                project=project,
                execution=execution,
                evaluation=channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
                blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
            )
        )
