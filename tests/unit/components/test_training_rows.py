"""Windows that do not fit in memory: the rows of memory, from a file, and little of it in memory."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

from noria.components import example_file  # noqa: E402
from noria.components.trainer import training_rows  # noqa: E402
from noria.components.trainer.model_inputs import Features  # noqa: E402
from noria.components.trainer.reader import Block, Reader  # noqa: E402
from noria.components.trainer.settings import Settings  # noqa: E402
from noria.core.errors import DataError  # noqa: E402

ROWS = 40_000


class Source:
    """A reader of rows that are here already."""

    where = "here"

    def __init__(self, width: int):
        random = np.random.default_rng(1)
        self.block = Block(
            random.random((ROWS, width), np.float32),
            random.integers(0, 1000, (ROWS, 3), np.int32),
            np.arange(ROWS, dtype=np.float32),
        )

    def blocks(self) -> Iterator[Block]:
        for start in range(0, ROWS, 9_000):
            part = slice(start, start + 9_000)
            yield Block(self.block.numeric[part], self.block.ids[part], self.block.labels[part])


def _both(folder: Path, width: int, **settings: int) -> tuple[training_rows.Table, training_rows.Mapped]:
    source, chosen = Source(width), Settings(label="late", seed=7, **settings)
    return training_rows.Table(source.block, "", chosen), training_rows._map(source, folder, "", chosen)


@pytest.mark.parametrize("width", [0, 5])
@pytest.mark.parametrize("room", [1, 100_000, 1 << 30])
def test_a_mapped_window_gives_the_batches_of_memory(width: int, room: int, tmp_path: Path, monkeypatch):
    """From any step, through the end of a pass, with any number of rows at a time; and so do the rows in order."""
    monkeypatch.setattr(training_rows, "ROOM", room)
    table, mapped = _both(tmp_path, width, batch_size=256)
    sizes = [10, 10, 3, 100, 7, 50]
    feeds = [list(rows.feed(20, 33, iter(sizes))) for rows in (table, mapped)]
    assert sizes == [len(feed.index) for feed in feeds[1]]
    for ours, theirs in zip(*feeds, strict=True):
        for field in ("numeric", "ids", "labels"):
            np.testing.assert_array_equal(
                np.asarray(getattr(ours.block, field))[ours.index], getattr(theirs.block, field)[theirs.index]
            )
    for ours, theirs in zip(table.blocks(7_000), mapped.blocks(7_000), strict=True):
        for field in ("numeric", "ids", "labels"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
    np.testing.assert_array_equal(table.labels, mapped.labels)


def test_a_mapped_window_holds_no_more_of_its_file_than_its_room(tmp_path: Path, monkeypatch):
    """Of 65 MB about 8 MiB are in memory at most, and nothing between two picks."""
    monkeypatch.setattr(training_rows, "ROOM", 8 << 20)
    _, mapped = _both(tmp_path, 400, batch_size=256)
    give_back, held = mapped._give_back, []

    def resident() -> int:
        """Bytes of the mapping that are in memory."""
        [entry] = re.findall(
            rf"{tmp_path}/\S+ \(deleted\)\n(?:.*\n)*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text()
        )
        return int(entry) << 10

    monkeypatch.setattr(mapped, "_give_back", lambda: held.append(resident()) or give_back())
    for _ in mapped.feed(0, 0, iter([20] * 10)):
        assert 0 == resident()
    for _ in mapped.blocks(2_000):
        assert 0 == resident()
    # The system maps as much around what is asked for as it has in one piece: 64 KiB, or a huge page at either end.
    assert 4 << 20 < max(held) <= 12 << 20


def test_a_mapped_window_goes_to_the_disk_it_is_told_and_has_no_name_there(tmp_path: Path, monkeypatch):
    """Rows that do not fit in memory are the same from the disk; no kill can leave a file; an error says what to do."""
    path = tmp_path / "a.gz"
    amounts = np.arange(5_000, dtype=np.float32)
    arrays = [
        pa.array([[x] for x in amounts], pa.large_list(pa.float32())),
        pa.array([[x % 2] for x in range(5_000)], pa.large_list(pa.int64())),
    ]
    with example_file.create(path) as file:
        file.write(pa.RecordBatch.from_arrays(arrays, ["amount", "late"]))
    spec = {"amount": tf.io.FixedLenFeature([], tf.float32), "late": tf.io.FixedLenFeature([], tf.int64)}
    wanted = Features((), (("amount", 1),), "late")
    reader = Reader([str(path)], spec, wanted, Settings(label="late"))
    monkeypatch.setattr(training_rows, "GROWTH", 1e9)
    made = []
    monkeypatch.setattr(
        training_rows.tempfile,
        "TemporaryFile",
        lambda dir, make=training_rows.tempfile.TemporaryFile: made.append(dir) or make(dir=dir),
    )
    rows = training_rows.open_window(reader, tmp_path / "run")
    assert "mapped" == rows.path
    np.testing.assert_array_equal(
        amounts, np.concatenate([block.numeric[:, 0] for block in rows.blocks(1_000)])
    )
    np.testing.assert_array_equal(amounts % 2, rows.labels)
    assert [tmp_path / "run"] == made
    assert [] == list((tmp_path / "run").iterdir())
    with pytest.raises(DataError, match="cannot be kept on the disk"):
        training_rows.open_window(reader, path)
