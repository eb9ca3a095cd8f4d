"""ChampionResolver: copies the champion from the registry to an ordinary Model artifact."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from noria.components.champion import executor


class ChampionResolverSpec(component_spec.ComponentSpec):
    """No inputs: the state between runs is in the registry, not in ML Metadata."""

    PARAMETERS = {
        "home": component_spec.ExecutionParameter(type=str),
        "model_root": component_spec.ExecutionParameter(type=str),
        "signing_key": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"champion": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ChampionResolver(base_component.BaseComponent):
    """Finds the champion in the same way with Beam and on Kubeflow, where TFX's resolvers do not compile.

    Args:
      home: the project's home folder, which holds the registry.
      model_root: the TF Serving model directory; an interrupted publication is finished first.
      signing_key: PEM file of the key that signs what is published; empty for none.
    """

    SPEC_CLASS = ChampionResolverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, home: str, model_root: str, signing_key: str = ""):
        champion = channel_utils.as_channel([standard_artifacts.Model()])
        super().__init__(
            ChampionResolverSpec(home=home, model_root=model_root, signing_key=signing_key, champion=champion)
        )
