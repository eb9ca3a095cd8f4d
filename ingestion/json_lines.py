"""A file of JSON lines, or of one JSON list, read as text in bounded batches: the same rows as from CSV, number by
number."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from noria.core.errors import DataError
from noria.ingestion.arrow_values import BATCH_ROWS
from noria.ingestion.text_file import (
    BLOCK_BYTES,
    MARK,
    READ_ERRORS,
    Encoding,
    TextFile,
    reason_of,
    unreadable,
)

# Characters of an element of a list at most.
LONGEST = 64 << 20
_NOTHING = re.compile(r"[\s\ufeff]*")
# Numbers stay as they are written: 2.50, and 9223372036854775809, which no float holds.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_WORDS = {True: "true", False: "false"}


class JsonLinesFile:
    """One file with a JSON object in each line, or with a list of objects.

    `columns` are those of all rows; one that a row has not is missing.
    """

    def __init__(self, path: Path, encoding: str | None = None):
        self.path = path
        self._file = TextFile(path, encoding)
        self._columns: tuple[str, ...] | None = None
        self._nested: dict[str, None] = {}

    @property
    def encoding(self) -> Encoding:
        """How its bytes became text."""
        return self._file.encoding

    def line(self, batch: pa.RecordBatch, row: int) -> str:
        """A row of a batch as an object of texts."""
        values = {name: column[row].as_py() for name, column in zip(self.columns, batch.columns, strict=True)}
        return json.dumps({k: v for k, v in values.items() if v is not None}, ensure_ascii=False)

    @property
    def nested(self) -> tuple[str, ...]:
        """The columns with lists or objects in a row."""
        _ = self.columns
        return tuple(self._nested)

    @property
    def columns(self) -> tuple[str, ...]:
        if self._columns is None:
            names: dict[str, None] = {}
            rows, nested = 0, False
            for row, _, _ in self._rows():
                if isinstance(row, dict):
                    names.update(dict.fromkeys(row))
                    rows += 1
                    nested = rows == 1 and all(str(value).startswith(("[", "{")) for value in row.values())
            if nested and rows == 1 and self.path.suffix.lower() == ".json":
                raise self._one_object()
            if not names:
                raise DataError(
                    "no row of the file is a JSON object with names and values",
                    where=self.path,
                    next_step='write rows such as {"fare": 7.5, "zone": "A"}, one a line',
                )
            self._columns = tuple(names)
        return self._columns

    def batches(self, on_bad_row=None) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows as text, and their numbers, from 1."""
        names = self.columns
        rows: list[dict] = []
        numbers: list[int] = []
        for row, number, line in self._rows():
            if isinstance(row, str):
                if on_bad_row is not None:
                    on_bad_row(number, line.replace(MARK, "\ufffd"), row)
                continue
            rows.append(row)
            numbers.append(number)
            if len(rows) == BATCH_ROWS:
                yield _batch(rows, names), np.array(numbers)
                rows, numbers = [], []
        if rows:
            yield _batch(rows, names), np.array(numbers)

    def _rows(self) -> Iterator[tuple[dict | str, int, str]]:
        """Each row (or what is wrong with it), its number, its line."""
        number = 0
        try:
            is_list = self._file.head.lstrip().startswith("[")
            with self._file.open() as file:
                for line in self._elements(file) if is_list else _lines(file):
                    if not line.strip():
                        continue
                    number += 1
                    row = _read(line, self._nested)
                    if number == 1 and not is_list and isinstance(row, str) and line.strip() == "{":
                        raise self._one_object()
                    yield row, number, line
        except READ_ERRORS as error:
            raise unreadable(error, self.path) from error
        if not number:
            raise DataError("the file is empty", where=self.path, next_step="give a file with rows")

    def _elements(self, file: IO[bytes] | io.IOBase) -> Iterator[str]:
        """The text of each element of a list."""
        text, at, number, ended = "", 0, 0, False
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            at = _skip(text, at)
            if text[at : at + 1] == ("[" if number == 0 else ","):
                at = _skip(text, at + 1)
                number = max(number, 1)
            if number and text[at : at + 1] == "]":
                return
            try:
                end = _DECODER.raw_decode(text, at)[1]
                if end == len(text) and not ended:
                    raise ValueError("the rest of it may follow")
            except (ValueError, RecursionError) as error:
                if not ended and len(text) - at < LONGEST:
                    block = file.read(BLOCK_BYTES)
                    ended = not block
                    text, at = text[at:] + decoder.decode(block, final=ended), 0
                    continue
                raise DataError(
                    f"the JSON list cannot be read after row {max(number - 1, 0)}: {reason_of(error)}",
                    where=self.path,
                    next_step="look there for a mistake, or write the file again; it may be truncated",
                ) from error
            yield text[at:end]
            number += 1
            at = end

    def _one_object(self) -> DataError:
        return DataError(
            "the file holds one JSON object, not a list of objects",
            where=self.path,
            next_step="write the list of its rows to a file alone, such as with: jq '.rows' data.json > rows.json",
        )


def _skip(text: str, at: int) -> int:
    """The place of the next character that is not a blank."""
    found = _NOTHING.match(text, at)
    return found.end() if found else at


def _read(line: str, nested: dict[str, None]) -> dict | str:
    """The row with texts for lists and objects, whose names are added to `nested`; or what is wrong."""
    if MARK in line:
        return "bytes that are not text in UTF-8"
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    if not isinstance(row, dict):
        return "no JSON object"
    for name, value in row.items():
        if isinstance(value, dict | list):
            row[name] = json.dumps(value, ensure_ascii=False)
            nested[name] = None
    return row


def _batch(rows: list[dict], names: tuple[str, ...]) -> pa.RecordBatch:
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        values = [_WORDS[v] if v is True or v is False else v for v in values]
        columns.append(pa.array(values, pa.string()))
    return pa.RecordBatch.from_arrays(columns, list(names))


def _lines(file) -> Iterator[str]:
    rest = b""
    while block := file.read(BLOCK_BYTES):
        lines = (rest + block).replace(b"\r", b"\n").split(b"\n")  # text in JSON holds neither
        rest = lines.pop()
        for line in lines:
            yield line.decode("utf-8").lstrip("\ufeff")
    if rest:
        yield rest.decode("utf-8")
