"""Times and dates, stored as epoch seconds."""

import numpy as np
import pyarrow as pa

from noria.ingestion import times
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Time(ColumnType):
    label = "a time (ISO 8601 or seconds since 1970)"
    storage = "int64"
    is_time = True

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type)

    def recognizes(self, texts: pa.Array) -> np.ndarray:
        return times.looks_like_time(texts)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return times.parse(texts)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return times.parse(values)
