"""Builds a family's Keras model with the same names and initial weights every time, and checks it."""

from typing import Any

from noria.components.libraries import keras
from noria.components.trainer.families import Family
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings
from noria.core.errors import ConfigError


def resolved(settings: Settings, family: Family) -> Settings:
    """The settings with the family's values where the project leaves them open."""
    names = ("hidden_units", "dropout", "learning_rate", "min_steps")
    missing = {name: getattr(family, name) for name in names if getattr(settings, name) is None}
    return settings.model_copy(update=missing)


def reset_keras(settings: Settings) -> None:
    """Makes the next `build` give the same names and initial weights as the first one in a new process.

    Call it outside any strategy's scope: it replaces the default graph, which knows the scope.
    """
    # Keras numbers layers without a name over the whole process: the second run would get other names.
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes 0.2 s
    keras.utils.set_random_seed(settings.seed)


def build(features: Features, settings: Settings, family: Family) -> Any:
    """Builds the model.

    Raises:
      ConfigError: the family returns no Keras model, or one with other inputs or another output than
        `families.base` describes.
    """
    model = family.build(features, settings)
    where = f"config key trainer.family: {settings.family}"
    if not isinstance(model, keras.Model):
        raise ConfigError(f"build must return a keras.Model, got {type(model).__name__}", where=where)
    known = {"numeric", "categorical", *features.names}
    unknown = sorted(set(input_names(model)) - known)
    if unknown:
        raise ConfigError(
            f"the model has inputs {unknown}; there are {sorted(known)}",
            where=where,
            next_step="name its keras.Input layers after the features, or use 'numeric' and 'categorical'",
        )
    shape = tuple(model.output_shape) if isinstance(model.output_shape, tuple) else model.output_shape
    if (shape[0], shape[-1]) != (None, settings.outputs) or len(shape) not in (2, 3):
        raise ConfigError(
            f"the model must give logits of shape {(None, settings.outputs)}, or with members between, got {shape}",
            where=where,
            next_step=f"end it with keras.layers.Dense({settings.outputs}) without activation",
        )
    return model


def input_names(model: Any) -> list[str]:
    """Names of a functional model's inputs."""
    return [tensor.name for tensor in model.inputs]
