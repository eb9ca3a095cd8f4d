"""Rows in the batch cache are those that the file holds."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

from tfx_bsl.coders import example_coder  # noqa: E402
from tfx_bsl.public import tfxio  # noqa: E402

from noria.components import batch_cache, example_file  # noqa: E402
from noria.components.statistics_gen import in_process  # noqa: E402
from noria.components.trainer import model_inputs  # noqa: E402
from noria.components.trainer.reader import Reader  # noqa: E402
from noria.components.trainer.settings import Settings  # noqa: E402
from noria.schemas.list_columns import as_lists  # noqa: E402

REAL, WHOLE = pa.large_list(pa.float32()), pa.large_list(pa.int64())


@pytest.fixture
def table() -> pa.Table:
    """25,000 rows of every kind of column, with missing values, in chunks of odd sizes."""
    generator = np.random.default_rng(5)
    rows = 25_000

    def some(values, share: float) -> pa.Array:
        return pa.array(values, mask=generator.random(rows) < share)

    table = pa.table(
        {
            "text": some(generator.choice(["UA", "é", ""], rows), 0.2),
            "whole": some(generator.integers(-5, 5, rows), 0.2),
            "real": some(np.where(generator.random(rows) < 0.1, np.nan, generator.normal(size=rows)), 0.2),
            "flag": some(generator.random(rows) < 0.5, 0.2),
            "full": generator.normal(size=rows),
            "none": pa.nulls(rows, pa.float64()),
            "coded": pa.array(generator.choice(["a", "b"], rows)).dictionary_encode(),
            "at": pa.array(generator.integers(0, 1 << 30, rows), pa.timestamp("s")),
        }
    )
    return pa.concat_tables([table.slice(0, 7_001), table.slice(7_001)])


def _write(path: Path, table: pa.Table) -> None:
    with example_file.create(path) as file:
        for part in (table.slice(0, 9_000), table.slice(9_000)):
            (flat,) = part.combine_chunks().to_batches()
            file.write(as_lists(flat))


@pytest.fixture(autouse=True)
def enabled(monkeypatch) -> None:
    """As while a run's stages follow each other in this process."""
    monkeypatch.setattr(batch_cache, "examples", batch_cache.BatchCache())


@pytest.fixture(params=["memory", "disk"])
def place(request, monkeypatch) -> str:
    """Where the rows of the test's files are: in memory, or in a file because no room is left there."""
    if request.param == "disk":
        monkeypatch.setattr(batch_cache, "examples", batch_cache.BatchCache(budget=0))
    return request.param


def test_cached_rows_are_the_decoded_files(table: pa.Table, tmp_path: Path, place: str):
    """Batch by batch and column by column, the cached rows are those that tfx_bsl decodes from the file."""
    path = tmp_path / "a.gz"
    _write(path, table)
    assert batch_cache.examples.get(path, 1) is not None
    here = list(in_process.read([path]))
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP").batch(10_000)
    there = [decoder.DecodeBatch(batch) for batch in records.as_numpy_iterator()]
    assert [10_000, 10_000, 5_000] == [batch.num_rows for batch in here]
    for mine, decoded in zip(here, there, strict=True):
        assert decoded.schema == mine.schema
        assert all(left.equals(right) for left, right in zip(decoded.columns, mine.columns, strict=True))


def test_a_file_that_changed_is_read_again(table: pa.Table, tmp_path: Path):
    """A file that was rewritten, or is gone, is not taken for the cached one."""
    path = tmp_path / "a.gz"
    _write(path, table)
    rows = as_lists(table.slice(0, 10).combine_chunks().to_batches()[0])
    with tf.io.TFRecordWriter(str(path), options="GZIP") as records:
        for example in tfxio.RecordBatchToExamplesEncoder().encode(rows):
            records.write(example)
    assert None is batch_cache.examples.get(path, 10)
    assert 10 == sum(batch.num_rows for batch in in_process.read([path]))
    path.unlink()
    assert None is batch_cache.examples.get(path, 10)


BATCH = pa.RecordBatch.from_arrays([pa.array([[1]] * 100, pa.large_list(pa.int64()))], ["x"])


def _put(held: batch_cache.BatchCache, path: Path, batches: int) -> batch_cache.Entry:
    path.touch()
    rows = held.open(path.parent)
    for _ in range(batches):
        rows.add(BATCH)
    rows.put(path)
    return rows


def test_what_is_over_the_budget_goes_to_a_file_without_a_name(tmp_path: Path):
    """Rows in memory never exceed the budget, all of them are there, and the folder shows nothing of it."""
    held = batch_cache.BatchCache(budget=2 * BATCH.nbytes)
    sizes = {"a": 1, "b": 3, "c": 1}
    kinds = [type(_put(held, tmp_path / name, count).rows) for name, count in sizes.items()]
    assert [list, batch_cache.Spill, list] == kinds
    for name, count in sizes.items():
        found = held.get(tmp_path / name, 70)
        assert found is not None
        assert 100 * count == sum(batch.num_rows for batch in found)
    assert {"a", "b", "c"} == {path.name for path in tmp_path.iterdir()}


def _spilled(held: batch_cache.BatchCache, path: Path) -> batch_cache.Spill:
    """A thousand rows 0, 1, ... in ten batches on the disk."""
    path.touch()
    rows = held.open(path.parent)
    for start in range(0, 1000, 100):
        numbers = pa.array([[i] for i in range(start, start + 100)], WHOLE)
        rows.add(pa.RecordBatch.from_arrays([numbers], ["x"]))
    rows.put(path)
    assert isinstance(rows.rows, batch_cache.Spill)
    return rows.rows


def _numbers(batches: Iterator[pa.RecordBatch] | None) -> list[int]:
    assert batches is not None
    return [i for batch in batches for (i,) in batch.column(0).to_pylist()]


def test_readers_of_a_spilled_file_do_not_disturb_each_other(tmp_path: Path):
    """The file has one position; each of several threads gets all rows in their order."""
    held = batch_cache.BatchCache(budget=0)
    _spilled(held, tmp_path / "a")
    with ThreadPoolExecutor(4) as threads:
        read = [threads.submit(_numbers, held.get(tmp_path / "a", 7 + i)) for i in range(8)]
        assert all(list(range(1000)) == each.result() for each in read)


def test_another_process_reads_the_file(tmp_path: Path):
    """A fork would move the position under its parent's reader: there the rows count as not cached."""
    held = batch_cache.BatchCache(budget=0)
    _spilled(held, tmp_path / "a")
    child = os.fork()
    if child == 0:
        found = held.get_or_read(tmp_path / "a", 100, lambda batch: "taken", lambda: iter(["read"]))
        os._exit(0 if list(found) == ["read"] else 1)
    assert 0 == os.waitpid(child, 0)[1]
    assert list(range(1000)) == _numbers(held.get(tmp_path / "a", 100))


def test_a_spill_that_cannot_be_read_costs_another_reading(tmp_path: Path, caplog):
    """The disk fails half-way: the rest comes from the file, and the log says so."""
    held = batch_cache.BatchCache(budget=0)
    spill = _spilled(held, tmp_path / "a")
    spill._file.truncate(spill._file.seek(0, os.SEEK_END) // 2)
    found = list(held.get_or_read(tmp_path / "a", 100, lambda batch: "taken", lambda: iter(["read"] * 10)))
    assert 10 == len(found) and "read" == found[-1]
    assert "is read again" in caplog.text


def _refuse(*what: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("when", ["opened", "written", "closed", "nearly full", "too many"])
def test_a_disk_without_room_costs_the_cache_and_nothing_else(tmp_path: Path, monkeypatch, caplog, when):
    """Where rows fit nowhere the file is read again, the log says so, and the room they took is free."""
    held = batch_cache.BatchCache(budget=2 * BATCH.nbytes)
    if when == "opened":
        monkeypatch.setattr(batch_cache.tempfile, "TemporaryFile", lambda dir: _refuse())
    elif when == "nearly full":
        monkeypatch.setattr(batch_cache, "DISK_RESERVE", 1 << 60)
    elif when == "too many":
        monkeypatch.setattr(batch_cache, "MOST_SPILLS", 0)
    else:
        monkeypatch.setattr(batch_cache.Spill, "append" if when == "written" else "close", _refuse)
    _put(held, tmp_path / "a", 4)
    assert held.get(tmp_path / "a", 10) is None
    assert str(tmp_path) in caplog.text
    monkeypatch.undo()
    assert [list, batch_cache.Spill] == [type(_put(held, tmp_path / name, 2).rows) for name in "bc"]


def test_a_file_that_is_written_again_frees_its_memory(tmp_path: Path):
    """The later rows take the place of the earlier ones, in the budget too."""
    held = batch_cache.BatchCache(budget=2 * BATCH.nbytes)
    for _ in range(3):
        _put(held, tmp_path / "a", 1)
    held.clear()
    assert list is type(_put(held, tmp_path / "b", 2).rows)


def test_where_no_stage_follows_nothing_is_put(tmp_path: Path):
    """A task of a cluster writes its files and ends."""
    held = batch_cache.BatchCache(enabled=False)
    _put(held, tmp_path / "a", 1)
    assert held.get(tmp_path / "a", 10) is None
    with held.enabled():
        _put(held, tmp_path / "a", 1)
        assert held.get(tmp_path / "a", 10) is not None
    assert held.get(tmp_path / "a", 10) is None


def test_a_writer_that_fails_gives_its_room_back(tmp_path: Path, monkeypatch):
    """Rows of a file that was never finished are freed."""
    held = batch_cache.BatchCache(budget=2 * BATCH.nbytes)
    monkeypatch.setattr(batch_cache, "examples", held)
    with pytest.raises(ZeroDivisionError), example_file.create(tmp_path / "s" / "a.gz") as file:
        file.write(BATCH)
        raise ZeroDivisionError
    assert held.get(tmp_path / "s" / "a.gz", 10) is None
    assert list is type(_put(held, tmp_path / "b", 2).rows)


def test_after_a_run_nothing_is_held(table: pa.Table, tmp_path: Path):
    """Rows of a run are freed: the next run's files are others."""
    path = tmp_path / "a.gz"
    _write(path, table)
    assert batch_cache.examples.get(path, 1) is not None
    batch_cache.examples.clear()
    assert None is batch_cache.examples.get(path, 1)


def test_the_trainer_takes_transforms_rows(tmp_path: Path, monkeypatch, place: str):
    """Cached rows give, block by block and bit for bit, the matrices that parsing the file gives."""
    rows = 20_000
    generator = np.random.default_rng(7)
    values = {
        "amount": generator.normal(size=rows).astype(np.float32),
        "pair": generator.normal(size=(rows, 2)).astype(np.float32),
        "place": generator.integers(-1, 5, rows),
        "late": generator.integers(0, 2, rows),
    }
    arrays = [
        pa.array(list(column.reshape(rows, -1)), REAL if column.dtype == np.float32 else WHOLE)
        for column in values.values()
    ]
    path = tmp_path / "a.gz"
    with example_file.create(path) as file:
        file.write(pa.RecordBatch.from_arrays(arrays, list(values)))
    spec = {
        name: tf.io.FixedLenFeature(column.shape[1:], tf.as_dtype(column.dtype))
        for name, column in values.items()
    }
    categorical = (model_inputs.Categorical("place", 6, -1, 4),)
    wanted = model_inputs.Features(categorical, (("amount", 1), ("pair", 2)), "late")
    reader = Reader([str(path)], spec, wanted, Settings(label="late"))
    parse, read = Reader._read, []
    monkeypatch.setattr(Reader, "_read", lambda self, *how: read.append(how) or parse(self, *how))
    here = list(reader.blocks())
    assert not read
    monkeypatch.setattr(batch_cache, "examples", batch_cache.BatchCache())
    there = list(reader.blocks())
    assert read
    assert [8192, 8192, 3616] == [block.rows for block in here] == [block.rows for block in there]
    for mine, parsed in zip(here, there, strict=True):
        for field in ("numeric", "ids", "labels"):
            left, right = getattr(mine, field), getattr(parsed, field)
            assert (right.dtype, right.shape) == (left.dtype, left.shape)
            np.testing.assert_array_equal(right, left)


def test_rows_of_another_shape_are_left_to_the_parser(tmp_path: Path):
    """A missing value, where the graph promises one in each row, is an error of the file's parser."""
    path = tmp_path / "a.gz"
    batch = pa.RecordBatch.from_arrays(
        [pa.array([[1.0], None], REAL), pa.array([[0], [1]], WHOLE)],
        ["amount", "late"],
    )
    with example_file.create(path) as file:
        file.write(batch)
    spec = {"amount": tf.io.FixedLenFeature([], tf.float32), "late": tf.io.FixedLenFeature([], tf.int64)}
    wanted = model_inputs.Features((), (("amount", 1),), "late")
    reader = Reader([str(path)], spec, wanted, Settings(label="late"))
    assert batch_cache.examples.get(path, 2) is not None
    with pytest.raises(tf.errors.InvalidArgumentError, match="amount"):
        list(reader.blocks())


def test_from_the_first_rows_of_another_shape_the_file_is_read(tmp_path: Path):
    """The reader continues behind the rows that were taken, and no row comes twice."""
    (tmp_path / "a").touch()
    held = batch_cache.BatchCache()
    _put(held, tmp_path / "a", 3)

    def adapt(batch: pa.RecordBatch, seen: list[int] = []) -> str | None:  # noqa: B006 - counts the calls
        seen.append(batch.num_rows)
        return "taken" if len(seen) < 3 else None

    got = held.get_or_read(tmp_path / "a", 100, adapt, lambda: iter(["read 1", "read 2", "read 3"]))
    assert ["taken", "taken", "read 3"] == list(got)
    held.clear()
    assert ["read 1"] == list(held.get_or_read(tmp_path / "a", 100, adapt, lambda: iter(["read 1"])))


def test_rows_nobody_asks_for_again_make_room(tmp_path: Path):
    """Rows that were removed give their room to the next ones; others remain."""
    held = batch_cache.BatchCache(budget=2 * BATCH.nbytes)
    for name in ("eval", "train", "transformed"):
        if name == "transformed":
            held.remove(tmp_path / "train")
        assert list is type(_put(held, tmp_path / name, 1).rows)
    assert [True, False, True] == [
        held.get(tmp_path / name, 10) is not None for name in ("eval", "train", "transformed")
    ]
