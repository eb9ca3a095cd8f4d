"""The formats of events, by name. One more is one more file here, or a class of the user's by import path."""

from noria.core.seams import Seam
from noria.ingestion.event_formats.base import EventFormat

EVENT_FORMATS = Seam(EventFormat, "noria.ingestion.event_formats", "stream.format")
