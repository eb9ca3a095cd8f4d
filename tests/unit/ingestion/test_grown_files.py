"""Files that grow, cut by rows: what was ingested before is recognised by its place and is not a second copy."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore

ROWS = EventSettings(label="tip", every="rows:25", max_bad_share=0.1)


def grown(path: Path, count: int, first: int = 0) -> Path:
    """Rows that repeat every ten; the third one cannot be read."""
    rows = [f"{i % 10},{i % 2}" for i in range(first, first + count)]
    if count > 2:
        rows[2] = "x,1"
    path.write_text("\n".join(["n,tip", *rows]) + "\n")
    return path


def stored(store: SpanStore) -> list[int]:
    return [n for span in store.ids() for n in store.table(span)["n"].to_pylist()]


def test_only_the_rows_beyond_the_known_ones_are_new(tmp_path: Path) -> None:
    """50 rows and then one more are 51, though all values repeat; and so on, also under another name."""
    store = SpanStore(tmp_path / "home")
    path = tmp_path / "a.csv"
    ingest(grown(path, 50), ROWS, store)
    report = ingest(grown(path, 51), ROWS, store)
    assert ((3,), 1, 49) == (report.spans, report.rows, report.duplicates)
    assert (
        f"{path}: its rows 1 to 50 were read before, as {path}, and are not ingested again",
    ) == report.notes
    report = ingest(grown(tmp_path / "b.csv", 90), ROWS, store)
    assert ((4, 5), 39, 50) == (report.spans, report.rows, report.duplicates)
    assert [i % 10 for i in range(90) if i != 2] == stored(store)
    assert ("b.csv",) == tuple(Path(name).name for name in ingest(tmp_path / "b.csv", ROWS, store).skipped)
    assert () == ingest(grown(path, 51), ROWS, store).spans


def test_a_frame_and_a_parquet_file_grow_too(tmp_path: Path) -> None:
    """Rows are compared by their values, not bytes."""
    frame = pd.DataFrame({"n": range(60), "tip": [0, 1] * 30})
    store = SpanStore(tmp_path / "home")
    ingest(frame[:40], ROWS, store)
    assert 10 == ingest(frame[:50], ROWS, store).rows
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "a.parquet")
    assert 10 == ingest(tmp_path / "a.parquet", ROWS, store).rows
    assert list(range(60)) == stored(store)


def test_another_content_of_a_file_counts_as_new_and_is_said(tmp_path: Path) -> None:
    """Rows that repeat by chance are not lost; what was done is in the notes."""
    store = SpanStore(tmp_path / "home")
    path = tmp_path / "a.csv"
    ingest(grown(path, 50), ROWS, store)
    report = ingest(grown(path, 50, first=7), ROWS, store)
    assert (49, 0) == (report.rows, report.duplicates)
    assert "does not begin with the rows it had then; all its rows count as new" in report.notes[0]


@pytest.mark.parametrize("time", [None, "when"])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_file_that_grew_while_its_ingestion_was_broken_off(
    tmp_path: Path, time: str | None, stop_after: int
) -> None:
    """The spans of the broken-off ingestion stay, and each row of the longer file is there once."""
    settings = EventSettings(label="tip", every="rows:25", time=time)
    store = SpanStore(tmp_path / "home")
    path = tmp_path / "a.csv"

    def rows(count: int) -> Path:
        text = [f"{1_357_000_000 + i * 37 % 1000},{i},{i % 2}" for i in range(count)]
        path.write_text("\n".join(["when,n,tip", *text]) + "\n")
        return path

    def stop(record: dict) -> None:
        if record["span"] > 1 + stop_after:
            raise KeyboardInterrupt

    ingest(rows(30), settings, store)
    with pytest.raises(KeyboardInterrupt):
        ingest(rows(130), settings, store, tell=stop)
    assert 30 + 25 * stop_after == len(stored(store))
    ingest(rows(160), settings, store)
    assert list(range(160)) == sorted(stored(store))
    assert () == ingest(path, settings, store).spans
