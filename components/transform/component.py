"""The Transform component: raw examples in, transformed examples and the transform graph out."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from noria.components.transform import executor
from noria.components.types import DataVerdict


class TransformSpec(component_spec.ComponentSpec):
    """Inputs and outputs.

    transform_graph has the custom properties `transform` ('reused' or 'refreshed'), `reason`, and
    `inputs` (JSON: the inputs of the decision).
    """

    PARAMETERS = {
        "preprocessing": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "home": component_spec.ExecutionParameter(type=str, optional=True),
        "project": component_spec.ExecutionParameter(type=str, optional=True),
        "execution": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "verdict": component_spec.ChannelParameter(type=DataVerdict, optional=True),
    }
    OUTPUTS = {
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "transformed_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class Transform(base_beam_component.BaseBeamComponent):
    """Applies a TFT preprocessing_fn: the champion's transform graph if it is still valid, otherwise a new one.

    Args:
      examples: raw tf.Examples with splits train and eval.
      schema: of the raw examples.
      champion: the champion, or an artifact with the state 'absent'; None for none.
      verdict: DataGate's verdict; None counts as 'ok'.
      preprocessing: import path of the function, 'module.function'.
      label: name of the label column, which the function passes through under the same name.
      home: the project's home folder, which has the analyzer cache; '' for no cache.
      project: folder to import the function from, before the Python path.
      execution: 'auto', 'in-process' or 'beam'.
    """

    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        preprocessing: str,
        label: str,
        champion: types.BaseChannel | None = None,
        verdict: types.BaseChannel | None = None,
        home: str = "",
        project: str = "",
        execution: str = "auto",
    ):
        super().__init__(
            TransformSpec(
                examples=examples,
                schema=schema,
                champion=champion,
                verdict=verdict,
                preprocessing=preprocessing,
                label=label,
                home=home,
                project=project,
                execution=execution,
                transform_graph=types.Channel(type=standard_artifacts.TransformGraph),
                transformed_examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
