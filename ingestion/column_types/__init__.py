"""The column types, by name. One more is one more file here, or a class of the user's by import path."""

from noria.core.seams import Seam
from noria.ingestion.column_types.base import ColumnType

COLUMN_TYPES = Seam(ColumnType, "noria.ingestion.column_types", "data.types")
