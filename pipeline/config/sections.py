"""The sections of a project's YAML file: their keys, defaults and descriptions, and what values are allowed.

A component's defaults are taken from the component, where their reasons stand.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from noria.components.data_gate.settings import DataGateSettings
from noria.components.evaluator.settings import EvaluatorSettings
from noria.components.trainer import settings
from noria.core.errors import did_you_mean

RUN_FN = "noria.components.trainer.run_fn.run_fn"
NODES = (
    "ChampionResolver",
    "SpanExampleGen",
    "SchemaGen",
    "StatisticsGen",
    "DataGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
)


def in_folder(path: Path, info: ValidationInfo) -> Path:
    """A path relative to the YAML file's folder as an absolute, normalized path."""
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(path)):  # Path has made one slash of two
        raise ValueError(
            f"must be a path of this machine or of a mounted volume, got {str(path)!r}; object storage "
            "has no atomic rename, so a kill could leave half a version"
        )
    folder = (info.context or {}).get("folder")
    expanded = path.expanduser()
    # Not resolve(): a home that is a symbolic link keeps the name that the user gave it.
    return expanded if folder is None else Path(os.path.normpath(folder / expanded))


def _import_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
        raise ValueError(f"must be an import path such as 'preprocessing.preprocessing_fn', got {value!r}")
    return value


def is_function(source: str) -> bool:
    """Whether a source is `module:function`."""
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", source) is not None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ProjectPath = Annotated[Path, AfterValidator(in_folder)]
ImportPath = Annotated[str, AfterValidator(_import_path)]
Names = Annotated[list[str], BeforeValidator(_listed)]


class Section(BaseModel):
    """A mapping of the YAML file. Unknown keys are refused; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    source: str | None = Field(
        default=None,
        description="Where the events come from: a CSV or Parquet file, a folder or a glob of them; "
        "or `module:function`, a function without arguments that returns an Arrow or pandas "
        "table. Every run reads what is new there. Default: none, only the spans that are in the home folder.",
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="The delimiter of CSV files. Default: detected.",
    )
    columns: Names | None = Field(
        default=None, description="The columns to keep, in addition to label and time. Default: all."
    )
    types: dict[str, Literal["int", "float", "string", "bool", "time"]] = Field(
        default_factory=dict,
        description="Types of columns that are not to be inferred, such as `{zip: string}`.",
    )
    missing: Names = Field(default_factory=list, description='More texts that mean "missing", such as `"?"`.')
    max_bad_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a file's rows that may be unreadable; a file with more is refused.",
    )

    @field_validator("source")
    @classmethod
    def _source(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or is_function(value):
            return value
        return str(in_folder(Path(value), info))


class Label(Section):
    column: str = Field(
        description="The column to predict. Rows without a value are kept, and not trained on."
    )
    classes: list[str | int | float | bool] | None = Field(
        default=None,
        min_length=2,
        description="The label's values in the order of their class numbers; the second one of a `binary` "
        "label is the positive class. Default: for a binary label, found in the data.",
    )


class Time(Section):
    column: str | None = Field(
        default=None,
        description="The column with the time of the event: ISO 8601, or seconds, milliseconds, microseconds "
        "or nanoseconds since 1970. Default: none, rows are in file order (`span.every: rows:N`).",
    )
    format: str | None = Field(
        default=None,
        description="`strptime` format of that column, if it is neither ISO 8601 nor a number.",
    )


def _every(value: str) -> str:
    if value not in ("hour", "day", "week") and not re.fullmatch(r"rows:[1-9]\d*", value):
        raise ValueError(f"must be hour, day, week or rows:N (such as rows:5000), got {value!r}")
    return value


class Span(Section):
    every: Annotated[str, AfterValidator(_every)] = Field(
        default="week",
        description="The length of a span: `hour`, `day` or `week` (from Monday, UTC) of "
        "the time column, or `rows:N`.",
    )


class Window(Section):
    first: int = Field(default=4, ge=1, description="Spans that the first, cold run trains on.")
    cold: int = Field(default=8, ge=1, description="Newest spans that any later cold run trains on.")
    replay: float = Field(
        default=0.25,
        ge=0,
        le=4,
        description="Rows of older spans replayed in a warm run, as a share of the new rows.",
    )
    replay_spans: int = Field(
        default=8,
        ge=1,
        description="How many spans back the replay reaches; it bounds what a warm run reads.",
    )


class EarlyStop(Section):
    metric: Literal["loss", "auc"] = Field(
        default="loss",
        description="Watched on the eval split: `loss`, or `auc` (binary only).",
    )
    every: int | None = Field(
        default=settings.EarlyStop.every,
        ge=1,
        description="Steps between two looks. Left out: twice in a pass over the window.",
    )
    patience: int = Field(
        default=settings.EarlyStop.patience,
        ge=1,
        description="Looks without improvement after which training stops; the best weights stay.",
    )
    min_delta: float = Field(
        default=settings.EarlyStop.min_delta,
        ge=0,
        description="Smallest change that counts as an improvement.",
    )


class Trainer(Section):
    run_fn: ImportPath = Field(
        default=RUN_FN, description="Import path of the `run_fn`; Noria's own carries the warm start."
    )
    family: Literal["wide_deep", "dcn"] = Field(
        default="wide_deep",
        description="Built-in model: `wide_deep`, or `dcn` (deep and cross network).",
    )
    build_model: ImportPath | None = Field(
        default=settings.Settings.build_model,
        description="Import path of your own `build_model(features, settings)` that returns a Keras model; "
        "instead of `family`.",
    )
    hidden_units: list[Annotated[int, Field(ge=1)]] = Field(
        default=list(settings.Settings.hidden_units),
        description="Widths of the dense layers of a built-in model.",
    )
    cross_layers: int = Field(
        default=settings.Settings.cross_layers, ge=1, description="Cross layers (`dcn` only)."
    )
    embedding_cap: int = Field(
        default=settings.Settings.embedding_cap,
        ge=1,
        description="Widest embedding of a categorical feature.",
    )
    dropout: float = Field(
        default=settings.Settings.dropout,
        ge=0,
        lt=1,
        description="Share of hidden units dropped while training.",
    )
    epochs: float = Field(
        default=settings.Settings.epochs,
        gt=0,
        description="Passes over the window in a cold run, where `steps` is left out.",
    )
    warm_epochs: float = Field(
        default=settings.Settings.warm_epochs,
        gt=0,
        description="Passes over new and replayed rows in a warm run, where `steps` is left out.",
    )
    steps: int | None = Field(
        default=settings.Settings.steps,
        ge=1,
        description="Steps of a run, one batch each; instead of epochs.",
    )
    max_steps: int = Field(default=settings.Settings.max_steps, ge=1, description="Most steps of one run.")
    batch_size: int = Field(
        default=settings.Settings.batch_size,
        ge=1,
        description="Rows of one step, over all replicas together.",
    )
    learning_rate: float = Field(
        default=settings.Settings.learning_rate, gt=0, description="Adam's learning rate at the first step."
    )
    decay_steps: float = Field(
        default=settings.Settings.decay_steps,
        gt=0,
        description="How slowly the learning rate decays, in steps.",
    )
    learning_rate_floor: float = Field(
        default=settings.Settings.learning_rate_floor,
        gt=0,
        le=1,
        description="Share of `learning_rate` below which it never falls.",
    )
    clipnorm: float | None = Field(
        default=settings.Settings.clipnorm,
        gt=0,
        description="Longest gradient of a variable; longer ones are scaled down. `null`: never.",
    )
    early_stop: EarlyStop | None = Field(
        default=EarlyStop(), description="When to stop before the last step. `null`: never."
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = Field(
        default="none",
        description="`tf.distribute` strategy: `none`, `mirrored` (this machine's GPUs) or `multi_worker`.",
    )
    devices: list[str] | None = Field(
        default=None,
        description='Devices of `mirrored`, such as `["GPU:0", "GPU:1"]`. Left out: all of them.',
    )
    cache: bool = Field(
        default=settings.Settings.cache,
        description="Keep the parsed rows of a window that does not fit in memory in a file while training.",
    )
    memory_mb: int = Field(
        default=settings.Settings.memory_mb,
        ge=1,
        description="Windows whose parsed rows take up to this many MiB are trained on in memory.",
    )
    shuffle_rows: int = Field(
        default=settings.Settings.shuffle_rows,
        ge=1,
        description="Rows of the shuffle buffer for windows that are streamed.",
    )
    seed: int = Field(
        default=settings.Settings.seed, description="Seed of the first weights and of the order of batches."
    )
    reset: Names = Field(
        default_factory=list,
        description="Variables (patterns such as `deep_*`) that a warm run starts anew instead of carrying.",
    )
    new_entries: Literal["oov", "mean"] = Field(
        default="oov",
        description="What the embedding of a new vocabulary entry starts from: `oov` (the row of unknown "
        "values) or `mean` (of the carried rows).",
    )
    steps_per_call: int = Field(
        default=settings.Settings.steps_per_call, ge=1, description="Steps between two reports of progress."
    )
    tensorboard: bool = Field(default=settings.Settings.tensorboard, description="Write TensorBoard's logs.")


class Gates(Section):
    data: DataGateSettings = Field(
        default=DataGateSettings(), description="The data verdict: when a span is `drifted` or `broken`."
    )
    model: EvaluatorSettings = Field(
        default=EvaluatorSettings(), description="The model verdict: when a challenger is blessed."
    )

    @property
    def own_measures(self) -> list[str]:
        """Import paths of the project's own drift measures."""
        data = self.data
        return sorted(
            name for name in {*data.measures, *data.stable}.union(*data.features.values()) if "." in name
        )

    @property
    def own_metrics(self) -> list[str]:
        """Import paths of the project's own metrics."""
        return sorted(name for name in self.model.metrics or {} if "." in name)


class Beam(Section):
    args: Names = Field(
        default_factory=list,
        description="Beam's arguments for every component, such as `--runner=FlinkRunner`.",
    )
    per_component: dict[str, Names] = Field(
        default_factory=dict,
        description="Arguments of single components, by name (such as `Transform`), instead of `args`.",
    )

    @field_validator("per_component")
    @classmethod
    def _known(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in value:
            if name not in NODES:
                hint = did_you_mean(name, NODES)
                raise ValueError(
                    f"must name components ({', '.join(NODES)}), got {name!r}" + (f"; {hint}" if hint else "")
                )
        return value
