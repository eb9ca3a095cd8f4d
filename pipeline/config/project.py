"""A project's one YAML file, read and checked.

`load("noria.yaml")` gives a `Config` or raises `ConfigError` with file, line and what to write instead.
Relative paths start from the folder of the YAML file. This module imports neither TFX nor TensorFlow.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from noria.components.evaluator.gate import check_bound
from noria.components.evaluator.metrics import METRICS
from noria.components.trainer.settings import TrainerSettings
from noria.core.errors import ConfigError
from noria.core.settings import ImportPath, Names, Settings
from noria.core.tasks import DEFAULT_TASK, Task
from noria.pipeline.config import explain
from noria.pipeline.config.kubeflow import HOME, Kubeflow
from noria.pipeline.config.sections import (
    Beam,
    Data,
    Gates,
    Home,
    Label,
    ProjectPath,
    Signing,
    Span,
    Time,
    Window,
)
from noria.pipeline.config.stream import StreamSection
from noria.pipeline.updates.targets import TARGETS
from noria.serving.rollouts.settings import ServingSettings

if TYPE_CHECKING:
    from noria.ingestion.events import EventSettings
    from noria.ingestion.segments.ingester import StreamSettings

__all__ = ["NAME_LENGTH", "Config", "load", "parse_metadata"]

NAME_LENGTH = 63  # characters of a Kubernetes label, which the pipeline's name becomes


def _short_for(key: str) -> BeforeValidator:
    """A plain string in place of a section's mapping sets this one key of it."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def parse_metadata(url: str) -> dict[str, Any] | None:
    """ML Metadata's server as keywords, or None for SQLite.

    Raises:
      ValueError: ML Metadata does not support the kind of URL, or the host or the database is missing.
    """
    if url == "sqlite":
        return None
    shapes = "sqlite, mysql://user:password@host:port/database or postgresql://... of the same form"
    hidden = re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)  # a log must not contain a password
    parts = urlsplit(url)
    kind = {"postgres": "postgresql"}.get(parts.scheme, parts.scheme)
    database = unquote(parts.path.lstrip("/"))
    if kind not in ("mysql", "postgresql") or not parts.hostname or not database:
        raise ValueError(f"must be {shapes}, got {hidden!r}")
    try:
        port = parts.port or {"mysql": 3306, "postgresql": 5432}[kind]
    except ValueError:
        raise ValueError(f"must have a port number, got {hidden!r}") from None
    return {
        "kind": kind,
        "host": parts.hostname,
        "port": port,
        "database": database,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }


def _metadata(value: str) -> str:
    parse_metadata(value)
    return value


class Config(Settings):
    """A project's settings, checked; paths are absolute."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]*$",
        max_length=NAME_LENGTH,
        description="The project's name: the model's in TF Serving, the pipeline's in ML Metadata. "
        f"Lower-case letters, digits and hyphens, at most {NAME_LENGTH}.",
    )
    home: Home = Field(
        default=Path("home"),
        validate_default=True,
        description="Folder for everything that the pipeline keeps: spans, models, registry, reports, runs. Or "
        "`s3://bucket/prefix` or `gs://bucket/prefix`, an object store (docs/object-store.md).",
    )
    data: Annotated[Data, _short_for("source")] = Field(
        default=Data(), description="Where the events come from. A string is short for `data.source`."
    )
    stream: StreamSection = Field(
        default=StreamSection(), description="A stream of events, which `noria ingest` reads."
    )
    label: Annotated[Label, _short_for("column")] = Field(
        description="What to predict. A string is short for `label.column`."
    )
    task: Task = Field(default=DEFAULT_TASK, description="`binary`, `multiclass` or `regression`.")
    time: Annotated[Time, _short_for("column")] = Field(
        default=Time(), description="When an event happened. A string is short for `time.column`."
    )
    key: Names = Field(
        default_factory=list,
        description="Columns that identify an event. With `eval_blocks: 0` their hash decides which rows are held "
        "out. Default: all columns except the label.",
    )
    span: Annotated[Span, _short_for("every")] = Field(
        default=Span(), description="The spans of the event stream. A string is short for `span.every`."
    )
    window: Window = Field(default=Window(), description="Which spans a run trains on.")
    eval_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of each span's rows that is never trained on; on the newest span's, "
        "champion and challenger are compared.",
    )
    eval_blocks: int = Field(
        default=4,
        ge=0,
        description="The held-out rows of a span are at least so many blocks of consecutive rows, because neighbours "
        "in time are alike: single rows would be too easy to predict, and training would stop too late. Rows without "
        "an order: 0, which holds out single rows, by the hash of `key`.",
    )
    schema_: ProjectPath = Field(
        default=Path("schema.pbtxt"),
        alias="schema",
        validate_default=True,
        description="The curated TFDV schema, as a text proto.",
    )
    preprocessing: ImportPath = Field(
        default="preprocessing.preprocessing_fn",
        description="Import path of the `preprocessing_fn`. The YAML file's folder is on Python's path.",
    )
    trainer: TrainerSettings = Field(default=TrainerSettings(), description="How a challenger is trained.")
    gates: Gates = Field(default=Gates(), description="What rejects a span, and what rejects a version.")
    beam: Beam = Field(default=Beam(), description="Arguments of Apache Beam, if it is used.")
    kubeflow: Kubeflow = Field(
        default=Kubeflow(), description="Where and how the pipeline runs on Kubeflow Pipelines."
    )
    serving: ServingSettings = Field(
        default=ServingSettings(), description="How `noria serve` answers, and how a version reaches traffic."
    )
    metadata: Annotated[str, AfterValidator(_metadata)] = Field(
        default="sqlite",
        description="ML Metadata's store: `sqlite` (a file in `home`), "
        "`mysql://user:password@host:3306/database` or `postgresql://user:password@host:5432/database`.",
    )
    updates: list[Annotated[dict[str, Any], AfterValidator(TARGETS.check_entry)]] = Field(
        default_factory=list,
        description="Targets that are notified of publications, rollbacks and spans in quarantine: a list of "
        f"`{{NAME: settings}}`, where NAME is {TARGETS.choices()}, such as `{{webhook: URL}}` (docs/updates.md).",
    )
    retention: int = Field(
        default=10,
        ge=2,
        description="How many of the newest versions keep their files; the registry's records of the others stay.",
    )
    signing: Annotated[Signing, _short_for("key")] = Field(
        default=Signing(), description="How published models are signed. A string is short for `signing.key`."
    )
    execution: Literal["auto", "in-process", "beam"] = Field(
        default="auto",
        description="`in-process` computes in this process, in bounded memory; `beam` uses Beam; `auto` chooses by "
        "size and by the runner in `beam.args`, and logs the reason.",
    )

    _path: Path = PrivateAttr(Path("noria.yaml"))
    _settings: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        classes = self.label.classes
        if self.task == "multiclass" and classes is None:
            raise ValueError("`label.classes` must list the classes where task is multiclass, got nothing")
        if self.task == "binary" and classes is not None and len(classes) != 2:
            raise ValueError(f"`label.classes` must be two where task is binary, got {len(classes)}")
        if self.task == "regression" and classes is not None:
            raise ValueError(f"`label.classes` must not be set where task is regression, got {classes}")
        self.trainer.check_task(self.task)
        if self.time.column is None and not self.span.every.startswith("rows:"):
            raise ValueError(
                f"`span.every` must be rows:N where there is no time.column, got {self.span.every!r}"
            )
        if self.stream.source is not None:
            self._stream_fits()
        if self.serving.rollout.mode is not None and isinstance(self.home, str):
            raise ValueError(
                "`serving.rollout.mode` needs a home that is a folder: an object store gives a server published "
                "versions only"
            )
        for name, bound in (self.gates.model.metrics or {}).items():
            if "." not in name:  # a user's own metric is imported by the Evaluator only
                try:
                    check_bound(name, METRICS.find(name), bound, self.task)
                except ValueError as error:
                    raise ValueError(f"`gates.model.metrics.{name}` does not fit: {error}") from None
        if self.label.column in (self.time.column, *self.key):
            raise ValueError(
                f"`label.column` must be neither the time nor the key, got {self.label.column!r}"
            )
        return self

    def _stream_fits(self) -> None:
        if self.data.source is not None:
            raise ValueError("`data.source` and `stream.source` cannot both be set; a home has one of them")
        if self.task != "regression" and self.label.classes is None:
            raise ValueError("`label.classes` must list the classes of a stream, got nothing")
        if self.stream.unique and self.span.every.startswith("rows:"):
            raise ValueError("`stream.unique` must be empty where spans are a number of rows")

    @property
    def path(self) -> Path:
        """The YAML file, absolute."""
        return self._path

    @property
    def settings(self) -> dict[str, Any]:
        """The keys as written in the YAML file: paths are relative, defaults are missing."""
        return self._settings

    @classmethod
    def read(cls, settings: dict[str, Any], path: Path) -> "Config":
        """Settings as if written in the file `path`, which may not exist.

        Raises:
          ValidationError: pydantic's, for a value that is not allowed.
        """
        config = cls.model_validate(settings, context={"folder": path.parent})
        config._path = path
        config._settings = settings
        return config

    @property
    def folder(self) -> Path:
        """The folder of the YAML file, which is put on Python's path."""
        return self._path.parent

    @property
    def home_path(self) -> Path:
        """The home folder, absolute; of a home in an object store its working copy, which is brought up to date."""
        if isinstance(self.home, Path):
            return self.home
        from noria.core.objects.home import mount

        return mount(self.home)

    @property
    def model_root(self) -> Path:
        """The TF Serving model directory."""
        return self.home_path / "models" / self.name

    @property
    def cluster_home(self) -> str:
        """The home of Kubeflow's tasks: a folder of their containers, or a URL."""
        if self.kubeflow.home is not None:
            return self.kubeflow.home
        return self.home if isinstance(self.home, str) else HOME

    @property
    def schema_path(self) -> Path:
        """The curated schema's file."""
        return self.schema_

    def moved_to(self, home: Path) -> "Config":
        """The same settings with another home folder; ML Metadata moves with it, into a file there. No update
        is sent from there."""
        moved = self.model_copy(update={"home": home.absolute(), "metadata": "sqlite", "updates": []})
        moved._path, moved._settings = self._path, self._settings
        return moved

    def metadata_server(self) -> dict[str, Any] | None:
        """ML Metadata's server: kind (mysql or postgresql), host, port, database, user, password; or None."""
        return parse_metadata(self.metadata)

    def event_settings(self) -> "EventSettings":
        """How ingestion makes events from rows."""
        from noria.ingestion.events import EventSettings

        data = self.data
        return EventSettings(
            label=self.label.column,
            task=self.task,
            classes=None if self.label.classes is None else tuple(self.label.classes),
            time=self.time.column,
            every=self.span.every,
            columns=None if data.columns is None else tuple(dict.fromkeys([*self.key, *data.columns])),
            types=data.types,
            missing=tuple(data.missing),
            time_format=self.time.format,
            delimiter=data.delimiter,
            encoding=data.encoding,
            decimal=data.decimal,
            header=tuple(data.header),
            max_bad_share=data.max_bad_share,
            folder=self.folder,
        )

    def stream_settings(self) -> "StreamSettings":
        """How `noria ingest` makes segments and spans from the stream."""
        return self.stream.for_ingester(self.span.every, self.folder)

    def window_settings(self) -> dict[str, Any]:
        """SpanExampleGen's exec property."""
        return {
            **self.window.model_dump(),
            "eval_share": self.eval_share,
            "eval_blocks": self.eval_blocks,
            "key": self.key,
        }

    def trainer_settings(self) -> dict[str, Any]:
        """The Trainer's exec property: the keys of `trainer`, and the task and the classes of the label."""
        trainer = self.trainer.model_dump(mode="json")
        classes = len(self.label.classes or ()) or 2
        return {**trainer, "label": self.label.column, "task": self.task, "classes": classes}

    def data_gate_settings(self) -> dict[str, Any]:
        """DataGate's exec property: the keys of `gates.data`."""
        return self.gates.data.model_dump(mode="json")

    def model_gate_settings(self) -> dict[str, Any]:
        """Evaluator's exec property: the keys of `gates.model`."""
        return self.gates.model.model_dump(mode="json")

    def digest(self) -> str:
        """12 hex digits of the settings' SHA-256; comments, the order of keys and paths do not count."""
        settings = self.model_dump(
            mode="json",
            by_alias=True,
            exclude={"home", "metadata", "schema_", "kubeflow", "serving", "signing", "updates"},
        )
        data = self._settings.get(
            "data"
        )  # as written, so that the digest does not depend on the project's folder
        settings["data"]["source"] = data.get("source") if isinstance(data, dict) else data
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def load(path: str | Path = "noria.yaml") -> Config:
    """Reads a project's YAML file.

    Args:
      path: the file, or the folder of `noria.yaml`.

    Raises:
      ConfigError: no such file, not YAML, an unknown or missing key, or a value that is not allowed.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "noria.yaml"
    text = _read(file)
    file = file.resolve()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        explain.refuse_duplicates(node, file)
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = file if mark is None else f"{file}, line {mark.line + 1}, column {mark.column + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"the file must be YAML: {problem}",
            where=where,
            next_step="check this line and the one above for indentation, a missing colon or quote",
        ) from None
    if not isinstance(settings, dict):
        found = "nothing" if settings is None else f"a {type(settings).__name__}"
        raise ConfigError(
            f"the file must hold keys and values, got {found}", where=file, next_step=explain.HELP
        )
    try:
        return Config.read(settings, file)
    except ValidationError as error:
        raise explain.explain(error, Config, node, file) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "there is no project here: the file does not exist",
            where=file.absolute(),
            next_step="noria init my-project --data FILE --label COLUMN creates one; --config FILE names one",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}", where=file, next_step="check the permissions"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the file must be UTF-8 text, got byte {error.start}: {error.reason}",
            where=file,
            next_step="save it as UTF-8",
        ) from None
