"""Columns as a type of msgspec, which checks the values of many events in C."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

_WHOLE = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: dict[str, Any] = {
    "int": _WHOLE,
    "float": float,
    "bool": bool,
    "time": str | _WHOLE | float,
    "any": str | _WHOLE | float | bool,
}


def struct_of(columns: Mapping[str, str]) -> type:
    """The type of an event with these columns in this order, see `EventFormat.begin`."""
    # Any text is a column's name; a field's must be an identifier.
    fields = {f"f{i}": name for i, name in enumerate(columns)}
    return msgspec.defstruct(
        "Event",
        [(field, _TYPES[columns[name]] | None, None) for field, name in fields.items()],
        rename=fields,
        gc=False,
    )
