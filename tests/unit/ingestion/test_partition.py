"""Sorting into spans on disk, and telling rows that were delivered before."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from noria.ingestion import duplicates, partition
from noria.ingestion.partition import Partition


@pytest.mark.parametrize(("held", "sort"), [(10**9, 10**9), (8_000, 5_000), (1, 800)])
def test_rows_come_out_sorted_whatever_fits_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, sort: int
) -> None:
    """With little memory the rows go through files and are sorted in ranges; the result is the same."""
    monkeypatch.setattr(partition, "HELD_BYTES", held)
    monkeypatch.setattr(partition, "SORT_BYTES", sort)
    monkeypatch.setattr(partition, "MAPPED_BYTES", sort)
    rng = np.random.default_rng(7)
    times = rng.integers(0, 300, 2_000)
    spans = times // 100 + 5
    table = pa.table({"t": times, "place": np.arange(2_000), "word": [f"w{t}" for t in times]})
    with Partition(tmp_path / "parts") as parts:
        for start in range(0, 2_000, 100):
            [batch] = table.slice(start, 100).combine_chunks().to_batches()
            parts.add(batch, spans[start : start + 100])
        assert [5, 6, 7] == parts.spans
        for span in parts.spans:
            read = pa.concat_tables(parts.read(span, "t"))
            mine = np.flatnonzero(spans == span)
            order = mine[np.argsort(times[mine], kind="stable")]
            assert read["place"].to_pylist() == order.tolist()
            assert read["word"].to_pylist() == [f"w{t}" for t in times[order]]
            unsorted = pa.concat_tables(parts.read(span, None))
            assert unsorted["place"].to_pylist() == mine.tolist()
    assert not (tmp_path / "parts").exists()


def test_slices_count_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled rows of many spans are written out long before their bytes are held, and into few files."""
    monkeypatch.setattr(partition, "HELD_BYTES", 1 << 20)
    spans = np.random.default_rng(0).permutation(np.arange(4_000) % 1_000)
    batch = pa.RecordBatch.from_arrays([pa.array(spans)], ["n"])
    with Partition(tmp_path / "parts") as parts:
        for _ in range(4):
            parts.add(batch, spans)
        assert 4 * batch.nbytes < partition.HELD_BYTES
        assert 0 < len(list((tmp_path / "parts").iterdir())) <= 4
        for span in (0, 500, 999):
            assert [span] * 16 == pa.concat_tables(parts.read(span, None))["n"].to_pylist()
            assert [span] * 16 == pa.concat_tables(parts.read(span, "n"))["n"].to_pylist()


def test_rows_delivered_before_are_taken_off_as_often_as_they_were_there() -> None:
    """Equal rows count: two old ones take off two of three new ones. Missing values equal missing values."""
    old = pa.table({"a": [1, 1, None, 2], "w": ["x", "x", None, "y"], "f": [0.5, 0.5, None, -0.0]})
    new = pa.table(
        {"a": [1, 1, 1, None, 2, 2], "w": ["x"] * 3 + [None, "y", "z"], "f": [0.5] * 3 + [None, 0.0, 0.0]}
    )
    one = np.zeros(2, int)
    left, _ = duplicates.new_rows(
        old.to_batches(), [(new.slice(0, 2), one), (new.slice(2), np.zeros(4, int))]
    )
    assert [{"a": 1, "w": "x", "f": 0.5}, {"a": 2, "w": "z", "f": 0.0}] == new.filter(
        pa.array(left)
    ).to_pylist()
    left, _ = duplicates.new_rows(new.to_batches(), [(old, np.zeros(4, int))])
    assert not left.any()
    assert [0, 0] == [len(each) for each in duplicates.new_rows([], [])]


def test_sources_that_come_together_count_as_if_one_by_one() -> None:
    """Whatever they repeat of each other and of the old rows."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        values, source = rng.integers(0, 8, 60), rng.integers(0, 4, 60)
        table, old = pa.table({"a": values}), pa.table({"a": rng.integers(0, 8, 15)})
        keep, found = duplicates.new_rows(old.to_batches(), [(table, source)])
        assert source.tolist() == found.tolist()
        expected = old
        for each in range(4):
            mine = table.filter(pa.array(source == each))
            new, _ = duplicates.new_rows(expected.to_batches(), [(mine, np.zeros(len(mine), int))])
            assert mine.filter(pa.array(new)) == table.filter(pa.array(keep & (source == each)))
            expected = pa.concat_tables([expected, mine.filter(pa.array(new))])


def test_hashes_tell_columns_apart() -> None:
    """(1, 2) is another row than (2, 1), and text another value than nothing."""
    hashes = duplicates.row_hashes(pa.table({"a": [1, 2, None, 0], "b": [2, 1, 0, None]}))
    assert 4 == len(set(hashes.tolist()))
    words = duplicates.row_hashes(pa.table({"w": ["", None, "a"]}))
    assert 3 == len(set(words.tolist()))
