"""The event streams, by name. One more is one more file here, or a class of the user's by import path."""

from noria.core.seams import Seam
from noria.ingestion.streams.base import Stream

STREAMS = Seam(Stream, "noria.ingestion.streams", "stream.source")
