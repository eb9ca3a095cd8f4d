"""What names of files and folders say: which files hold a table, and the keys of partitioned folders."""

from collections.abc import Iterable
from pathlib import PurePath
from urllib.parse import unquote

PARQUET = (".parquet", ".pq", ".parq")
CSV = (".csv", ".tsv", ".txt", ".tab", ".psv", ".data")
JSON_LINES = (".jsonl", ".ndjson")
JSON = (".json",)
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
# Files beside tables.
BESIDE = ("readme", "license", "licence", "changelog")
# Hive's name of the folder for rows without a value.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def is_table(path: PurePath) -> bool:
    """Whether a file of a folder is a table by its name; `path` is relative to the folder.

    Names that begin with `.` or `_` are those of tools, such as `_SUCCESS` and `_delta_log`; README.txt is for people.
    """
    if any(part.startswith((".", "_")) for part in path.parts) or path.name.lower().startswith(BESIDE):
        return False
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in CSV + JSON_LINES + JSON + PARQUET


def keys(folders: Iterable[str]) -> dict[str, str | None]:
    """The columns that the names of partitioned folders hold: `year=2024/month=05` as Hive and Spark write them."""
    found: dict[str, str | None] = {}
    for folder in folders:
        name, equals, value = folder.partition("=")
        if name and equals:
            found[unquote(name)] = None if value == NO_VALUE else unquote(value)
    return found
