"""Tables from outside: each dialect gives the same rows, and bad rows are named."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import DataError
from noria.ingestion import conversion, tables
from noria.ingestion.dead_letters import DeadLetters

ROWS = {"city": ["Köln", "a, b", None, 'say "hi"'], "x": [1.5, 2.0, None, -3.0], "n": [1, 2, 3, None]}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def csv_text(delimiter: str, quoted: str = "", missing: str = "") -> str:
    def field(value: object) -> str:
        text = missing if value is None else str(value)
        needs = any(c in text for c in f'{delimiter}"\n')
        return '"' + text.replace('"', '""') + '"' if needs else text

    header = delimiter.join(f"{quoted}{name}{quoted}" for name in ROWS)
    lines = [delimiter.join(field(value) for value in row) for row in zip(*ROWS.values(), strict=True)]
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_every_dialect_gives_the_same_table(tmp_path: Path, delimiter: str, encoding: str) -> None:
    """Delimiter, quotes, encoding and byte-order mark are found in the file."""
    path = write(tmp_path / "a.csv", csv_text(delimiter, quoted='"'), encoding)
    assert ROWS == tables.read_table(path).to_pydict()


@pytest.mark.parametrize("missing", ["", "NA", "null", "NaN", "nan", "N/A", "NULL"])
def test_missing_values_are_null_in_every_kind_of_column(tmp_path: Path, missing: str) -> None:
    """Numbers stay numbers although some are missing."""
    table = tables.read_table(write(tmp_path / "a.csv", csv_text(",", missing=missing)))
    assert ROWS == table.to_pydict()
    assert [pa.string(), pa.float64(), pa.int64()] == table.schema.types


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    """gzip and zip are read like plain files."""
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="utf-8") as file:
        file.write(csv_text(","))
    with zipfile.ZipFile(tmp_path / "b.csv.zip", "w") as archive:
        archive.writestr("b.csv", csv_text(","))
    assert ROWS == tables.read_table(tmp_path / "a.csv.gz").to_pydict()
    assert ROWS == tables.read_table(tmp_path / "b.csv.zip").to_pydict()


def test_single_quotes_newlines_in_values_and_crlf(tmp_path: Path) -> None:
    """Quoted values may hold line ends; headers quoted with ' are read without the quotes."""
    path = write(tmp_path / "a.csv", "'id','text'\r\n1,'two\nlines'\r\n2,'it''s'\r\n")
    assert {"id": [1, 2], "text": ["two\nlines", "it's"]} == tables.read_table(path).to_pydict()


def test_kinds_are_found(tmp_path: Path) -> None:
    """Whole numbers, numbers, truth values, times, codes with leading zeros, text, and nothing at all."""
    path = write(
        tmp_path / "a.csv",
        "int,float,bool,time,code,text,none,plus\n"
        "1,1,true,2013-01-01T00:00:00Z,007,a,,+1\n"
        "2,2.5e3,False,2013-01-02,012,b,NA,+2\n",
    )
    assert {
        "int": [1, 2],
        "float": [1.0, 2500.0],
        "bool": [1, 0],
        "time": [1356998400, 1357084800],
        "code": ["007", "012"],
        "text": ["a", "b"],
        "none": [None, None],
        "plus": [1, 2],
    } == tables.read_table(path).to_pydict()


def test_decimal_commas_beside_semicolons(tmp_path: Path) -> None:
    """3,14 is a number where columns are cut by semicolons."""
    path = write(tmp_path / "a.csv", "x;y\n3,14;1\n-2,5;2\n")
    assert {"x": [3.14, -2.5], "y": [1, 2]} == tables.read_table(path).to_pydict()


def test_globs_and_folders_unify_kinds(tmp_path: Path) -> None:
    """Whole numbers in one file and fractions in the next become one column, in the files' order."""
    write(tmp_path / "a.csv", "x,y\n1,a\n")
    pq.write_table(pa.table({"x": [2.5], "y": ["b"], "more": [1]}), tmp_path / "b.parquet")
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / "notes.md", "no table")
    expected = {"x": [1.0, 2.5], "y": ["a", "b"]}
    assert expected == tables.read_table(tmp_path).to_pydict()
    assert expected == tables.read_table(str(tmp_path / "[ab].*")).to_pydict()
    with pytest.raises(DataError, match="no file matches"):
        tables.read_table(tmp_path / "*.tsv")


def test_tables_in_memory(tmp_path: Path) -> None:
    """pandas and Arrow tables give what their files would; the same content has the same digest."""
    frame = pd.DataFrame(
        {
            "t": pd.to_datetime(["2013-01-01", None]),
            "c": pd.Categorical(["x", "y"]),
            "b": [True, False],
            "f": np.array([1.5, np.nan], np.float32),
            "d": pd.array([1, None], dtype="Int64"),
        }
    )
    expected = {"t": [1356998400, None], "c": ["x", "y"], "b": [1, 0], "f": [1.5, None], "d": [1, None]}
    assert expected == tables.read_table(frame).to_pydict()
    [first], [second] = tables.open_tables(frame), tables.open_tables(frame.copy())
    assert first.digest == second.digest
    assert first.digest != tables.open_tables(frame.assign(b=False))[0].digest


def test_sliced_text_columns_keep_their_values() -> None:
    """Batches of a large column are slices of it; none of its values may move."""
    words = [f"w{i % 1000}" if i % 7 else None for i in range(200_000)]
    assert words == tables.read_table(pa.table({"w": words}).combine_chunks())["w"].to_pylist()


def test_large_files_come_in_bounded_batches(tmp_path: Path) -> None:
    """A file is never held as a whole, and rows keep their numbers across blocks."""
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("i,text\n")
        for i in range(1, 300_001):
            file.write(f"{i},{'x' * 100}\n" if i % 100_000 else "too,many,fields\n")
    [table] = tables.open_tables(path)
    with DeadLetters(None, "big", "") as letters:
        parts = list(tables.read([table], tables.columns_of([table]), letters))
    assert len(parts) > 3
    numbers = np.concatenate([part.numbers for part in parts])
    values = np.concatenate([part.batch.column(0).to_numpy() for part in parts])
    assert np.array_equal(numbers, values)
    assert 3 == letters.count


def rows_of(path: Path, count: int, harm: dict[int, str]) -> Path:
    lines = ["id,fare,kind"]
    for row in range(1, count + 1):
        lines.append(harm.get(row, f"{row},{row / 2},k{row % 3}"))
    return write(path, "\n".join(lines) + "\n")


def test_a_wrong_value_in_row_17_is_named(tmp_path: Path) -> None:
    """In a small file one bad row is too many: the error has row, column, value and next step."""
    path = rows_of(tmp_path / "rides.csv", 40, {17: "17,abc,k1"})
    with pytest.raises(DataError) as error:
        _read(path, tmp_path)
    said = str(error.value)
    assert "row 17, column 'fare': 'abc' is not a number" in said
    assert "1 of 40 rows cannot be read; at most 1% may be" in said
    assert str(path) in said and "next:" in said and "dead-letters" in said


def _read(path: Path, home: Path, **options: object) -> tuple[list[int], list[dict]]:
    found = tables.open_tables(path)
    columns = tables.columns_of(found, **options)
    with DeadLetters(home, path.stem, found[0].digest) as letters:
        parts = list(tables.read(found, columns, letters))
    letters.check(found[0].name, sum(len(part.numbers) for part in parts) + letters.count)
    lines = letters.path.read_text().splitlines() if letters.count else []
    return [int(n) for part in parts for n in part.numbers], [json.loads(line) for line in lines]


def test_a_few_bad_rows_become_dead_letters(tmp_path: Path) -> None:
    """Wrong values and wrong numbers of fields are kept with row, text and reason; the rest is read."""
    harm = {17: "17,abc,k1", 500: "500,1.5", 501: "501,1,2,3", 999: "x,1.0,k0"}
    numbers, letters = _read(rows_of(tmp_path / "rides.csv", 1000, harm), tmp_path)
    assert [n for n in range(1, 1001) if n not in harm] == numbers
    assert [
        (17, "fare", "abc", "'abc' is not a number", "17,abc,k1"),
        (500, None, None, "too few fields: 2, 3 expected", "500,1.5"),
        (501, None, None, "too many fields: 4, 3 expected", "501,1,2,3"),
        (999, "id", "x", "'x' is not a whole number", "x,1.0,k0"),
    ] == sorted((each["row"], each["column"], each["value"], each["reason"], each["raw"]) for each in letters)
    assert 1 == len(list((tmp_path / "dead-letters").iterdir()))


def test_declared_types_decide(tmp_path: Path) -> None:
    """A column that is declared text is text, although most of it looks like numbers."""
    path = rows_of(tmp_path / "rides.csv", 40, {17: "17,abc,k1"})
    numbers, letters = _read(path, tmp_path, types=conversion.resolved({"fare": "string"}))
    assert (40, []) == (len(numbers), letters)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b"\n\n  \n", "the file is empty"),
        ("empty.parquet", b"", "the file is empty"),
        ("binary.csv", b"\x00\x01\x02\xff", "neither CSV nor Parquet"),
        ("sheet.xlsx", b"PK", ".xlsx files are not read"),
        ("numbers.csv", b"1,2\n3,4\n", "row 1 has values instead of column names"),
        ("quote.csv", b'a,b\n1,"never ends\n2,3\n', "cannot be read as CSV"),
        ("fake.parquet", b"a,b\n1,2\n", "not a complete Parquet file"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """Every kind of unreadable file gets an error with the file's name and the next step."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        tables.read_table(path)
    assert said in str(error.value)
    assert str(path) in str(error.value) and "next:" in str(error.value)


def test_a_truncated_parquet_file_is_explained(tmp_path: Path) -> None:
    """So is one that a copy left half."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": list(range(10_000))}), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="truncated or damaged"):
        tables.read_table(path)


def test_a_missing_file_and_a_missing_column(tmp_path: Path) -> None:
    """A renamed column is proposed."""
    with pytest.raises(DataError, match="there is no such file"):
        tables.read_table(tmp_path / "nowhere.csv")
    found = tables.open_tables(write(tmp_path / "a.csv", "fare,Big_Tips\n1,0\n"))
    with pytest.raises(DataError, match="column 'big_tip' is missing; did you mean 'Big_Tips'?"):
        tables.columns_of(found, wanted=["fare", "big_tip"])


def test_columns_that_have_no_place_in_a_table(tmp_path: Path) -> None:
    """A list column is named, with the ways out."""
    with pytest.raises(DataError, match="'l' holds list"):
        tables.read_table(pa.table({"l": [[1]]}))


@pytest.mark.parametrize("odd", [pa.array([[1]]), pa.array([{"a": 1}])])
@pytest.mark.parametrize("column", ["x", "tip", "when"])
def test_columns_that_have_no_place_in_a_later_file(tmp_path: Path, odd: pa.Array, column: str) -> None:
    """Also where the kinds are known already, and for label and time."""
    table = pa.table({"x": [1], "tip": [0], "when": [1357516800]})
    table = table.set_column(table.column_names.index(column), column, odd)
    pq.write_table(table, tmp_path / "a.parquet")
    found = tables.open_tables(tmp_path / "a.parquet")
    known = conversion.resolved({"x": "int", "tip": "empty", "when": "empty"})
    with pytest.raises(DataError, match=f"'{column}' holds .*, which does not fit in a flat table"):
        tables.columns_of(found, wanted=list(known), types=known, as_it_is=("tip", "when"))


@pytest.mark.parametrize("as_it_is", [(), ("word",)])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_that_are_no_text_are_bad(tmp_path: Path, kind: pa.DataType, as_it_is: tuple[str, ...]) -> None:
    """Each such row is a dead letter, be it a feature or the label; the others are read."""
    words = pa.array([b"a", b"\xff\xfe", "é".encode(), None, b"a", b"\xff\xfe"], kind)
    found = tables.open_tables(pa.table({"word": words, "n": range(6)}))
    columns = tables.columns_of(found, as_it_is=as_it_is)
    with DeadLetters(tmp_path, "t", "") as letters:
        [part] = tables.read(found, columns, letters, as_it_is=as_it_is)
    assert {"word": ["a", "é", None, "a"], "n": [0, 2, 3, 4]} == pa.Table.from_batches(
        [part.batch]
    ).to_pydict()
    first, second = (json.loads(line) for line in letters.path.read_text().splitlines())
    assert (2, "word", "b'\\xff\\xfe'") == (first["row"], first["column"], first["value"])
    assert first["reason"].endswith("is not text in UTF-8")
    assert 6 == second["row"]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
)
@pytest.mark.parametrize("as_it_is", [(), ("word",)])
def test_words_that_mean_missing_in_every_type_of_text(kind: pa.DataType, as_it_is: tuple[str, ...]) -> None:
    """`data.missing` counts for what polars and pandas write into Parquet, too."""
    text = pa.array(["?", "a", None, "?"])
    words = text.dictionary_encode() if pa.types.is_dictionary(kind) else text.cast(kind)
    found = tables.open_tables(pa.table({"word": words}))
    with DeadLetters(None, "t", "") as letters:
        columns = tables.columns_of(found, as_it_is=as_it_is)
        [part] = tables.read(found, columns, letters, as_it_is=as_it_is, missing=("?",))
    assert [None, "a", None, None] == part.batch.column(0).to_pylist()


def test_whole_numbers_written_with_a_fraction_of_zero(tmp_path: Path) -> None:
    """What pandas makes of a column of whole numbers that gained a gap; 3.5 is none."""
    path = write(tmp_path / "a.csv", "n,x\n3.0,a\n,b\n-4.,c\n+5.00,d\n3.5,e\n")
    found = tables.open_tables(path)
    with DeadLetters(tmp_path, "a", "") as letters:
        [part] = tables.read(found, conversion.resolved({"n": "int", "x": "string"}), letters)
    assert [3, None, -4, 5] == part.batch.column(0).to_pylist()
    [letter] = map(json.loads, letters.path.read_text().splitlines())
    assert ("'3.5' is not a whole number", "3.5,e") == (letter["reason"], letter["raw"])


def test_a_column_that_was_empty_before(tmp_path: Path) -> None:
    """The error says why text is none here."""
    found = tables.open_tables(write(tmp_path / "a.csv", "c\nred\n"))
    with DeadLetters(tmp_path, "a", "") as letters:
        list(tables.read(found, {"c": conversion.named("empty")}, letters))
    assert "'red' is not empty, as the column was in the files before" in letters.path.read_text()


@pytest.mark.parametrize("limit", [None, 500])
def test_a_first_look_refuses_what_ingestion_would(tmp_path: Path, limit: int | None) -> None:
    """Nothing is dropped silently: with more than 1% of bad rows the first one is named."""
    path = write(tmp_path / "a.csv", "n\n" + "\n".join("x" if i < 90 else str(i) for i in range(1000)) + "\n")
    with pytest.raises(DataError, match=r"row 1, column 'n': 'x' is not a whole number \(90 of 1,000 rows"):
        tables.read_table(path, limit=limit)


def test_infinite_numbers_are_bad(tmp_path: Path) -> None:
    """One infinity would make every weight NaN."""
    with DeadLetters(None, "t", "") as letters:
        found = tables.open_tables(pa.table({"x": [1.0, float("inf")]}))
        parts = list(tables.read(found, tables.columns_of(found), letters))
    assert ([1], 1) == (parts[0].numbers.tolist(), letters.count)
