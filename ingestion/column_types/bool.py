"""True and false, stored as 1 and 0."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion.arrow_values import blank, matches
from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat


class Bool(ColumnType):
    label = "true or false"
    storage = "int64"
    widens_to = ("int", "float")

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_boolean(arrow_type)

    def recognizes(self, texts: pa.Array) -> np.ndarray:
        return np.asarray(pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["true", "false"])))

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        lower = pc.utf8_lower(texts)
        good = matches(lower, r"^(true|false|t|f|yes|no|y|n|on|off|[01](\.0*)?)$")
        truth = pa.array(matches(lower, r"^(true|t|yes|y|on|1(\.0*)?)$").astype(np.int64))
        return blank(truth, ~good), np.asarray(texts.is_valid()) & ~good

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        return _numbers.from_arrow(values, pa.int64())
