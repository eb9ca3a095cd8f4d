"""Pusher: TFX's, with infra validation, a registry and an atomic publish."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.pusher import executor
from noria.components.types import DataVerdict


class PusherSpec(component_spec.ComponentSpec):
    """All that a version needs to be served, evaluated again, and continued by a warm run."""

    PARAMETERS = {
        "home": component_spec.ExecutionParameter(type=str),
        "model_root": component_spec.ExecutionParameter(type=str),
        "signing_key": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "keep": component_spec.ExecutionParameter(type=int),
        "rollout": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "verdict": component_spec.ChannelParameter(type=DataVerdict),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(base_component.BaseComponent):
    """Registers every challenger with its verdict; publishes those that are blessed.

    Args:
      home: the project's home folder, which holds the registry.
      model_root: the TF Serving model directory.
      run_id: id of the run; one run never makes two versions.
      code_digest: digest of the code that made the model, for the lineage.
      task: `binary`, `multiclass` or `regression`; what infra validation expects of the predictions.
      keep: how many versions retention leaves.
      signing_key: PEM file of the key that signs what is published; empty for none.
      rollout: 1 if a blessed version is the candidate of a rollout first, 0 if it is published at once.
      **inputs: the channels of `PusherSpec.INPUTS`, by name.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        home: str,
        model_root: str,
        run_id: str,
        code_digest: str,
        task: str,
        keep: int,
        signing_key: str = "",
        rollout: int = 0,
        **inputs: channel.BaseChannel,
    ):
        super().__init__(
            PusherSpec(
                home=home,
                model_root=model_root,
                run_id=run_id,
                code_digest=code_digest,
                task=task,
                keep=keep,
                signing_key=signing_key,
                rollout=rollout,
                pushed_model=channel_utils.as_channel([standard_artifacts.PushedModel()]),
                **inputs,
            )
        )
