"""Times of day and lengths of time, stored as seconds."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion import times
from noria.ingestion.arrow_values import blank, matches
from noria.ingestion.column_types import _numbers
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import NumberFormat

_PATTERN = (
    r"^\s*(?P<sign>-?)(?P<hours>\d{1,4}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:[.,]\d{1,9})?))?"
    r"\s*(?P<half>(?:[aApP][mM])?)\s*$"
)
_HALF = r"[aApP][mM]\s*$"  # a half of the day has the hours 1 to 12
_TWELVE = r"^\s*(0?[1-9]|1[0-2]):"
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Clock(ColumnType):
    label = "a time of day or a length of time (H:MM or H:MM:SS)"

    def holds(self, arrow_type: pa.DataType) -> bool:
        return pa.types.is_time(arrow_type) or pa.types.is_duration(arrow_type)

    def recognizes(self, texts: pa.Array) -> np.ndarray:
        return _good(times.halves(texts))

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        texts = times.halves(texts)
        good = _good(texts)
        parts = pc.extract_regex(blank(texts, ~good), _PATTERN)

        def number(name: str) -> np.ndarray:
            digits = pc.replace_substring(pc.struct_field(parts, [_place(name)]).fill_null("0"), ",", ".")
            return np.asarray(pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.float64()))

        half = pc.utf8_lower(pc.struct_field(parts, [_place("half")]).fill_null(""))
        hours = number("hours")
        hours = np.where(np.asarray(pc.starts_with(half, "a")) & (hours == 12), 0, hours)
        hours = np.where(np.asarray(pc.starts_with(half, "p")) & (hours < 12), hours + 12, hours)
        seconds = 3600 * hours + 60 * number("minutes") + number("seconds")
        negative = np.asarray(pc.equal(pc.struct_field(parts, [_place("sign")]), "-").fill_null(False))
        return blank(pa.array(np.where(negative, -seconds, seconds)), ~good), np.asarray(
            texts.is_valid()
        ) & ~good

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        if not self.holds(values.type):
            return _numbers.from_arrow(values, pa.float64())
        whole = pa.int32() if pa.types.is_time32(values.type) else pa.int64()
        ticks = values.cast(whole).cast(pa.int64()).cast(pa.float64(), safe=False)
        unit = str(values.type).partition("[")[2].rstrip("]")  # Arrow 10 has no `unit` of a time
        return pc.divide(ticks, float(_TICKS[unit])), np.zeros(len(values), bool)


def _good(texts: pa.Array) -> np.ndarray:
    return matches(texts, _PATTERN) & (~matches(texts, _HALF) | matches(texts, _TWELVE))


def _place(name: str) -> int:
    return ("sign", "hours", "minutes", "seconds", "half").index(name)
