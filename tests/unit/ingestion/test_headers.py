"""Where the rows of a CSV file begin, and what its columns are called."""

from pathlib import Path

import pytest

from noria.core.errors import DataError
from noria.ingestion import dialect, tables

ROWS = [f"{i}.5,k{i % 3},{i % 2}" for i in range(30)]


def table(path: Path, lines: list[str], **options):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tables.open_tables(path, **options)[0]


@pytest.mark.parametrize(
    ("before", "count"),
    [(["Report of May 2024", ""], 2), (["Sales, by day"], 1), (["# made by tool 3", "# 2024-05-01"], 2)],
)
def test_lines_before_the_header(tmp_path: Path, before: list[str], count: int) -> None:
    """Titles and comments are not read, and a note says how many lines."""
    found = table(tmp_path / "a.csv", [*before, "x,k,y", *ROWS])
    assert ("x", "k", "y") == found.columns
    assert 30 == len(tables.read_table(found))
    assert any(f"not read: {count}" in note for note in found.notes)


def test_the_line_with_excels_separator(tmp_path: Path) -> None:
    """`sep=;` names the delimiter; decimal commas are read."""
    rows = [row.replace(",", ";").replace(".", ",") for row in ROWS]
    read = tables.read_table(table(tmp_path / "a.csv", ["sep=;", "x;k;y", *rows]))
    assert [0.5, 1.5] == read.column("x").to_pylist()[:2]


def test_rows_with_one_field_more_than_the_header(tmp_path: Path) -> None:
    """An empty field at the end of each row, and the names of the rows that R writes in front."""
    assert ("x", "k", "y", "column_4") == table(
        tmp_path / "a.csv", ["x,k,y", *(f"{row}," for row in ROWS)]
    ).columns
    rows = [f'"{i}",{row}' for i, row in enumerate(ROWS)]
    assert ("column_1", "x", "k", "y") == table(tmp_path / "b.csv", ["x,k,y", *rows]).columns


def test_columns_of_one_name(tmp_path: Path) -> None:
    """They are numbered, with a note; a name that exists is not given twice."""
    found = table(tmp_path / "a.csv", ["x,x,x_2,x", "1,2,3,4"])
    assert ("x", "x_3", "x_2", "x_4") == found.columns
    assert any("'x_3', 'x_4'" in note for note in found.notes)


def test_names_without_what_nobody_sees() -> None:
    """A byte order mark within the header, as files have that were put together from parts."""
    assert ("x", "k") == dialect.find("x,\ufeffk\n1,2\n", Path("a.csv")).columns


def test_a_file_without_a_header(tmp_path: Path) -> None:
    """Its names are given; a count that does not fit is refused, and so are numbers for names, with the way on."""
    read = tables.read_table(table(tmp_path / "a.csv", ROWS, header=["x", "k", "y"]))
    assert (30, "k0") == (len(read), read.column("k")[0].as_py())
    with pytest.raises(DataError, match="3 fields, and 2 names"):
        _ = table(tmp_path / "a.csv", ROWS, header=["x", "k"]).columns
    with pytest.raises(DataError, match="--header"):
        _ = table(tmp_path / "b.csv", ["1,2", "3,4"]).columns
    assert any("--header" in note for note in table(tmp_path / "a.csv", ROWS).notes)
    assert ("0", "1") == table(tmp_path / "c.csv", ["0,1", "3,4"]).columns  # what pandas writes


def test_blanks_before_quotes(tmp_path: Path) -> None:
    """A quoted field begins behind them, even if it holds a delimiter; a file without them keeps its blanks."""
    path = tmp_path / "a.csv"
    path.write_text(
        "name,      medal,    time\n" + '"Bolt, U.", "GOLD",   9.63\n"Blake",    "A ""B""", 9.75\n' * 20
    )
    assert {"name": ["Bolt, U.", "Blake"], "medal": ["GOLD", 'A "B"'], "time": [9.63, 9.75]} == (
        tables.read_table(path).slice(0, 2).to_pydict()
    )
    path.write_text("a,b\n" + '1,"x, "\n' * 20)
    assert {"a": [1], "b": ["x,"]} == tables.read_table(path).slice(0, 1).to_pydict()


def test_aligned_columns(tmp_path: Path) -> None:
    """One or more blanks and tabs between the columns, as in many older public tables; quoted names keep theirs."""
    rows = [f'{i:6.1f}   {i % 5:3d}  ?   {i % 2}\t"ford torino"' for i in range(40)]
    found = table(tmp_path / "a.data", rows, header=["x", "k", "hp", "y", "car"], missing=["?"])
    read = tables.read_table(found, missing=["?"])
    assert (40, [0.0, 1.0], "ford torino") == (
        len(read),
        read.column("x").to_pylist()[:2],
        read.column("car")[0].as_py(),
    )
    assert ("x", "k") == table(
        tmp_path / "b.txt", ["      x    k", *(f"{i:7d} {i % 3:4d}  " for i in range(9))]
    ).columns
    assert 9 == len(tables.read_table(tmp_path / "b.txt"))
    tabs = ["event time\tvalue", *(f"2024-01-01 10:0{i}\t{i}" for i in range(9))]
    assert ("event time", "value") == table(tmp_path / "c.tsv", tabs).columns
