"""Tables in any shape that people write, read back (hypothesis); and bytes that nobody meant."""

import contextlib
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from noria.core.errors import DataError
from noria.ingestion import tables

SETTINGS = hypothesis.settings(max_examples=60, deadline=None, database=None, derandomize=True)
# Decimal sign, thousands separator, delimiters that go with them.
NUMBERS = [
    (".", "", ",;\t|"),
    (",", "", ";\t|"),
    (",", ".", ";\t|"),
    (".", ",", ";\t|"),
    (",", " ", ";\t|"),
    (".", "'", ",;\t|"),
]


def written(value: float, decimal: str, group: str) -> str:
    return f"{value:,.2f}".translate(str.maketrans({",": group, ".": decimal}))


@SETTINGS
@hypothesis.given(data=st.data())
def test_numbers_and_words_come_back(data: st.DataObject) -> None:
    """Whatever the number format, delimiter, line ending and encoding, the values are the ones written."""
    decimal, group, delimiters = data.draw(st.sampled_from(NUMBERS))
    delimiter = data.draw(st.sampled_from(delimiters))
    ending = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    cents = data.draw(st.lists(st.integers(-(10**9), 10**9), min_size=3, max_size=30))
    words = data.draw(
        st.lists(st.sampled_from(["Köln", "a b", "价格", "x.y"]), min_size=len(cents), max_size=len(cents))
    )
    # One value shows both signs; without it 1,234 may be a fraction or a thousand.
    cents = [123_456_789, *cents]
    words = ["Köln", *words]
    lines = [f"n{delimiter}word"]
    lines += [
        f"{written(c / 100, decimal, group)}{delimiter}{word}" for c, word in zip(cents, words, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes((ending.join(lines) + ending).encode(encoding))
        found = tables.read_table(path).to_pydict()
    assert {"n": [pytest.approx(c / 100) for c in cents], "word": words} == found


@SETTINGS
@hypothesis.given(
    content=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".jsonl", ".parquet", ".csv.gz"])
)
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    """Bytes of any kind give a table or a DataError, never another exception."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            tables.read_table(path)
