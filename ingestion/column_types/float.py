"""Numbers in 64 bits, decimals among them."""

import numpy as np
import pyarrow as pa

from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Float(ColumnType):
    label = "a number"
    storage = "float64"
    numeric = True

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_float64(arrow_type) or pa.types.is_decimal(arrow_type)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_text(texts, pa.float64(), form)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_arrow(values, pa.float64())
