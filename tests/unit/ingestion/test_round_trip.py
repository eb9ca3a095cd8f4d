"""Tables in any shape that people write, read back (hypothesis); and bytes that nobody meant."""

import bz2
import contextlib
import csv
import datetime
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import DataError
from noria.ingestion import tables, times
from noria.pipeline.init import time_formats

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


# Texts that no reader may take for numbers, times or marks: they begin with a word.
WORDS = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufdd0"), max_size=12
).map(lambda text: f"w {text}")
COLUMNS = {
    "whole": st.integers(-(2**53), 2**53),
    "fraction": st.floats(-1e30, 1e30, allow_nan=False).map(lambda value: float(np.float32(value))),
    "word": WORDS | st.sampled_from(['say "hi"', "a,b;c\td|e", "two\nlines", "'quoted'", "Ünï 价格"]),
    "truth": st.booleans(),
}


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of one table; all values but those of the id may be missing, and each column has one."""
    gaps = {name: st.none() | values for name, values in COLUMNS.items()}
    found = draw(st.lists(st.fixed_dictionaries(gaps), min_size=1, max_size=12))
    found.append({name: draw(values) for name, values in COLUMNS.items()})
    return [{"id": i} | {name: row[name] for name in COLUMNS} for i, row in enumerate(found)]


def cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@hypothesis.settings(SETTINGS, max_examples=25)
@hypothesis.given(rows=rows(), data=st.data())
def test_the_format_makes_no_difference(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """The same rows give the same columns from CSV in any dialect, JSON lines, a JSON list and Parquet."""
    dialect = {
        "delimiter": data.draw(st.sampled_from(",;\t|")),
        "quoting": data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "lineterminator": data.draw(st.sampled_from(["\n", "\r\n"])),
    }
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    pack = data.draw(st.sampled_from([("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)]))
    text = io.StringIO()
    writer = csv.writer(text, **dialect)
    writer.writerow(rows[0])
    writer.writerows([cell(value) for value in row.values()] for row in rows)
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"a.csv{pack[0]}").write_bytes(pack[1](text.getvalue().encode(encoding)))
        (folder / "a.jsonl").write_text(lines, encoding="utf-8")
        (folder / "a.json").write_text(json.dumps(rows, indent=data.draw(st.sampled_from([None, 1]))))
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        found = {path.name: tables.read_table(path).to_pydict() for path in sorted(folder.iterdir())}
    expected = {name: [row[name] for row in rows] for name in rows[0]}
    for name, columns in found.items():
        assert expected == columns, name


MOMENTS = st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2068, 1, 1))


@hypothesis.settings(SETTINGS, max_examples=40)
@hypothesis.given(
    form=st.sampled_from(time_formats.FORMATS),
    moments=st.lists(MOMENTS, min_size=1, max_size=9),
)
def test_times_come_back(form: str, moments: list[datetime.datetime]) -> None:
    """Text times in each format that `noria init` knows are read as they were written.

    Where another format fits all of them, too, both are named.
    """
    zone = datetime.timezone(datetime.timedelta(hours=2)) if "%z" in form else None
    moments = [moment.replace(microsecond=0, tzinfo=zone) for moment in moments]
    texts = [moment.strftime(form) for moment in moments]
    written = [datetime.datetime.strptime(text, form) for text in texts]
    values = pa.chunked_array([pa.array(texts)])
    _, forms = time_formats.event_times(values, "at")
    utc = datetime.timezone.utc
    expected = [
        int((moment if moment.tzinfo else moment.replace(tzinfo=utc)).timestamp()) for moment in written
    ]
    readings = [times.parse(values.combine_chunks(), each)[0].to_pylist() for each in forms or [None]]
    assert expected in readings, (texts, forms, readings)


@SETTINGS
@hypothesis.given(
    content=st.binary(max_size=400),
    suffix=st.sampled_from([".csv", ".json", ".jsonl", ".parquet", ".csv.gz"]),
)
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    """Bytes of any kind give a table or a DataError, never another exception."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            tables.read_table(path)
