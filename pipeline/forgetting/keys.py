"""The keys whose rows are forgotten, and how they are found in columns, in records and in text."""

import csv
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError

Key = tuple[tuple[str, str], ...]  # (column, value), by column


@dataclasses.dataclass(frozen=True)
class Keys:
    """A row holds a key if each of the key's columns has its value.

    Attributes:
      keys: each (column, value as text), sorted by column. A number is equal to a text that reads the same: `42` is 42
        and 42.0 in a column of numbers, and only `42` in a column of texts.
    """

    keys: tuple[Key, ...]

    @classmethod
    def read(cls, given: Iterable[str], file: Path | None = None) -> "Keys":
        """Keys of the command line and of a file.

        Args:
          given: `COLUMN=VALUE`, one key each.
          file: a CSV file: its header names the columns, each line is one key.

        Raises:
          DataError: there is no key, or one that cannot be read.
        """
        keys: list[Key] = []
        for text in given:
            column, sign, value = text.partition("=")
            if not (column and sign and value):
                raise DataError(
                    f"a key must be COLUMN=VALUE, got {text!r}",
                    where="noria forget",
                    next_step="write it like --key customer=42",
                )
            keys.append(((column.strip(), value.strip()),))
        if file is not None:
            keys += _of_file(file)
        if not keys:
            raise DataError(
                "no key was given",
                where="noria forget" if file is None else file,
                next_step="name it: noria forget --key customer=42 --reason ...; --keys-file takes a CSV file",
            )
        return cls(tuple(sorted(set(keys))))

    @classmethod
    def from_json(cls, values: Sequence[Mapping[str, str]]) -> "Keys":
        return cls(tuple(tuple(sorted(each.items())) for each in values))

    def to_json(self) -> list[dict[str, str]]:
        return [dict(key) for key in self.keys]

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns of the keys."""
        return tuple(sorted({column for key in self.keys for column, _ in key}))

    @property
    def digest(self) -> str:
        """sha256 of the keys: shows later that a key was among them, without naming it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows hold a key, `[rows]` bool. A batch without a column of a key has none of it."""
        found = np.zeros(batch.num_rows, bool)
        names = batch.schema.names
        for columns, values in self._by_columns.items():
            if not all(column in names for column in columns):
                continue
            arrays = [batch.column(names.index(column)) for column in columns]
            mask = _among(arrays[0], {each[0] for each in values})
            if len(columns) > 1:
                places = np.flatnonzero(mask)
                taken = [array.take(pa.array(places)).to_pylist() for array in arrays]
                for place, *row in zip(places, *taken, strict=True):
                    mask[place] = any(all(map(same, row, each)) for each in values)
            found |= mask
        return found

    def in_record(self, record: Mapping[str, Any], text: str) -> bool:
        """Whether a record that could not be read as a row holds a key.

        Args:
          record: what is known of its columns.
          text: the record as it came. Where the record lacks a column of a key, the key's values are looked for here,
            as words: a row too much is forgotten then, rather than one too few.
        """
        return any(
            all(same(record[column], value) for column, value in key)
            if all(column in record for column, _ in key)
            else all(_is_word(value, text) for _, value in key)
            for key in self.keys
        )

    @functools.cached_property
    def _by_columns(self) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
        found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for key in self.keys:
            columns, values = zip(*key, strict=True)
            found.setdefault(columns, []).append(values)
        return found


def same(value: Any, text: str) -> bool:
    """Whether a value is the one that a key's text names."""
    if value is None:
        return False
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int | float):
        return value == _number(text)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip() == text


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _among(values: pa.Array, texts: set[str]) -> np.ndarray:
    """Which values of a column are among a key's texts, `[rows]` bool."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _among(values.dictionary_decode(), texts)
    if pa.types.is_null(kind):
        return np.zeros(len(values), bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        wanted: list[Any] = [_number(text) for text in texts]
        if pa.types.is_integer(kind):
            wanted = [int(each) for each in wanted if each is not None and each == each // 1]
            values, kind = (
                (values, pa.uint64()) if kind == pa.uint64() else (values.cast(pa.int64()), pa.int64())
            )
            low, high = (0, 2**64) if kind == pa.uint64() else (-(2**63), 2**63)
            wanted = [each for each in wanted if low <= each < high]
        else:
            if kind == pa.float32():
                wanted = [None if each is None else float(np.float32(each)) for each in wanted]
            values, kind = values.cast(pa.float64()), pa.float64()
            wanted = [float(each) for each in wanted if each is not None]
        return np.asarray(pc.is_in(values, value_set=pa.array(wanted, kind)).fill_null(False))
    if pa.types.is_string(kind):
        trimmed = pc.utf8_trim_whitespace(values)
        return np.asarray(pc.is_in(trimmed, value_set=pa.array(sorted(texts), pa.string())).fill_null(False))
    coded = values.dictionary_encode()  # times, decimals, bytes
    known = [any(same(value, text) for text in texts) for value in coded.dictionary.to_pylist()]
    codes = np.asarray(coded.indices.fill_null(len(known)))
    return np.array([*known, False])[codes]


def _is_word(value: str, text: str) -> bool:
    """Whether a text holds a value that is not a part of a longer word or number."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", text) is not None


def _of_file(path: Path) -> list[Key]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            columns = lines.fieldnames or []
            keys = []
            for line in lines:
                if set(line) != set(columns) or not all(line.values()):
                    raise DataError(
                        f"line {lines.line_num} must have a value for {', '.join(columns)}",
                        where=path,
                        next_step="a CSV file with the columns' names in its first line, and one key in each other",
                    )
                keys.append(tuple(sorted((name.strip(), value.strip()) for name, value in line.items())))
            return keys
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the keys cannot be read: {error}", where=path, next_step="give a CSV file in UTF-8"
        ) from error
