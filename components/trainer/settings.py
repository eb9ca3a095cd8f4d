"""The Trainer's settings. Importing this file needs no TensorFlow: the project's config is composed of it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from noria.components.trainer.families import FAMILIES, Family
from noria.core import settings
from noria.core.settings import ImportPath, listed
from noria.core.tasks import DEFAULT_TASK, Task

RUN_FN = "noria.components.trainer.run_fn.run_fn"


Texts = Annotated[tuple[str, ...], BeforeValidator(listed)]


def _different(rates: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(rates)) < len(rates):
        raise ValueError("each rate may be given once")
    return rates


def _numbers(value: Any) -> Any:
    """A single number means a list of one."""
    return [value] if isinstance(value, int | float) else value


Rates = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...],
    Field(min_length=1),
    BeforeValidator(_numbers),
    AfterValidator(_different),
]


class EarlyStop(settings.Settings):
    """When training stops before its last step; the best state on the eval split is kept."""

    metric: Literal["loss", "auc"] = Field(
        default="loss",
        description="Watched on the eval split: `loss` (log loss, or squared error in units of the label's "
        "deviation), or `auc` (binary only).",
    )
    every: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two checks. Default: two checks for each pass over the window.",
    )
    patience: int = Field(
        default=4,
        ge=1,
        description="Checks without improvement after which training stops; the best weights are kept.",
    )
    patience_steps: int = Field(
        default=600,
        ge=0,
        description="Steps that a cold run takes without improvement before it stops: on few rows a check is noisy, "
        "and a run that stopped after 300 steps had a loss 25 % above that of one that stopped after 2,000.",
    )
    min_delta: float = Field(default=0.0, ge=0, description="Smallest change that counts as an improvement.")


def _default(setting: str) -> str:
    """What the families set, for a description, such as "By default 0.1 for `tabm`, else 0.5"."""
    own = {name: vars(kind)[setting] for name, kind in FAMILIES.all().items() if setting in vars(kind)}
    return (
        f"By default {''.join(f'{own[name]} for `{name}`, else ' for name in own)}{getattr(Family, setting)}"
    )


def _families() -> str:
    """What each family is, from the first line of its docstring."""
    first = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in FAMILIES.all().items()}
    return " ".join(f"`{name}`: {line}" for name, line in first.items())


class TrainerSettings(settings.Settings):
    """The keys of `trainer` in the project's file."""

    run_fn: ImportPath = Field(
        default=RUN_FN,
        description="Import path of a function that takes TFX's FnArgs. Noria's own does the warm start.",
    )
    family: Annotated[str, AfterValidator(FAMILIES.check_name)] = Field(
        default="tabm",
        description=f"The kind of model: {FAMILIES.choices()} (docs/extending.md). {_families()}",
    )
    hidden_units: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        description=f"Widths of the dense layers of a built-in family. {_default('hidden_units')}.",
    )
    cross_layers: int = Field(default=2, ge=1, description="Cross layers (`dcn` only).")
    embedding_cap: int = Field(default=50, ge=1, description="Widest embedding of a categorical feature.")
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description=f"Share of hidden units dropped while training. {_default('dropout')}.",
    )
    epochs: float = Field(
        default=3, gt=0, description="Passes over the window in a cold run, if `steps` is not set."
    )
    warm_epochs: float = Field(
        default=2,
        gt=0,
        description="Passes over new and replayed rows in a warm run, if `steps` is not set.",
    )
    steps: int | None = Field(
        default=None,
        ge=0,
        description="Steps of a run, one batch each; instead of epochs. 0 in a warm run publishes the champion's "
        "weights over the run's transform graph.",
    )
    max_steps: int = Field(default=1_000_000, ge=1, description="Most steps of one run.")
    batch_size: int = Field(default=256, ge=1, description="Rows of one step, over all replicas together.")
    min_steps: int | None = Field(
        default=None,
        ge=0,
        description="Least steps of a cold run, if `steps` is not set; early stop ends it before. "
        f"{_default('min_steps')}: a table of 720 rows has 9 steps in 3 passes, after which its model is hardly better "
        "than a guess.",
    )
    min_warm_steps: int = Field(
        default=40, ge=0, description="Least steps of a warm run, if `steps` is not set."
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description=f"Adam's learning rate at the first step of a cold run. {_default('learning_rate')}.",
    )
    warm_learning_rates: Rates = Field(
        default=(3e-3,),
        description="Adam's learning rate at the first step of each warm run. Over ten drifting streams 0.003, "
        "with clipped inputs and the base rate, gave 0.716 of a guess's loss; 0.001 that decays over all runs, "
        "without them, gave 0.774. With several, such as `[0.003, 0.001, 0.01]`, each run trains a candidate with "
        "each rate; the next run scores them on the newest span, which they have not seen, and takes the rate with "
        "the best record. Three gave 0.696 instead of 0.706, for three times the examples.",
    )
    decay_steps: float = Field(
        default=500.0, gt=0, description="How slowly the learning rate decays within a run, in steps."
    )
    learning_rate_floor: float = Field(
        default=0.2, gt=0, le=1, description="Share of `learning_rate` below which it never falls."
    )
    clipnorm: float | None = Field(
        default=1.0,
        gt=0,
        description="Largest norm of a variable's gradient; larger gradients are scaled down. `null`: never.",
    )
    base_rate_share: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="Share of the newest 3 spans' base rate in each served score (not for regression). It bounds "
        "what a wrong model costs: at most 0.0305 nats a row more than the model, at most 3.51 more than a guess. "
        "0: none.",
    )
    rescue_above: float | None = Field(
        default=1.05,
        gt=0,
        description="Share of a guess's loss on the newest span, where both know its shares of classes. Above it the "
        "champion is wrong and needs rescue: a cold model is trained on the newest span, beside the warm one, and the "
        "best of warm, cold and guess is the run's model. `null`: never.",
    )
    early_stop: EarlyStop | None = Field(
        default=EarlyStop(), description="When to stop before the last step. `null`: never."
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = Field(
        default="none",
        description="`tf.distribute` strategy: `none`, `mirrored` (this machine's GPUs) or `multi_worker`.",
    )
    devices: tuple[str, ...] | None = Field(
        default=None,
        description='Devices of `mirrored`, such as `["GPU:0", "GPU:1"]`. Default: all of them.',
    )
    cache: bool = Field(
        default=True,
        description="Keep the parsed rows of a window that does not fit in memory in a file while training.",
    )
    memory_mb: int = Field(
        default=128,
        ge=1,
        description="Windows whose parsed rows take up to this many MiB are trained on in memory.",
    )
    shuffle_rows: int = Field(
        default=100_000, ge=1, description="Rows of the shuffle buffer for windows that are streamed."
    )
    seed: int = Field(default=17, description="Seed of the first weights and of the order of batches.")
    reset: Texts = Field(
        default=(),
        description="Variables (patterns such as `deep_*`) that a warm run initializes instead of copying them.",
    )
    new_entries: Literal["oov", "mean"] = Field(
        default="oov",
        description="What the embedding of a new vocabulary entry starts from: `oov` (the row of unknown "
        "values, if there is one) or `mean` (of all the champion's rows).",
    )
    steps_per_call: int = Field(default=100, ge=1, description="Steps between two reports of progress.")
    predict_columns: int = Field(
        default=100,
        ge=0,
        description="Raw columns up to which the SavedModel has the signature `predict`, one input for each of them "
        "(docs/serving.md). Each takes some 8 ms of a new graph's export: 12 s for 1,500. 0: never.",
    )
    tensorboard: bool = Field(default=True, description="Write TensorBoard's logs.")

    def check_task(self, task: str) -> None:
        """Checks what depends on the project's task.

        Raises:
          ValueError: early stop watches the AUC, which this task does not have.
        """
        if task != "binary" and self.early_stop and self.early_stop.metric == "auc":
            raise ValueError(f"`trainer.early_stop.metric` must be loss where task is {task}, got 'auc'")


class Settings(TrainerSettings):
    """What the Trainer's executor gets: the keys of `trainer`, and what it must know of the label."""

    label: str = Field(default="label", description="Name of the label among the transformed features.")
    task: Task = Field(default=DEFAULT_TASK, description="`binary`, `multiclass` or `regression`.")
    classes: int = Field(
        default=2, ge=2, description="Number of classes (multiclass); the label is 0 to classes - 1."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        self.check_task(self.task)
        return self

    @property
    def outputs(self) -> int:
        """Columns of the model's output: one, or one for each class."""
        return self.classes if self.task == "multiclass" else 1


def read(values: dict[str, Any]) -> Settings:
    """Reads the settings from JSON values.

    Raises:
      ConfigError: a key is unknown, or a value is not allowed.
    """
    return settings.validate(Settings, values, "trainer")
