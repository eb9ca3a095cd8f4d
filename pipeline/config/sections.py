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
    model_validator,
)

from noria.components.data_gate import thresholds
from noria.components.evaluator import gate
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
    """A path as seen from the YAML file's folder, absolute and without detours."""
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(path)):  # Path has made one slash of two
        raise ValueError(
            f"must be a path of this machine or of a mounted volume, got {str(path)!r}; object storage "
            "renames nothing at once, so that a kill could leave half a version"
        )
    folder = (info.context or {}).get("folder")
    expanded = path.expanduser()
    # Not resolve(): a home that is a symbolic link stays what the person called it.
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
Threshold = Annotated[float, Field(ge=0)] | None


class Section(BaseModel):
    """A mapping of the YAML file. Unknown keys are refused; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    source: str | None = Field(
        default=None,
        description="Where the events come from: a CSV or Parquet file, a folder or a glob of them; "
        "or `module:function`, a function without arguments that returns an Arrow or pandas "
        "table. Every run reads what is new there. Left out, the spans are those already in the home folder.",
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="The character between the columns of a CSV file. Left out, it is found in the file.",
    )
    columns: Names | None = Field(
        default=None, description="The columns to keep besides label and time. Left out: all of them."
    )
    types: dict[str, Literal["int", "float", "string", "bool", "time"]] = Field(
        default_factory=dict,
        description="Kinds of columns that shall not be found in the data, such as `{zip: string}`.",
    )
    missing: Names = Field(
        default_factory=list, description='Further texts that mean "missing", such as `"?"`.'
    )
    max_bad_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a file's rows that may be unreadable; with more, none of it is taken.",
    )

    @field_validator("source")
    @classmethod
    def _source(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or is_function(value):
            return value
        return str(in_folder(Path(value), info))


class Label(Section):
    column: str = Field(
        description="The column to predict. Rows without a value are kept, but not trained on."
    )
    classes: list[str | int | float | bool] | None = Field(
        default=None,
        min_length=2,
        description="The label's values in the order of their class numbers; the second one of a `binary` "
        "label is the positive class. Left out, a binary label's are found in the data.",
    )


class Time(Section):
    column: str | None = Field(
        default=None,
        description="The column with the time of the event: ISO 8601, or seconds, milliseconds, microseconds "
        "or nanoseconds since 1970. Left out, rows count as they stand in the file (`span.every: rows:N`).",
    )
    format: str | None = Field(
        default=None,
        description="`strptime` format of that column, where it is neither ISO 8601 nor a number.",
    )


def _every(value: str) -> str:
    if value not in ("hour", "day", "week") and not re.fullmatch(r"rows:[1-9]\d*", value):
        raise ValueError(f"must be hour, day, week or rows:N (such as rows:5000), got {value!r}")
    return value


class Span(Section):
    every: Annotated[str, AfterValidator(_every)] = Field(
        default="week",
        description="How much of the stream makes one span: `hour`, `day` or `week` (from Monday, UTC) of "
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


class FeatureDrift(Section):
    linf: Threshold = Field(default=None, description="L-infinity threshold of this feature.")
    js: Threshold = Field(default=None, description="Jensen-Shannon threshold of this feature.")
    kl: Threshold = Field(default=None, description="KL threshold of this feature.")
    psi: Threshold = Field(default=None, description="PSI threshold of this feature.")


class Volume(Section):
    low: float = Field(
        default=thresholds.Volume.low,
        ge=0,
        description="Rows per hour below this share of the last spans' median make a span `broken`.",
    )
    drifted: float = Field(
        default=thresholds.Volume.drifted, ge=0, description="Below this share the span is `drifted`."
    )
    high: float = Field(
        default=thresholds.Volume.high, ge=0, description="Above this multiple the span is `drifted`."
    )


class LabelRate(Section):
    change: float = Field(
        default=thresholds.LabelRate.change,
        ge=0,
        description="Change of the label's mean (for classes: of any class's share), in absolute terms, "
        "above which a span is `drifted`.",
    )
    broken: float = Field(
        default=thresholds.LabelRate.broken, ge=0, description="Change above which it is `broken`."
    )
    unlabelled: float = Field(
        default=thresholds.LabelRate.unlabelled,
        ge=0,
        description="Share of rows without a label above which it is `drifted`; twice that is `broken`.",
    )


class DataGate(Section):
    linf: Threshold = Field(
        default=thresholds.Thresholds.linf,
        description="Largest L-infinity distance of a categorical feature. `null` here and below: reported, "
        "but does not judge.",
    )
    js: Threshold = Field(
        default=thresholds.Thresholds.js,
        description="Largest Jensen-Shannon divergence of a numeric feature.",
    )
    kl: Threshold = Field(
        default=thresholds.Thresholds.kl, description="Largest Kullback-Leibler divergence."
    )
    psi: Threshold = Field(
        default=thresholds.Thresholds.psi, description="Largest population stability index."
    )
    stable_psi: Threshold = Field(
        default=thresholds.Thresholds.stable_psi,
        description="PSI of a feature tagged `stable` in the schema above which a span is `broken`.",
    )
    features: dict[str, FeatureDrift] = Field(
        default_factory=dict, description="Thresholds of single features, by column name."
    )
    ignore: Names = Field(
        default_factory=list, description="Features that are not compared at all (an id, the time)."
    )
    volume: Volume | None = Field(
        default=Volume(), description="Rows against the last accepted spans. `null`: no check."
    )
    label_rate: LabelRate | None = Field(
        default=LabelRate(), description="The label's mean against the references. `null`: no check."
    )
    out_of_range: float = Field(
        default=thresholds.Thresholds.out_of_range,
        ge=0,
        description="Share of values outside the schema's range that is taken as outliers.",
    )
    stuck: Threshold = Field(
        default=thresholds.Thresholds.stuck,
        description="Rise of one value's share of the rows that makes a numeric feature `broken` as stuck.",
    )
    association: Threshold = Field(
        default=thresholds.Thresholds.association,
        description="Share of its former Cramér's V below which a pair of categories is `broken` (shuffled).",
    )
    slices: Threshold = Field(
        default=thresholds.Thresholds.slices,
        description="Change of one value's log odds of the label, against all others, that makes a span "
        "`broken` as mislabelled.",
    )
    overlap: Threshold = Field(
        default=thresholds.Thresholds.overlap,
        description="Share of the span's time range that an older accepted span may cover.",
    )
    late_start: Threshold = Field(
        default=thresholds.Thresholds.late_start,
        description="Share of a span's period by which it may begin late, against the last spans' cadence; "
        "beyond it rows are missing and the span is `broken`.",
    )


class Bound(Section):
    min: float | None = Field(default=None, description="The metric must be at least this.")
    max: float | None = Field(default=None, description="The metric must be at most this.")
    change: float | None = Field(
        default=None,
        ge=0,
        description="How much worse than the champion's the metric may be on the same rows, in its own unit.",
    )
    relative: float | None = Field(
        default=None, ge=0, description="The same as a share of the champion's (0.01: one per cent)."
    )

    @model_validator(mode="after")
    def _something(self) -> "Bound":
        if not self.model_fields_set:
            raise ValueError("must set at least one of min, max, change, relative, got none")
        return self


class ModelGate(Section):
    metrics: dict[str, Bound] | None = Field(
        default=None,
        description="Bounds by metric name. Left out: binary, `auc` at least 0.5 and at most 0.01 worse, "
        "`log_loss` at most 0.01 worse; multiclass, `log_loss` and `accuracy` at most 0.01 worse and no "
        "worse than a guess; regression, `rmse` and `mae` at most 2 % worse. `{}` blesses nothing.",
    )
    slices: Annotated[list[str | list[str]], BeforeValidator(_listed)] = Field(
        default_factory=list,
        description="Columns by whose values the rows are sliced; a list of columns is a crossed slice.",
    )
    slice_change: float | None = Field(
        default=gate.Gate.slice_change,
        ge=0,
        description="Share by which the mean loss on a slice may rise against the champion's. `null`: slices "
        "inform and do not judge.",
    )
    min_examples: int = Field(
        default=gate.Gate.min_examples,
        ge=1,
        description="Rows below which a slice is reported as `too few` and does not judge.",
    )
    first_run: Literal["thresholds", "bless", "refuse"] = Field(
        default="thresholds",
        description="Where there is no champion yet: `thresholds` (the absolute bounds decide), `bless` "
        "(without judging) or `refuse` (a person promotes the first version).",
    )


class Gates(Section):
    data: DataGate = Field(
        default=DataGate(), description="The data verdict: when a span is `drifted` or `broken`."
    )
    model: ModelGate = Field(
        default=ModelGate(), description="The model verdict: when a challenger is blessed."
    )


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
