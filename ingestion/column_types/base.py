"""What a column type is: which values a column holds, and how they are read and stored.

The config reads the names of this folder at every start of the command line, so this file imports neither numpy nor
pyarrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from noria.ingestion.number_formats import NumberFormat

__all__ = ["ColumnType"]


class ColumnType:
    """The base of all column types. A subclass gives `label`, `storage`, `from_text` and `from_arrow`.

    Arrays are whole columns of a batch: compute on them with `pyarrow.compute` or NumPy, not row by row.

    Args:
      name: the type's name, or its import path.

    Attributes:
      label: what one value is, for messages: `a whole number`.
      storage: how the event table holds it: `int64`, `float64`, `float32` or `string`.
      numeric: its texts are numbers, which files write in several ways (1,234.5 or 1.234,5).
      is_time: it is stored as epoch seconds; `noria init` makes features of the hour and the weekday.
      missing: texts that mean "missing", beside those of `data.missing`; None: those of numbers (`NA`, `-`, ...).
      widens_to: names of the types that hold each value of this type without loss, the nearest first. A column whose
        values are of two types becomes the first type that both widen to.
    """

    label = ""
    storage = "float64"
    numeric = False
    is_time = False
    missing: tuple[str, ...] | None = None
    widens_to: tuple[str, ...] = ()

    def __init__(self, name: str):
        self.name = name

    def holds(self, arrow_type: pa.DataType) -> bool:
        """Whether columns of this Arrow type (of Parquet, pandas) have this column type, if the config names none."""
        return False

    def recognizes(self, texts: pa.Array) -> np.ndarray | None:
        """Which texts are surely of this type, `[rows]` bool; None where it is never found by texts alone.

        Args:
          texts: `string`, without blanks around them; no numbers, which are `int` or `float`.
        """
        return None

    def from_text(self, texts: pa.Array, form: NumberFormat) -> tuple[pa.Array, np.ndarray]:
        """Reads texts.

        Args:
          texts: `string` `[rows]`, null where the value is missing.
          form: how numbers are written: `form.plain(texts)` gives them as Arrow reads them.

        Returns:
          The values in `storage`'s type, `[rows]`, and a mask of the texts that are not of this type, which are null.
        """
        raise NotImplementedError

    def from_arrow(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        """Reads typed values of any Arrow type but text; see `from_text`. Values in `storage`'s type do not change.

        A type that cannot be read may raise `pyarrow.ArrowInvalid` or `ArrowNotImplementedError`: each value is bad.
        """
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColumnType) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name
