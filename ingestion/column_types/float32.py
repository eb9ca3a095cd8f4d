"""Numbers in 32 bits, which take half the space of `float`."""

import numpy as np
import pyarrow as pa

from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Float32(ColumnType):
    label = "a number"
    storage = "float32"
    numeric = True
    widens_to = ("float",)

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_float16(arrow_type) or pa.types.is_float32(arrow_type)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_text(texts, pa.float32(), form)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_arrow(values, pa.float32())
