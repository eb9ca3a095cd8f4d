"""Text: categories, codes, names. Bytes must be UTF-8."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion import times
from noria.ingestion.arrow_values import is_text
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import MISSING, NumberFormat


class String(ColumnType):
    label = "text"
    storage = "string"
    missing = MISSING

    def holds(self, arrow_type: pa.DataType) -> bool:
        return is_text(arrow_type)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return texts, np.zeros(len(texts), bool)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        none_bad = np.zeros(len(values), bool)
        if pa.types.is_floating(values.type):
            words = [
                None if v is None or v != v else f"{v:.0f}" if v % 1 == 0 else repr(v)
                for v in values.to_pylist()
            ]
            return pa.array(words, pa.string()), none_bad
        if pa.types.is_decimal(values.type):
            words = [None if v is None else format(v.normalize(), "f") for v in values.to_pylist()]
            return pa.array(words, pa.string()), none_bad
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            values = times.parse(values)[0]
        return pc.cast(values, pa.string()), none_bad
