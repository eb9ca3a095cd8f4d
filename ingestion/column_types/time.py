"""Times and dates, stored as epoch seconds."""

import numpy as np
import pyarrow as pa

from noria.ingestion import times
from noria.ingestion.column_types import time_format
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Time(ColumnType):
    """The name may have a format, `time(%d.%m.%Y)`; texts in ISO 8601 are read beside it."""

    label = "a time (ISO 8601 or seconds since 1970)"
    storage = "int64"
    is_time = True

    def __init__(self, name: str):
        super().__init__(name)
        self._format = time_format(name)
        if self._format is not None:
            self.label = f"a time (format {self._format})"

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type)

    def recognizes(self, texts: pa.Array) -> np.ndarray:
        return times.looks_like_time(texts)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return times.parse(texts, self._format)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return times.parse(values, self._format)
