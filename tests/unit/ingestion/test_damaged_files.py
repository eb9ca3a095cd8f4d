"""Damaged files: what is bad in them is named and counted, and takes nothing good along."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.core.errors import DataError
from noria.ingestion import csv_file, tables, text_file
from noria.ingestion.arrow_values import BATCH_ROWS
from noria.ingestion.csv_file import CsvFile
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore

HEADER = "id,city,fare"


def lines(count: int) -> list[str]:
    return [f"{i},Zürich,{i / 2}" for i in range(1, count + 1)]


def write(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).encode())
    return path


def rows_and_letters(path: Path) -> tuple[list[int], list[tuple[int, str, str]]]:
    letters: list[tuple[int, str, str]] = []
    parts = list(CsvFile(path).batches(lambda *letter: letters.append(letter)))
    return [int(n) for _, numbers in parts for n in numbers], letters


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_quote_that_never_ends_is_refused_in_any_column(tmp_path: Path, column: int) -> None:
    """The rows behind it are no single dead letter: the file is not read, and the row is named."""
    rows = lines(5_000)
    fields = rows[3_000].split(",")
    fields[column] = '"' + fields[column]
    rows[3_000] = ",".join(fields)
    with pytest.raises(DataError, match=r"a quote opens in row 3001 and never ends"):
        tables.read_table(write(tmp_path / "a.csv", rows))
    settings = EventSettings(label="fare", task="regression", every="rows:1000")
    with pytest.raises(DataError, match=r"a quote opens in row 3001 and never ends"):
        ingest(tmp_path / "a.csv", settings, SpanStore(tmp_path / "home"))


@pytest.mark.parametrize("column", [0, 1, 2])
def test_rows_between_two_stray_quotes_all_count(tmp_path: Path, column: int) -> None:
    """Also where the quotes make one row with the right number of fields of them."""
    rows = lines(1_000)
    for row in (100, 150):
        fields = rows[row].split(",")
        fields[column] = '"' + fields[column]
        rows[row] = ",".join(fields)
    numbers, letters = rows_and_letters(write(tmp_path / "a.csv", rows))
    assert 1_000 == len(numbers) + len(letters)
    assert {f"{i},Zürich,{i / 2}" for i in range(102, 151)} <= {text for _, text, _ in letters}
    with (
        pytest.raises(DataError, match="rows cannot be read; at most 1% may be"),
        DeadLetters(None, "", "") as bad,
    ):
        [table] = tables.open_tables(tmp_path / "a.csv")
        good = sum(len(part.numbers) for part in tables.read([table], tables.columns_of([table]), bad))
        bad.check(table.name, good + bad.count)


def test_texts_of_many_lines_stay_texts(tmp_path: Path) -> None:
    """Quoted letters of people, commas and all, are values."""
    text = "Dear all,\nit was late, and cold.\nNobody came, alas.\n\nYours,\nA."
    rows = [f'{i},"{text}",1' for i in range(50)]
    numbers, letters = rows_and_letters(write(tmp_path / "a.csv", rows))
    assert (list(range(1, 51)), []) == (numbers, letters)
    rows = [f'{i},"{text}"' for i in range(50)]
    assert 50 == tables.read_table(write(tmp_path / "b.csv", rows, "id,text")).num_rows


def test_a_quote_in_the_header_that_never_ends(tmp_path: Path) -> None:
    """In a small file and in one whose header would be longer than Python's csv reads."""
    for count in (3, 20_000):
        with pytest.raises(DataError, match="a quote opens in the header and never ends"):
            tables.read_table(write(tmp_path / "a.csv", lines(count), 'id,"city,fare'))
    with pytest.raises(DataError, match="the file has no column names"):
        tables.read_table(write(tmp_path / "a.csv", [], ",,"))


def harmed(data: bytes) -> bytes:
    """With other bytes in its middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - each for each in data[middle : middle + 20]) + data[middle + 20 :]


def zipped(folder: Path, encrypted: bool = False) -> bytes:
    with zipfile.ZipFile(folder / "good", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "\n".join([HEADER, *lines(5_000)]))
    data = bytearray((folder / "good").read_bytes())
    if encrypted:
        data[6] |= 1  # the flag, in the member's header and in the archive's directory
        data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


PLAIN = "\n".join([HEADER, *lines(5_000)]).encode()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv.gz", lambda folder: gzip.compress(PLAIN)[:-2_000], "cannot be read"),
        ("a.csv.gz", lambda folder: harmed(gzip.compress(PLAIN)), "cannot be read"),
        ("a.csv.xz", lambda folder: harmed(lzma.compress(PLAIN)), "cannot be read"),
        ("a.csv.bz2", lambda folder: harmed(bz2.compress(PLAIN)), "cannot be read"),
        ("a.csv.bz2", lambda folder: bz2.compress(PLAIN)[:-2_000], "cannot be read"),
        ("a.csv.zip", lambda folder: harmed(zipped(folder)), "cannot be read"),
        ("a.csv.zip", lambda folder: zipped(folder)[:-2_000], "cannot be read"),
        ("a.csv.zip", lambda folder: zipped(folder, encrypted=True), "the archive is encrypted"),
    ],
)
def test_damaged_archives_are_explained(
    tmp_path: Path, name: str, data: Callable[[Path], bytes], said: str
) -> None:
    """Whatever the library of the archive raises, people get the file's name and the next step."""
    path = tmp_path / name
    path.write_bytes(data(tmp_path))
    with pytest.raises(DataError) as error:
        tables.read_table(path)
    assert said in str(error.value)
    assert str(path) in str(error.value) and "next:" in str(error.value)


def test_one_bad_byte_costs_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rows stay UTF-8, whatever the sizes of the blocks; the row is a dead letter, and a note says so."""
    path = write(tmp_path / "a.csv", lines(1_000))
    path.write_bytes(path.read_bytes().replace("700,Zürich".encode(), b"700,Z\xffrich"))
    for size in (8 << 20, 1_001, 7):
        monkeypatch.setattr(text_file, "BLOCK_BYTES", size)
        numbers, letters = rows_and_letters(path)
        assert [n for n in range(1, 1_001) if n != 700] == numbers
        assert [(700, "700,Z\ufffdrich,350.0", "bytes that are not text in UTF-8")] == letters
    store = SpanStore(tmp_path / "home")
    report = ingest(path, EventSettings(label="fare", task="regression", every="rows:1000"), store)
    assert (999, 1) == (report.rows, report.dead_letters)
    assert [
        "1 of 1,001 lines have bytes that are not text in UTF-8; their rows are among the dead letters"
    ] == [note.removeprefix(f"{path}: ") for note in report.notes]
    assert {"Zürich"} == set(store.table(1)["city"].to_pylist())


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    """A file of which many lines are not UTF-8, and more than are, is in Latin-1."""
    path = write(tmp_path / "a.csv", lines(100))
    path.write_bytes(path.read_bytes().decode().encode("latin-1"))
    store = SpanStore(tmp_path / "home")
    report = ingest(path, EventSettings(label="fare", task="regression", every="rows:1000"), store)
    assert (100, 0) == (report.rows, report.dead_letters)
    assert (
        f"{path}: read as cp1252: 100 of 101 lines are not UTF-8; set `encoding` if this is wrong",
    ) == report.notes
    assert {"Zürich"} == set(store.table(1)["city"].to_pylist())


def test_lines_of_two_encodings_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody joined the files of two programs."""
    rows = lines(1_000)
    path = tmp_path / "a.csv"
    for share in (3, 30):  # more lines of the older encoding, and fewer
        mixed = [row.encode("utf-8" if i % 100 < share else "cp1252") for i, row in enumerate(rows)]
        path.write_bytes(b"\n".join([HEADER.encode(), *mixed, b""]))
        for size in (8 << 20, 1_001, 7):
            monkeypatch.setattr(text_file, "BLOCK_BYTES", size)
            assert {"Zürich"} == set(tables.read_table(path)["city"].to_pylist())
    store = SpanStore(tmp_path / "home")
    report = ingest(path, EventSettings(label="fare", task="regression", every="rows:1000"), store)
    assert (1_000, 0) == (report.rows, report.dead_letters)
    assert (
        f"{path}: 700 of 1,001 lines are not UTF-8 and are read as cp1252; set `encoding` if this is wrong",
    ) == report.notes


def test_zero_bytes_cost_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that broke off leaves a block of them at the end; within a row they are damage."""
    path = write(tmp_path / "a.csv", lines(1_000))
    path.write_bytes(
        path.read_bytes().replace("700,Zürich".encode(), "700,Zü\0\0rich".encode()) + b"\0" * 4_096
    )
    for size in (8 << 20, 1_001, 7):
        monkeypatch.setattr(text_file, "BLOCK_BYTES", size)
        numbers, letters = rows_and_letters(path)
        assert [n for n in range(1, 1_001) if n != 700] == numbers
        reasons = {row: reason for row, _, reason in letters}
        assert {700, 1_001} == set(reasons)
        assert "bytes that are not text in UTF-8" == reasons[700]


def test_a_text_of_a_damaged_parquet_file_is_one_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"city": ["Zürich", "Genève"] * 50 + ["Zurych"], "fare": [1.5] * 101})
    pq.write_table(table, path, compression="none", write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"Zurych", b"Z\xffrych"))
    assert (100, 1) == rows_and_dead_letters(path, tmp_path / "home")


def test_a_zero_byte_in_a_row_of_a_parquet_file_is_a_dead_letter(tmp_path: Path) -> None:
    """The number beyond float32 makes it one; Python 3.10's csv does not write the text beside it."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"city": ["Bern"] * 100 + ["Zu\0rych"], "fare": [1.5] * 100 + [1e300]}), path)
    assert (100, 1) == rows_and_dead_letters(path, tmp_path / "home")


def rows_and_dead_letters(path: Path, home: Path) -> tuple[int, int]:
    settings = EventSettings(label="fare", task="regression", every="rows:1000", max_bad_share=0.01)
    report = ingest(path, settings, SpanStore(home))
    return report.rows, report.dead_letters


def test_a_member_of_an_archive_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b", "n,y\n1,0\n")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    central = data.index(b"PK\x01\x02")
    data[central + 28] = 0  # the length of its name
    data[central + 46 : central + 47] = b""
    data[end - 1 + 12] -= 1  # the size of the list of members
    path.write_bytes(data)
    with pytest.raises(DataError, match="differ"):
        tables.read_table(path)


def test_a_parquet_column_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """One reader of several columns ends the process here."""
    path = tmp_path / "a.parquet"
    table = pa.table({"n": range(20), "word": ["x"] * 20, "y": [0, 1] * 10})
    pq.write_table(table, path, compression="none", write_statistics=False)
    begin = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data = path.read_bytes()
    header = data.index(b"\x28", begin)  # the page's number of values: 20, as a zigzag integer
    path.write_bytes(data[:header] + b"\x10" + data[header + 1 :])
    with pytest.raises(DataError, match="column 'word' has 12 rows less than the file"):
        tables.read_table(path)


def test_a_parquet_dictionary_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"word": pa.array(["x", "y"] * 10).dictionary_encode(), "y": [0, 1] * 10})
    pq.write_table(table, path, compression="none", write_statistics=False)
    count = pq.ParquetFile(path).metadata.row_group(0).column(0).dictionary_page_offset + 8
    data = bytearray(path.read_bytes())
    assert 4 == data[count]  # the dictionary's number of values: 2, as a zigzag integer
    data[count] = 2
    path.write_bytes(data)
    with pytest.raises(DataError, match="Index 1 out of bounds"):
        tables.read_table(path)


def test_columns_whose_names_begin_with_each_other_and_many_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = 2 * BATCH_ROWS + 7
    table = pa.table({"a": range(rows), "a.b": [str(i) for i in range(rows)]})
    pq.write_table(table, path, row_group_size=50_000)
    assert table.equals(tables.read_table(path))


@pytest.mark.parametrize("data", [b"\0\1\2", b"\0" * 300, bytes(range(256)) * 100])
def test_bytes_of_another_program_are_no_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataError, match="it has bytes that are not text"):
        tables.read_table(tmp_path / "a.csv")


def test_a_byte_order_mark_of_utf_16_and_a_text_at_the_end(tmp_path: Path) -> None:
    """The last quote of a UTF-16 file is seen."""
    path = tmp_path / "a.csv"
    path.write_bytes('id,text\n1,"two\nlines"\n'.encode("utf-16"))
    assert {"id": [1], "text": ["two\nlines"]} == tables.read_table(path).to_pydict()


def test_nested_columns_can_be_left_out(tmp_path: Path) -> None:
    """Of a Parquet file only the wanted columns are looked at and read."""
    pq.write_table(pa.table({"l": [[1], [2]], "x": [1, 2], "y": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"leave it out \(`data.columns`\)"):
        tables.read_table(tmp_path / "a.parquet")
    settings = EventSettings(label="y", every="rows:10", columns=("x",))
    store = SpanStore(tmp_path / "home")
    assert 2 == ingest(tmp_path / "a.parquet", settings, store).rows
    assert {"x": [1, 2], "y": [0, 1]} == store.table(1).to_pydict()
    [table] = tables.open_tables(tmp_path / "a.parquet")
    assert [["x"]] == [batch.schema.names for batch, _ in table.raw(None, ["x"])]


def test_a_failing_dead_letter_file_is_not_the_csv_files_fault(tmp_path: Path) -> None:
    """An error of who listens to bad rows comes out as it is."""

    def full(*letter: object) -> None:
        raise DataError("the dead-letter file cannot be written: No space left on device")

    path = write(tmp_path / "a.csv", [*lines(10), "too,many,fields,here"])
    with pytest.raises(DataError, match="^the dead-letter file cannot be written"):
        list(csv_file.CsvFile(path).batches(full))
