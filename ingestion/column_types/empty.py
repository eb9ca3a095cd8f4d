"""A column without a value so far; stored as numbers."""

import numpy as np
import pyarrow as pa

from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Empty(ColumnType):
    label = "a number (the column was empty in the first spans)"
    storage = "float64"
    numeric = True

    def holds(self, kind: pa.DataType) -> bool:
        return pa.types.is_null(kind)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_text(texts, pa.float64(), form)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_arrow(values, pa.float64())
