"""Trainer: trains the challenger, going on from the champion where there is one."""

import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.trainer import executor

DEFAULT_RUN_FN = "noria.components.trainer.run_fn.run_fn"


class TrainerSpec(component_spec.ComponentSpec):
    """The raw examples say whether the run is warm, and let two transform graphs be compared."""

    PARAMETERS = {
        "run_fn": component_spec.ExecutionParameter(type=str),
        "settings": component_spec.ExecutionParameter(type=str),
        "project": component_spec.ExecutionParameter(type=str),
        "home": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "raw_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Trainer(base_component.BaseComponent):
    """Runs a run_fn, Noria's own or the user's.

    Args:
      examples: transformed examples with the splits `train` and `eval`.
      raw_examples: the same rows before Transform.
      transform_graph: Transform's graph.
      schema: schema of the raw examples.
      champion: ChampionResolver's output.
      settings: noria.components.trainer.settings.Settings as a dict or as JSON.
      run_fn: import path of a function that takes TFX's FnArgs.
      project: the project's folder, put on `sys.path` while the user's functions are imported.
      home: the project's home folder.
      code_digest: digest of the code behind `run_fn` and `build_model`: changed code is a changed input.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        raw_examples: channel.BaseChannel,
        transform_graph: channel.BaseChannel,
        schema: channel.BaseChannel,
        champion: channel.BaseChannel | None = None,
        settings: dict[str, Any] | str = "{}",
        run_fn: str = DEFAULT_RUN_FN,
        project: str = "",
        home: str = "",
        code_digest: str = "",
    ):
        super().__init__(
            TrainerSpec(
                run_fn=run_fn,
                settings=settings if isinstance(settings, str) else json.dumps(settings, sort_keys=True),
                project=project,
                home=home,
                code_digest=code_digest,
                examples=examples,
                raw_examples=raw_examples,
                transform_graph=transform_graph,
                schema=schema,
                champion=champion,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                model_run=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            )
        )
