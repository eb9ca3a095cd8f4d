"""What the Trainer can be told, with its defaults; a wrong value is refused when it is read."""

import dataclasses
from typing import Any

from noria.core.errors import ConfigError, did_you_mean

TASKS = ("binary", "multiclass", "regression")
FAMILIES = ("wide_deep", "dcn")
STRATEGIES = ("none", "mirrored", "multi_worker")
METRICS = ("loss", "auc")


@dataclasses.dataclass(frozen=True)
class EarlyStop:
    """Stop when the eval split has not improved for `patience` checks; the best state is kept.

    Attributes:
      metric: `loss` (log loss, or squared error in units of the label's deviation) or `auc` (binary only).
      every: steps between two checks; None for twice per pass over the window.
      patience: checks without improvement before it stops.
      min_delta: the least change that counts as an improvement.
    """

    metric: str = "loss"
    every: int | None = None
    patience: int = 4
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        _one_of("early_stop.metric", self.metric, METRICS)
        _at_least("early_stop.patience", self.patience, 1)
        if self.every is not None:
            _at_least("early_stop.every", self.every, 1)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The Trainer's settings.

    The defaults of width, dropout, rate and epochs are those that judged the week after the window best, over four
    windows of four weeks of flights: AUC 0.716, against 0.691 with (128, 64) units, no dropout and 5 epochs.

    Attributes:
      label: name of the label among the transformed features.
      task: binary, multiclass or regression.
      classes: number of classes (multiclass only); the label holds 0 .. classes-1.
      family: wide_deep or dcn; not looked at when build_model is given.
      build_model: import path of the user's `build_model(features, settings) -> keras.Model`.
      hidden_units: widths of the dense layers.
      cross_layers: number of cross layers (dcn only).
      embedding_cap: widest embedding.
      dropout: share of hidden units dropped in training.
      epochs: passes over the window on a cold run; not looked at when `steps` is given.
      warm_epochs: passes over the window (new rows and replay) on a warm run.
      steps: number of steps of a run, warm or cold, instead of epochs; 0 on a warm run carries and publishes.
      max_steps: upper bound of the steps of one run.
      batch_size: rows per step, over all replicas together.
      learning_rate: of the first step.
      decay_steps: tau of the learning rate's decay, in steps (noria.components.trainer.adam.Adam.learning_rate).
      learning_rate_floor: share of `learning_rate` below which it never falls.
      clipnorm: longest gradient, per variable; None for no clipping.
      early_stop: see EarlyStop; None for never.
      strategy: none, mirrored or multi_worker (tf.distribute).
      devices: devices of the mirrored strategy, like ["CPU:0", "CPU:1"]; None for all of them.
      cache: keep the parsed rows of a window that does not fit in memory in a file on disk while it trains.
      memory_mb: windows whose parsed rows take up to this many MiB are trained on in memory.
      shuffle_rows: rows of the shuffle buffer for windows that are streamed.
      seed: of initial weights and batch order.
      reset: variables (patterns like "deep_*") to start anew on a warm run instead of carrying them.
      new_entries: what a new vocabulary entry starts from: `oov` (the row of unknown values, if there is one)
        or `mean` (of all the champion's rows).
      steps_per_call: steps of one tf.function call; progress is told between calls.
      tensorboard: write TensorBoard logs.
    """

    label: str = "label"
    task: str = "binary"
    classes: int = 2
    family: str = "wide_deep"
    build_model: str | None = None
    hidden_units: tuple[int, ...] = (256, 64)
    cross_layers: int = 2
    embedding_cap: int = 50
    dropout: float = 0.5
    epochs: float = 3
    warm_epochs: float = 2
    steps: int | None = None
    max_steps: int = 1_000_000
    batch_size: int = 256
    learning_rate: float = 1e-3
    decay_steps: float = 500.0
    learning_rate_floor: float = 0.2
    clipnorm: float | None = 1.0
    early_stop: EarlyStop | None = dataclasses.field(default_factory=EarlyStop)
    strategy: str = "none"
    devices: tuple[str, ...] | None = None
    cache: bool = True
    memory_mb: int = 128
    shuffle_rows: int = 100_000
    seed: int = 17
    reset: tuple[str, ...] = ()
    new_entries: str = "oov"
    steps_per_call: int = 100
    tensorboard: bool = True

    def __post_init__(self) -> None:
        _one_of("task", self.task, TASKS)
        _one_of("family", self.family, FAMILIES)
        _one_of("strategy", self.strategy, STRATEGIES)
        _one_of("new_entries", self.new_entries, ("oov", "mean"))
        for name in (
            "batch_size",
            "max_steps",
            "steps_per_call",
            "memory_mb",
            "shuffle_rows",
            "embedding_cap",
        ):
            _at_least(name, getattr(self, name), 1)
        for name in ("epochs", "warm_epochs", "learning_rate", "decay_steps"):
            if not getattr(self, name) > 0:
                raise _wrong(name, "more than 0", getattr(self, name))
        if self.steps is not None:
            _at_least("steps", self.steps, 0)
        if self.clipnorm is not None and not self.clipnorm > 0:
            raise _wrong("clipnorm", "more than 0, or null", self.clipnorm)
        if not 0 < self.learning_rate_floor <= 1:
            raise _wrong("learning_rate_floor", "more than 0 and at most 1", self.learning_rate_floor)
        if not 0 <= self.dropout < 1:
            raise _wrong("dropout", "at least 0 and less than 1", self.dropout)
        if self.task == "multiclass":
            _at_least("classes", self.classes, 2)
        if self.early_stop and self.early_stop.metric == "auc" and self.task != "binary":
            raise _wrong("early_stop.metric", f"loss for task {self.task}", "auc")

    @property
    def outputs(self) -> int:
        """Columns of the model's output: one, or one per class."""
        return self.classes if self.task == "multiclass" else 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """Reads settings from JSON values.

        `early_stop` is an object, or false/null for never.

        Raises:
          ConfigError: an unknown key, or a value out of its range.
        """
        values = dict(values)
        _known("trainer", values, cls)
        stop = values.get("early_stop", True)
        if isinstance(stop, dict):
            _known("trainer.early_stop", stop, EarlyStop)
            values["early_stop"] = _build("trainer.early_stop", EarlyStop, stop)
        else:
            values["early_stop"] = EarlyStop() if stop is True else None
        for name in ("hidden_units", "reset", "devices"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        return _build("trainer", cls, values)


def _build(where: str, cls: type, values: dict[str, Any]) -> Any:
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(
            f"a value of {where} has the wrong type: {error}",
            where=f"config key {where}",
            next_step="write numbers without quotes",
        ) from error


def _known(where: str, values: dict[str, Any], cls: type) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise ConfigError(
                f"unknown key {name!r}",
                where=f"config key {where}.{name}",
                next_step=did_you_mean(name, names) or f"the keys are: {', '.join(names)}",
            )


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{name} must be one of {', '.join(allowed)}, got {value!r}",
            where=f"config key trainer.{name}",
            next_step=did_you_mean(value, allowed),
        )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise _wrong(name, f"at least {least}", value)


def _wrong(name: str, must: str, got: Any) -> ConfigError:
    return ConfigError(f"{name} must be {must}, got {got!r}", where=f"config key trainer.{name}")
