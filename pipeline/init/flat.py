"""How `noria init` reads a table: columns that fit no event table, marks for missing values, and what it says."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion import conversion
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.formats import MemoryTable, ParquetTable, Table, TextTable

_MOST = 2**63 - 1


def unreadable(tables: Sequence[Table]) -> dict[str, str]:
    """Columns of typed tables that have no place in an event table, and why."""
    found: dict[str, str] = {}
    for table in tables:
        if not isinstance(table, ParquetTable | MemoryTable):
            continue
        schema = table.schema if isinstance(table, ParquetTable) else table.table.schema
        for field in schema:
            if conversion.of_arrow(field.type) is None:
                found[field.name] = f"holds {field.type}, which does not fit in a flat table"
            elif pa.types.is_uint64(field.type) and _beyond_int64(table, field.name):
                found[field.name] = "holds whole numbers beyond 2^63, which the event table cannot hold"
    return found


def marks(tables: Sequence[Table], columns: Sequence[str], types: Mapping[str, str]) -> dict[str, list[str]]:
    """Texts that mean "missing" in columns of numbers, and the columns in which they do."""
    found: dict[str, list[str]] = {}
    numbers = {kind.name for kind in conversion.known() if kind.numeric}
    for table in tables:
        if not isinstance(table, TextTable):
            continue
        for name, facts in table.facts.items():
            if name in columns and types.get(name, "float") in numbers:
                for mark in facts.marks:
                    if name not in found.setdefault(mark, []):
                        found[mark].append(name)
    return found


def declare_missing(tables: Sequence[Table], missing: Sequence[str]) -> None:
    """These texts mean "missing" in all text tables from now on."""
    for table in tables:
        if isinstance(table, TextTable):
            table.missing = tuple(missing)


def ambiguous(tables: Sequence[Table], kinds: Mapping[str, ColumnType]) -> list[str]:
    """A line about the columns whose numbers can be read with either decimal sign."""
    signs: dict[str, list[str]] = {}
    for table in tables:
        for name, facts in table.facts.items() if isinstance(table, TextTable) else ():
            number = name in kinds and kinds[name].numeric
            if number and facts.ambiguous and name not in signs.setdefault(facts.format.decimal, []):
                signs[facts.format.decimal].append(name)
    said = {",": ("1,234 is read as 1.234", "."), ".": ("1,234 is read as 1234", ",")}
    return [
        f"{', '.join(names)}: {said[sign][0]}; if this is wrong, give `--decimal {said[sign][1]}`"
        for sign, names in signs.items()
    ]


def notes(
    found: Mapping[str, list[str]], dropped: Mapping[str, str], formats: Sequence[str], times: Sequence[str]
) -> list[str]:
    """What was decided and why, a line for each decision."""
    lines = [
        f"{mark!r} is read as missing (in {', '.join(names)}): correct `data.missing` if it is a value"
        for mark, names in found.items()
    ]
    lines += [f"column {name!r} is not used: {why}" for name, why in dropped.items()]
    if len(formats) > 1:
        lines.append(
            f"all times fit {' and '.join(formats)}; the first is used: correct `time.format` in noria.yaml "
            "before the first run if it is wrong"
        )
    elif formats:
        lines.append(f"times are read with the format {formats[0]}")
    lines += [f"{name}: the hour and the weekday of this time are features" for name in times]
    return lines


def _beyond_int64(table: Table, name: str) -> bool:
    with DeadLetters(None, "table", "") as letters:
        for batch, _ in table.raw(letters, [name]):
            column = batch.column(batch.schema.get_field_index(name))
            if pc.any(pc.greater(column, pa.scalar(_MOST, pa.uint64()))).as_py():
                return True
    return False
