"""The column types, by name. One more is one more file here, or a class of the user's by import path."""

import re
from pathlib import Path

from noria.core.seams import Seam
from noria.ingestion.column_types.base import ColumnType

__all__ = ["COLUMN_TYPES", "EXCEL", "time_format"]

# The format of numbers that are days as Excel counts them: 1 is 1 January 1900, a fraction is the time of day.
EXCEL = "excel"
_TIME = "time"


def time_format(name: str) -> str | None:
    """The format in the name of a type of times, `time(%d.%m.%Y)` or `time(excel)`; None in other names."""
    found = re.fullmatch(rf"{_TIME}\((.*%.*|{EXCEL})\)", name)
    return found[1] if found else None


class _ColumnTypes(Seam[ColumnType]):
    """`time(FORMAT)` is the type `time` of texts in this format, one of `strptime`, or of Excel's days."""

    def choices(self) -> str:
        further = (
            f"`time(%d.%m.%Y)` for times in this format (Python's strptime), `time({EXCEL})` for Excel's days"
        )
        return f"{super().choices()}; {further}"

    def check_name(self, name: str) -> str:
        return name if time_format(name) else super().check_name(name)

    def find(self, name: str, project: Path | str | None = None) -> type[ColumnType]:
        return super().find(_TIME if time_format(name) else name, project)


COLUMN_TYPES = _ColumnTypes(ColumnType, "noria.ingestion.column_types", "data.types")
