"""The section `stream` of a project's YAML file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from noria.core import periods
from noria.core.errors import ConfigError
from noria.core.settings import Names, Settings
from noria.ingestion.event_formats import EVENT_FORMATS
from noria.ingestion.streams import STREAMS

if TYPE_CHECKING:
    from noria.ingestion.segments.ingester import StreamSettings

__all__ = ["StreamSection"]


def _interval(value: str) -> str:
    try:
        if value != "0s":
            periods.seconds(value)
    except ConfigError as error:
        raise ValueError(error.what.replace("an interval must be", "must be an interval")) from None
    return value


Interval = Annotated[str, AfterValidator(_interval)]


# How long events wait in memory where the config does not say it: a span has about 1,000 segments at most.
SEGMENT_EVERY = {"day": "1m", "week": "10m"}
OTHERWISE = "10s"
SHARE = 10  # A span waits for the segment with its last events, so short spans have shorter segments.


def _segment_seconds(every: str) -> float:
    usual = _seconds(SEGMENT_EVERY.get(every, OTHERWISE))
    return min(usual, (periods.length(every) or math.inf) / SHARE)


def _seconds(interval: str) -> int:
    """Seconds of an interval, which may be 0s."""
    return 0 if interval == "0s" else periods.seconds(interval)


class StreamSection(Settings):
    """The keys of `stream`: which events `noria ingest` reads, and how they become spans."""

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
        description="Longest time that an event waits before it is committed to a segment. Default: "
        + "".join(f"`{time}` for spans of one {every}, " for every, time in SEGMENT_EVERY.items())
        + f"else `{OTHERWISE}`, but at most a tenth of the span.",
    )
    unique: Names = Field(
        default_factory=list,
        description="Columns that identify an event, if producers may send it twice: of two events of a span with "
        "the same values only the first is used. Only for spans of time.",
    )
    format: str | dict[str, Any] = Field(
        default="json",
        description=f"The format of the events: {EVENT_FORMATS.choices()}; `{{NAME: settings}}` where it has "
        "settings, such as `{avro: {registry: URL}}` (docs/streams.md).",
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
        return None if value is None else STREAMS.check_entry(value)

    @field_validator("format")
    @classmethod
    def _format(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        return EVENT_FORMATS.check_name(value) if isinstance(value, str) else EVENT_FORMATS.check_entry(value)

    @property
    def source_name(self) -> str:
        """The kind alone, as settings may hold a password."""
        return next(iter(self.source or {"none": None}))

    def for_ingester(self, every: str, folder: Path = Path()) -> "StreamSettings":
        """What the ingester gets, for spans of this length and a project in this folder."""
        from noria.ingestion.segments.ingester import StreamSettings

        name, settings = (
            next(iter(self.format.items())) if isinstance(self.format, dict) else (self.format, None)
        )
        form = EVENT_FORMATS.find(name, folder)
        return StreamSettings(
            lateness=_seconds(self.lateness),
            into_next=self.late == "next",
            idle=_seconds(self.idle),
            segment_rows=self.segment_rows,
            segment_seconds=_seconds(self.segment_every) if self.segment_every else _segment_seconds(every),
            unique=tuple(self.unique),
            cloudevents=self.envelope == "cloudevents",
            event_bytes=self.event_kib << 10,
            disk_bytes=self.disk_mib << 20,
            form=lambda: form(settings, folder),
        )
