"""A file of JSON lines, read as text in bounded batches: the same rows as from CSV, number by number."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from noria.core.errors import DataError
from noria.ingestion.text_file import MARK, READ_ERRORS, Encoding, TextFile, unreadable

BATCH_ROWS = 65_536
# Numbers stay as they are written: 2.50, and 9223372036854775809, which no float holds.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_WORDS = {True: "true", False: "false"}


class JsonLinesFile:
    """One file with a JSON object in each line. `columns` are those of all rows; one that a row has not is missing."""

    def __init__(self, path: Path, encoding: str | None = None):
        self.path = path
        self._file = TextFile(path, encoding)
        self._columns: tuple[str, ...] | None = None

    @property
    def encoding(self) -> Encoding:
        """How its bytes became text."""
        return self._file.encoding

    def line(self, batch: pa.RecordBatch, row: int) -> str:
        """A row of a batch as an object of texts."""
        values = {name: column[row].as_py() for name, column in zip(self.columns, batch.columns, strict=True)}
        return json.dumps({k: v for k, v in values.items() if v is not None}, ensure_ascii=False)

    @property
    def columns(self) -> tuple[str, ...]:
        if self._columns is None:
            names: dict[str, None] = {}
            for row, _, _ in self._rows():
                if isinstance(row, dict):
                    names.update(dict.fromkeys(row))
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
            with self._file.open() as file:
                for line in _lines(file):
                    if not line.strip():
                        continue
                    number += 1
                    yield _read(line), number, line
        except READ_ERRORS as error:
            raise unreadable(error, self.path) from error
        if not number:
            raise DataError("the file is empty", where=self.path, next_step="give a file with rows")


def _read(line: str) -> dict | str:
    if MARK in line:
        return "bytes that are no UTF-8"
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    if not isinstance(row, dict):
        return "no JSON object"
    for name, value in row.items():
        if isinstance(value, dict | list):
            row[name] = json.dumps(value, ensure_ascii=False)
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
    while block := file.read(8 << 20):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line.decode("utf-8").lstrip("\ufeff")
    if rest:
        yield rest.decode("utf-8")
