"""Files as people and their programs write them: numbers, marks, JSON lines, in every file the same values."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noria.ingestion import tables, times
from noria.ingestion.column_profile import ColumnProfile
from noria.ingestion.events import EventSettings
from noria.ingestion.formats import TextTable
from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore


def stored(store: SpanStore, column: str) -> list[object]:
    return [
        value for span in store.ids() for batch in store.read(span) for value in batch[column].to_pylist()
    ]


def test_decimal_commas_in_the_label(tmp_path: Path) -> None:
    """A label of numbers is read in the file's number format, as features are; a later file needs no extra pass."""
    settings = EventSettings(label="y", task="regression", every="rows:2")
    store = SpanStore(tmp_path / "home")
    (tmp_path / "1.csv").write_text("a;y\n1,5;-1,9\n2,5;1.234,5\n")
    (tmp_path / "2.csv").write_text("a;y\n3,5;4,5\n4,5;5,5\n")
    ingest(tmp_path / "1.csv", settings, store)
    [later] = tables.open_tables(tmp_path / "2.csv")
    assert isinstance(later, TextTable)
    ingest([later], settings, store)
    assert "profiles" not in vars(later)
    assert [-1.9, 1234.5, 4.5, 5.5] == stored(store, "y")
    assert [1.5, 2.5, 3.5, 4.5] == stored(store, "a")


def test_decimal_commas_after_plain_numbers(tmp_path: Path) -> None:
    """A later file with semicolons is read with decimal commas, though the first one had none."""
    store = SpanStore(tmp_path / "home")
    settings = EventSettings(label="y", every="rows:2")
    pq.write_table(pa.table({"a": [0.5, 1.5], "y": [0, 1]}), tmp_path / "1.parquet")
    (tmp_path / "2.csv").write_text("a;y\n2,5;0\n3.5;1\n")
    ingest(tmp_path / "1.parquet", settings, store)
    ingest(tmp_path / "2.csv", settings, store)
    assert [0.5, 1.5, 2.5, 3.5] == stored(store, "a")


def test_numbers_beyond_float32(tmp_path: Path) -> None:
    """A number that float32 cannot hold is a dead letter, as infinity is."""
    rows = ["1.7976931348623157e308", "inf", *["1.5"] * 298]
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{x},{i % 2}\n" for i, x in enumerate(rows)))
    store = SpanStore(tmp_path / "home")
    report = ingest(tmp_path / "a.csv", EventSettings(label="y", every="rows:300"), store)
    assert (298, 2) == (report.rows, report.dead_letters)


def test_the_same_rows_from_three_formats(tmp_path: Path) -> None:
    """CSV, JSON lines and Parquet of the same rows give the same events."""
    rows = [{"x": i / 4, "n": i, "word": "ab"[i % 2], "y": i % 2} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.csv").write_text(
        "x,n,word,y\n" + "".join(",".join(map(str, r.values())) + "\n" for r in rows)
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = {}
    for suffix in ("csv", "jsonl", "parquet"):
        store = SpanStore(tmp_path / suffix)
        ingest(tmp_path / f"a.{suffix}", EventSettings(label="y", every="rows:40"), store)
        found[suffix] = {name: stored(store, name) for name in rows[0]}
    assert found["csv"] == found["jsonl"] == found["parquet"]


def test_marks_for_missing_numbers() -> None:
    """A sign or a well-known word among numbers is proposed as missing; grades and codes are values."""

    def marks(*texts: str) -> tuple[str, ...]:
        profile = ColumnProfile()
        profile.add(pa.array(texts))
        return profile.marks

    numbers = [f"{i}.5" for i in range(50)]
    assert ("?",) == marks(*numbers, *["?"] * 20)
    assert ("unknown",) == marks(*numbers, *["unknown"] * 20)
    assert ("XX",) == marks(*numbers, "XX", "XX")
    assert () == marks(*map(str, range(1, 9)), *["K"] * 4, *["PK"] * 4)
    assert () == marks("007", "5", "6", "?", "?")


def test_a_format_of_whole_numbers() -> None:
    """`time.format` counts for a column of numbers as for text, with the zero in front that a number loses."""
    expected = [1_709_510_400, 1_234_569_600 - 1_234_569_600 % 3_600]
    numbers = pa.array([24030400, 9021400])
    read, bad = times.parse(numbers, "%y%m%d%H")
    texts, _ = times.parse(pa.array(["24030400", "09021400"]), "%y%m%d%H")
    assert not bad.any()
    assert expected == read.to_pylist() == texts.to_pylist()


def test_older_encodings(tmp_path: Path) -> None:
    """A file from Excel on Windows is read as Windows-1252 and says so; a named encoding is used without a check."""
    (tmp_path / "a.csv").write_bytes("Größe;Ort\n1;Zürich €\n2;Genève\n".encode("cp1252"))
    [table] = tables.open_tables(tmp_path / "a.csv")
    assert ("Größe", "Ort") == table.columns
    assert "cp1252" in table.notes[0]
    (tmp_path / "b.csv").write_bytes("a,b\n1,żółw\n".encode("cp1250"))
    words = tables.read_table(tables.open_tables(tmp_path / "b.csv", encoding="cp1250"))
    assert ["żółw"] == words["b"].to_pylist()
    assert np.int64(1) == words["a"][0].as_py()
