"""A column without a value so far. The first values decide its type."""

import numpy as np
import pyarrow as pa

from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Empty(ColumnType):
    label = "empty, as the column was in the files before"

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_null(arrow_type)

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        return _none(texts)

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _none(values)


def _none(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Each value is refused, so that ingestion looks for the type that the column has now."""
    return pa.nulls(len(values), pa.float64()), np.asarray(values.is_valid())
