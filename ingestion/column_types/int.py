"""Whole numbers, also unsigned ones; up to 2^63."""

import numpy as np
import pyarrow as pa

from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Int(ColumnType):
    label = "a whole number"
    storage = "int64"
    numeric = True
    widens_to = ("float",)

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_integer(arrow_type)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_text(texts, pa.int64(), form)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_arrow(values, pa.int64())
