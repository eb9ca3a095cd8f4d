"""Trainer: trains the challenger, from the champion's state if there is a champion."""

import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.trainer import executor


class TrainerSpec(component_spec.ComponentSpec):
    """The raw examples say whether the run is warm, and let two transform graphs be compared."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "project": component_spec.ExecutionParameter(type=str),
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
    """Runs the run_fn that the settings name, Noria's or the user's.

    Args:
      examples: transformed examples with the splits `train` and `eval`.
      raw_examples: the same rows before Transform.
      transform_graph: Transform's graph.
      schema: schema of the raw examples.
      champion: ChampionResolver's output.
      settings: noria.components.trainer.settings.Settings as a dict or as JSON.
      project: the project's folder, put on `sys.path` while the user's code is imported.
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
        project: str = "",
    ):
        super().__init__(
            TrainerSpec(
                settings=settings if isinstance(settings, str) else json.dumps(settings, sort_keys=True),
                project=project,
                examples=examples,
                raw_examples=raw_examples,
                transform_graph=transform_graph,
                schema=schema,
                champion=champion,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                model_run=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            )
        )
