"""The event sources, by name. One more is one more file here, or a class of the user's by import path."""

from noria.core.seams import Seam
from noria.ingestion.sources.base import Source

SOURCES = Seam(Source, "noria.ingestion.sources", "data.source")
