"""Numbers as people, spreadsheets and bookkeepers write them."""

from pathlib import Path

import pyarrow as pa
import pytest

from noria.ingestion import tables
from noria.ingestion.number_formats import money, plain_signs

VALUES = [1234.5, -7.25, 0.5]
WAYS = {
    "$": ["$1,234.50", "-$7.25", "$0.50"],
    "code": ["USD 1,234.50", "USD -7.25", "USD 0.50"],
    "€": ["1.234,50 €", "-7,25 €", "0,50 €"],
    "brackets": ["1,234.50", "(7.25)", "0.50"],
    "bookkeeper": ["1,234.50", "7.25-", "0.50"],
    "minus": ["1234.5", "\u22127.25", "0.5"],
    "thin": ["1\u2009234.5", "-7.25", "0.5"],
    "Fortran": ["1.2345D3", "-7.25D0", "5.D-1"],
}


@pytest.mark.parametrize("way", WAYS)
def test_numbers_with_signs_around_them(tmp_path: Path, way: str) -> None:
    """All of them are numbers, also those of several columns of one file."""
    rows = [f"{text}\t{i % 2}" for i in range(20) for text in WAYS[way]]
    (tmp_path / "a.tsv").write_text("\n".join(["x\ty", *rows]), encoding="utf-8")
    assert VALUES == tables.read_table(tmp_path / "a.tsv").column("x").to_pylist()[:3]


def test_amounts_in_several_currencies_are_text(tmp_path: Path) -> None:
    """The digits alone would be wrong."""
    rows = [f"{i}.50 {('EUR', 'USD')[i % 2]},1" for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *rows]), encoding="utf-8")
    assert pa.string() == tables.read_table(tmp_path / "a.csv").column("x").type
    assert {"EUR", "$"} == money(pa.array(["5 EUR", "($7.10)", "word"]))


def test_texts_that_are_no_numbers_stay() -> None:
    """Grades, ranges, telephone numbers."""
    texts = ["5-", "A-", "5-7", "(030) 12", "12 kg"]
    assert texts == plain_signs(pa.array(texts)).to_pylist()


def test_what_spreadsheets_and_databases_write_for_nothing(tmp_path: Path) -> None:
    """Failed formulas and \\N are missing; blanks around a mark and cells of blanks do not matter."""
    marks = ["#DIV/0!", "#VALUE!", "\\N", "(null)", "--", " NA ", "   "]
    rows = [f"{i}.5,{text},1" for i, text in enumerate(["a", "b"] * 20)] + [
        f"{mark},{mark},0" for mark in marks
    ]
    (tmp_path / "a.csv").write_text("\n".join(["x,k,y", *rows]), encoding="utf-8")
    read = tables.read_table(tmp_path / "a.csv")
    assert (7, pa.float64()) == (read.column("x").null_count, read.column("x").type)
    assert ["--"] == read.column("k").to_pylist()[-3:-2] and 6 == read.column("k").null_count


def test_a_mark_with_blanks_around_it_is_missing(tmp_path: Path) -> None:
    """`39, ?, 5`, as the census table of UCI is written."""
    rows = [f"{i}, {'?' if i % 9 == 0 else i}, {i % 2}" for i in range(100)]
    (tmp_path / "a.csv").write_text("\n".join(["x, age, y", *rows]), encoding="utf-8")
    found = tables.open_tables(tmp_path / "a.csv", missing=["?"])
    assert 12 == tables.read_table(found, missing=["?"]).column("age").null_count
