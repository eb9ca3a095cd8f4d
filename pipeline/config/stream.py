"""The section `stream` of a project's YAML file."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from noria.core import periods
from noria.core.errors import ConfigError
from noria.core.settings import Names, Settings
from noria.ingestion.event_formats import EVENT_FORMATS
from noria.ingestion.streams import STREAMS

__all__ = ["StreamSection"]


def _interval(value: str) -> str:
    try:
        if value != "0s":
            periods.seconds(value)
    except ConfigError as error:
        raise ValueError(error.what.replace("an interval must be", "must be an interval")) from None
    return value


Interval = Annotated[str, AfterValidator(_interval)]


def in_seconds(interval: str) -> int:
    """Seconds of an interval, which may be 0s."""
    return 0 if interval == "0s" else periods.seconds(interval)


class StreamSection(Settings):
    source: dict[str, Any] | None = Field(
        default=None,
        description="The stream that `noria ingest` reads, instead of `data.source`: `{NAME: settings}`, where NAME is "
        f"{STREAMS.choices()}. For example `{{log: FOLDER}}` (docs/streams.md).",
    )
    lateness: Interval = Field(
        default="0s",
        description="How long a span stays open after the watermark has passed its end, such as `10m`. Events "
        "that come later are late.",
    )
    late: str = Field(
        default="version",
        pattern="^(version|next)$",
        description="Where late events go: `version`, to the next version of their span; `next`, to the next span "
        "that is committed, so that no span is written again.",
    )
    idle: Interval = Field(
        default="1m",
        description="Time without events after which a partition no longer delays the watermark.",
    )
    segment_rows: int = Field(
        default=100_000, ge=1, description="Events that are committed together, which bounds the memory."
    )
    segment_every: Interval | None = Field(
        default=None,
        description="Longest time that an event waits before it is committed to a segment. Default: `10s`; `1m` for "
        "spans of a day, `10m` for spans of a week.",
    )
    unique: Names = Field(
        default_factory=list,
        description="Columns that identify an event, if producers may send it twice: of two events of a span with "
        "the same values only the first is used. Only for spans of time.",
    )
    format: str | dict[str, Any] = Field(
        default="json",
        description=f"The format of the events: {EVENT_FORMATS.choices()}; `{{NAME: settings}}` where it has any. "
        "`{avro: {registry: URL}}` and `{protobuf: {registry: URL}}` read Confluent's wire format; further keys are "
        "`username`, `password`, `token`, `ca_file` (docs/streams.md).",
    )
    envelope: str = Field(
        default="none",
        pattern="^(none|cloudevents)$",
        description="`cloudevents`: each event is in a CloudEvents envelope. `ce_id`, `ce_source`, `ce_type`, "
        "`ce_subject` and `ce_time` are columns if `data.columns` names them.",
    )
    event_kib: int = Field(default=1024, ge=1, description="A larger event is a dead letter.")
    disk_mib: int = Field(
        default=8192,
        ge=1,
        description="Disk for events that are not in spans yet; reading pauses while it is full.",
    )

    @field_validator("source")
    @classmethod
    def _source(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            if len(value) != 1:
                raise ValueError(f"must name one kind of stream, got {', '.join(value) or 'none'}")
            STREAMS.check_name(next(iter(value)))
        return value

    @field_validator("format")
    @classmethod
    def _format(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError(f"must name one format, got {', '.join(value) or 'none'}")
        EVENT_FORMATS.check_name(value if isinstance(value, str) else next(iter(value)))
        return value

    @property
    def source_name(self) -> str:
        """The kind alone, as settings may hold a password."""
        return next(iter(self.source or {"none": None}))
