"""The sections of a project's YAML file: their keys, defaults and descriptions, and what values are allowed.

The settings of a component are declared beside the component.
"""

import codecs
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from noria.components.data_gate.settings import DataGateSettings
from noria.components.evaluator.settings import EvaluatorSettings
from noria.core import periods
from noria.core.errors import ConfigError, did_you_mean
from noria.core.objects.store import SCHEMES
from noria.core.settings import Names, Settings, listed
from noria.ingestion.column_types import COLUMN_TYPES
from noria.ingestion.dead_letters import MAX_BAD_SHARE
from noria.ingestion.source_secrets import shown
from noria.ingestion.sources import SOURCES

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


def check_components(names: Iterable[str], known: Sequence[str]) -> None:
    """Raises ValueError where a name is not among the known components; with the nearest one."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(
                f"must name components ({', '.join(known)}), got {name!r}" + (f"; {hint}" if hint else "")
            )


def in_folder(path: Path, info: ValidationInfo) -> Path:
    """A path relative to the YAML file's folder as an absolute, normalized path."""
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(path)):  # Path has made one slash of two
        raise ValueError(f"must be a path of this machine or of a mounted volume, got {str(path)!r}")
    folder = (info.context or {}).get("folder")
    expanded = path.expanduser()
    # Not resolve(): a home that is a symbolic link keeps the name that the user gave it.
    return expanded if folder is None else Path(os.path.normpath(folder / expanded))


def is_function(source: object) -> bool:
    """Whether a source is `module:function`."""
    return isinstance(source, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", source) is not None


def is_url(source: object) -> bool:
    """Whether a source is the URL of files, such as `s3://bucket/rides/`."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def _home(value: object, info: ValidationInfo) -> object:
    """A home as a folder, or as a URL without a slash at its end."""
    if not isinstance(value, str) or "://" not in value:
        return in_folder(Path(value), info) if isinstance(value, str | Path) else value
    if not value.startswith(SCHEMES) or not re.match(r"[a-z0-9]+://[^/]+", value):
        raise ValueError(f"must be a folder, or s3:// or gs:// and a bucket, got {value!r}")
    return value.rstrip("/")


ProjectPath = Annotated[Path, AfterValidator(in_folder)]
Home = Annotated[Path | str, BeforeValidator(_home)]


class Signing(Settings):
    key: ProjectPath | None = Field(
        default=None,
        description="PEM file of a private key on P-256, without a password. Each version is signed with it when it is "
        "published (docs/security.md). Default: no signatures.",
    )
    trusted: Annotated[list[ProjectPath], BeforeValidator(listed)] = Field(
        default_factory=list,
        description="PEM files of public keys. `noria serve` refuses a version that none of them has signed. "
        "Several, while keys change.",
    )


class Data(Settings):
    source: str | dict[str, Any] | None = Field(
        default=None,
        description="Where the events come from. A path: a CSV, JSON lines or Parquet file, a folder, or a glob. "
        "A URL of files: `s3://`, `gs://` or `https://`. `module:function`: a function without arguments that "
        "returns an Arrow or pandas table. `{NAME: settings}`, where NAME is "
        f"{SOURCES.choices()} (docs/extending.md). "
        "Each run reads what is new there. Default: none, only the spans that are in the home folder.",
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="The delimiter of CSV files. Default: detected.",
    )
    encoding: str | None = Field(
        default=None,
        description="The encoding of text files, a name that Python knows such as `cp1250`. Default: detected.",
    )
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="The sign between whole and fraction in the numbers of text files. Default: detected in each "
        "column.",
    )
    header: Names = Field(
        default_factory=list,
        description="The names of all columns of CSV files without a header, in the order of the fields. Default: "
        "in the first line of each file.",
    )
    columns: Names | None = Field(
        default=None, description="The columns to keep, in addition to label and time. Default: all."
    )
    types: dict[str, Annotated[str, AfterValidator(COLUMN_TYPES.check_name)]] = Field(
        default_factory=dict,
        description="Types of columns that are not to be inferred, such as `{zip: string}`: "
        f"{COLUMN_TYPES.choices()} (docs/extending.md).",
    )
    missing: Names = Field(default_factory=list, description='More texts that mean "missing", such as `"?"`.')
    max_bad_share: float = Field(
        default=MAX_BAD_SHARE,
        ge=0,
        le=1,
        description="Largest share of a file's rows that may be unreadable. A file with more is refused.",
    )
    keep_spans: int | None = Field(
        default=None,
        ge=1,
        description="How many of the newest spans keep their rows. `noria run`, and each run on Kubeflow, retires "
        "older ones that no run and no kept version needs (docs/operations.md). Default: all; `noria retire` does it "
        "when you want.",
    )

    @property
    def source_name(self) -> str:
        """The source for people, without what may be a password: of a kind with settings the kind alone."""
        if isinstance(self.source, dict):
            return next(iter(self.source))
        return shown(str(self.source)) if is_url(self.source) else str(self.source)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                codecs.lookup(value)
        except LookupError:
            raise ValueError(
                f"must be an encoding that Python knows, such as cp1250, got {value!r}"
            ) from None
        return value

    @field_validator("source")
    @classmethod
    def _source(cls, value: str | dict[str, Any] | None, info: ValidationInfo) -> str | dict[str, Any] | None:
        if isinstance(value, dict):
            return SOURCES.check_entry(value)
        if value is None or is_function(value) or is_url(value):
            return value
        return str(in_folder(Path(value), info))


class Label(Settings):
    column: str = Field(
        description="The column to predict. Rows without a value are kept, and not trained on."
    )
    classes: list[str | int | float | bool] | None = Field(
        default=None,
        min_length=2,
        description="The label's values in the order of their class numbers; the second one of a `binary` "
        "label is the positive class. Default: for a binary label, found in the data.",
    )


class Time(Settings):
    column: str | None = Field(
        default=None,
        description="The column with the time of the event: ISO 8601, or seconds, milliseconds, microseconds "
        "or nanoseconds since 1970. Default: none, rows are in file order (`span.every: rows:N`).",
    )
    format: str | None = Field(
        default=None,
        description="`strptime` format of that column, if it is neither ISO 8601 nor a number; `excel` for days as "
        "Excel counts them (45292 is 2024-01-01).",
    )


def _every(value: str) -> str:
    try:
        period = periods.length(value)
    except ConfigError as error:
        raise ValueError(error.what) from None
    if period is None and not re.fullmatch(r"rows:[1-9]\d*", value):
        raise ValueError(f"must be {periods.CHOICES}, or rows:N (such as rows:5000), got {value!r}")
    return value


class Span(Settings):
    every: Annotated[str, AfterValidator(_every)] = Field(
        default=periods.DEFAULT_LENGTH,
        description="The length of a span: `hour`, `day`, `week` (from Monday, UTC), or seconds or "
        "minutes that divide an hour evenly (`10s`, `15m`), of the time column; or `rows:N`.",
    )


class Window(Settings):
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
    twin: int | None = Field(
        default=None,
        ge=1,
        description="Published versions after which a cold twin is trained on `cold` spans, in a separate run when no "
        "span waits (docs/drift.md). While it is better than the champion on the spans that follow, it is the fallback "
        "of `noria serve`; while it is clearly better, it is a candidate of each run. Each twin in a row that is not "
        "close to the champion doubles this number. `null`: never.",
    )


class Gates(Settings):
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


class Beam(Settings):
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
        check_components(value, NODES)
        return value
