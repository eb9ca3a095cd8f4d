"""Which rows of which source the spans have, also when spans were deleted or corrected, or sources come together."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noria.ingestion import source_offsets
from noria.ingestion.events import EventSettings
from noria.ingestion.ingest import ingest
from noria.ingestion.source_offsets import Range, SourceRows
from noria.stores.spans import SpanStore

DAYS = EventSettings(label="tip", time="when", every="day")
START = 1357516800  # 2013-01-07, a Monday
DAY = 86_400


def rows_of(time: str | None) -> EventSettings:
    return EventSettings(label="tip", every="rows:25", time=time)


def numbers(path: Path, count: int, first: int = 0) -> Path:
    """Rows 0, 1, 2 ... in another order of time than of rows."""
    rows = [f"{START + i * 37 % 1000},{i},{i % 2}" for i in range(first, first + count)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["when,n,tip", *rows]) + "\n")
    return path


def days(path: Path, count: int, first: int = 0, fare: float = 1.5, bad: int | None = None) -> Path:
    """24 rows a day; all fares of day `bad` are `fare`."""
    rows = [
        f"{START + day * DAY + i * 3600},{day * 100 + i},{fare if day == bad else 1.5},{i % 2}"
        for day in range(first, first + count)
        for i in range(24)
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["when,n,fare,tip", *rows]) + "\n")
    return path


def stored(store: SpanStore) -> dict[int, list[int]]:
    return {span: store.table(span)["n"].to_pylist() for span in store.ids()}


def delete(store: SpanStore, *spans: int) -> None:
    for span in spans:
        shutil.rmtree(store.folder / f"{span:08d}")


@pytest.mark.parametrize("time", [None, "when"])
@pytest.mark.parametrize("lost", [(1,), (2,), (4,), (2, 3), (1, 2, 3, 4)])
def test_deleted_spans_of_rows_come_back_with_their_rows(
    tmp_path: Path, time: str | None, lost: tuple[int, ...]
) -> None:
    """Any deleted spans get the same rows again, and no other span gets them; then the source is skipped."""
    store = SpanStore(tmp_path / "home")
    path = numbers(tmp_path / "a.csv", 90)
    ingest(path, rows_of(time), store)
    expected = stored(store)
    delete(store, *lost)
    report = ingest(path, rows_of(time), store)
    assert (lost, expected) == (report.spans, stored(store))
    assert (0, ()) == (report.duplicates, report.notes)
    assert (str(path),) == ingest(path, rows_of(time), store).skipped


@pytest.mark.parametrize("time", [None, "when"])
def test_holes_at_several_places(tmp_path: Path, time: str | None) -> None:
    """All of them are filled with the rows that they had."""
    store = SpanStore(tmp_path / "home")
    path = numbers(tmp_path / "a.csv", 100)
    ingest(path, rows_of(time), store)
    expected = stored(store)
    delete(store, 1, 3)
    ingest(path, rows_of(time), store)
    assert expected == stored(store)


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5])
def test_deleted_spans_of_a_file_that_grew(tmp_path: Path, lost: int) -> None:
    """The longer file has the rows of the shorter one's spans as well; new rows never take a deleted span's id."""
    store = SpanStore(tmp_path / "home")
    path = tmp_path / "a.csv"
    ingest(numbers(path, 60), rows_of(None), store)
    ingest(numbers(path, 110), rows_of(None), store)
    expected = stored(store)
    delete(store, lost)
    report = ingest(numbers(path, 130), rows_of(None), store)
    assert {**expected, 6: list(range(110, 130))} == stored(store)
    assert {lost, 6} == set(report.spans)


def test_what_another_source_brought_to_a_deleted_span_is_not_forgotten(tmp_path: Path) -> None:
    """A span that comes back with the rows of one source is not whole: the others are read again too."""
    store = SpanStore(tmp_path / "home")
    ingest(days(tmp_path / "a.csv", 2), DAYS, store)
    ingest(days(tmp_path / "b.csv", 1, fare=9.0, bad=0), DAYS, store)
    expected = stored(store)
    delete(store, 1)
    assert 24 == ingest(tmp_path / "a.csv", DAYS, store).rows
    assert 24 == ingest(tmp_path / "b.csv", DAYS, store).rows
    assert expected == stored(store)
    assert 1 == len(ingest(tmp_path / "b.csv", DAYS, store).skipped)

    store = SpanStore(tmp_path / "rows")
    a, b = numbers(tmp_path / "c.csv", 30), numbers(tmp_path / "d.csv", 30, first=100)
    ingest([a, b], rows_of(None), store)
    delete(store, 2)
    ingest(a, rows_of(None), store)
    ingest(b, rows_of(None), store)
    assert [*range(30), *range(100, 130)] == sorted(n for each in stored(store).values() for n in each)


def test_spans_of_rows_in_another_home_continue_where_they_end(tmp_path: Path) -> None:
    """Manifests alone, without the ledger, say which rows there are, also when one in the middle is missing."""
    store, other = SpanStore(tmp_path / "home"), SpanStore(tmp_path / "other")
    path = numbers(tmp_path / "a.csv", 100)
    ingest(path, rows_of("when"), store)
    for span in (1, 3):
        shutil.copytree(store.folder / f"{span:08d}", other.folder / f"{span:08d}")
    assert (4, 5) == ingest(path, rows_of("when"), other).spans
    assert sorted(stored(store)[2] + stored(store)[4]) == sorted(stored(other)[4] + stored(other)[5])


def test_offsets_without_files() -> None:
    """Manifests say which offsets spans have, the ledger which ones deleted spans had; spans of time are in order."""
    source_rows = [SourceRows("a", 4, 10, 20), SourceRows("a", 1, 10, 0), SourceRows("a", 9, 5, 30)]
    found = source_offsets.find(source_rows, {}, {1, 4, 9})
    assert [Range(0, 10, 1), Range(20, 30, 4), Range(30, 35, 9)] == found.here
    assert [False, True, True, False] == found.committed(np.array([10, 0, 34, 39])).tolist()
    entry = {"ranges": [[1, 0, 10], [2, 10, 10], [4, 20, 10]], "spans": [1, 2, 4]}
    found = source_offsets.find(source_rows[:2], entry, {1, 4})
    assert ([Range(0, 10, 1), Range(20, 30, 4)], [Range(10, 20, 2)]) == (found.here, found.removed)
    assert [0, 2, 2, 0] == found.deleted(np.array([9, 10, 19, 20])).tolist()
    found = source_offsets.find([SourceRows("a", 7, 10, None), SourceRows("a", 3, 4, None)], {}, {3, 7})
    assert [Range(0, 4, 3), Range(4, 14, 7)] == found.here


@pytest.mark.parametrize("nights", [(1, 2, 3), (1, 3), (3,)])
def test_the_rows_are_the_same_whether_files_come_one_by_one_or_together(
    tmp_path: Path, nights: tuple[int, ...]
) -> None:
    """Each night's export holds all rows so far; it does not matter in which nights somebody ingested."""
    store = SpanStore(tmp_path / "home")
    for night in (1, 2, 3):
        days(tmp_path / "in" / f"export-{night}.csv", night)
        if night in nights:
            ingest(tmp_path / "in", DAYS, store)
    assert [24, 24, 24] == [store.manifest(span).rows for span in store.ids()]
    for span in store.ids():
        manifest = store.manifest(span)
        assert (24, 24) == (sum(each["rows"] for each in manifest.sources), sum(manifest.labels.values()))
    assert 3 == len(ingest(tmp_path / "in", DAYS, store).skipped)


@pytest.mark.parametrize("together", [False, True])
def test_rows_cut_by_number_are_the_same_too(tmp_path: Path, together: bool) -> None:
    """Of a file that begins with the rows of the one before it, only the others are read."""
    store = SpanStore(tmp_path / "home")
    for i, count in enumerate((30, 60, 70)):
        numbers(tmp_path / "in" / f"export-{i}.csv", count)
        if not together:
            ingest(tmp_path / "in", rows_of(None), store)
    report = ingest(tmp_path / "in", rows_of(None), store)
    assert list(range(70)) == sorted(n for each in stored(store).values() for n in each)
    assert ((70, 90) if together else (0, 0)) == (report.rows, report.duplicates)
    expected = stored(store)
    delete(store, 2)
    ingest(tmp_path / "in", rows_of(None), store)
    assert expected == stored(store)
    assert 3 == len(ingest(tmp_path / "in", rows_of(None), store).skipped)


def test_rows_may_repeat_within_a_source(tmp_path: Path) -> None:
    """Of rows that several sources have each as often counts as in the one that has most."""
    rows = {name: [f"{START},{n},0" for n in ns] for name, ns in (("a", [1, 1, 2]), ("b", [1, 2, 2, 3]))}
    for name, lines in rows.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["when,n,tip", *lines]) + "\n")
    store = SpanStore(tmp_path / "home")
    report = ingest(tmp_path / "*.csv", DAYS, store)
    assert (5, 2, [1, 1, 2, 2, 3]) == (report.rows, report.duplicates, sorted(stored(store)[1]))
    assert [3, 2] == [source["rows"] for source in store.manifest(1).sources]


def test_a_deleted_span_comes_back_from_sources_that_overlap(tmp_path: Path) -> None:
    """Its rows are there once, though two files have them."""
    store = SpanStore(tmp_path / "home")
    ingest(days(tmp_path / "in" / "a.csv", 2), DAYS, store)
    ingest(days(tmp_path / "in" / "b.csv", 3).parent, DAYS, store)
    expected = stored(store)
    delete(store, 2)
    assert ((2,), 24) == (lambda report: (report.spans, report.rows))(ingest(tmp_path / "in", DAYS, store))
    assert expected == stored(store)


def _copied(store: SpanStore) -> SpanStore:
    other = SpanStore(store.home.with_name("other"))
    for span in store.ids():
        shutil.copytree(store.folder / f"{span:08d}", other.folder / f"{span:08d}")
    return other


def _without(span: int) -> Callable[[SpanStore], SpanStore]:
    def deleted(store: SpanStore) -> SpanStore:
        delete(store, span)
        return store

    return deleted


@pytest.mark.parametrize("later", [_copied, _without(3), _without(2)])
@pytest.mark.parametrize("late", [False, True])
def test_rows_that_were_corrected_do_not_come_back(
    tmp_path: Path, later: Callable[[SpanStore], SpanStore], late: bool
) -> None:
    """Sources are read again in a new home, or for another span: the bad rows are not used again."""
    store = SpanStore(tmp_path / "home")
    folder = days(tmp_path / "in" / "a.csv", 3, fare=-999.0, bad=1).parent
    ingest(folder, DAYS, store)
    ingest(days(folder / "b.csv", 2, fare=-999.0, bad=1).parent, DAYS, store)  # nothing new
    store.quarantine(2, "broken")
    report = ingest(days(folder / "c.csv", 3, fare=2.5, bad=1).parent, DAYS, store)
    assert ((2,), {2.5}) == (report.late, set(store.table(2)["fare"].to_pylist()))
    said = "its 24 rows were replaced by the 24 delivered ones; the old ones are v0001"
    assert (f"span 2 was in quarantine: {said}",) == report.notes
    if late:
        assert (2,) == ingest(days(folder / "d.csv", 1, first=1, fare=3.5, bad=1), DAYS, store).late
    expected = set(store.table(2)["fare"].to_pylist())
    store = later(store)
    ingest(folder, DAYS, store)
    assert (24 + 24 * late, expected) == (store.manifest(2).rows, set(store.table(2)["fare"].to_pylist()))
    assert [1, 2, 3] == store.ids()


def test_the_next_days_of_a_week_in_quarantine_are_added(tmp_path: Path) -> None:
    """A daily file does not correct a week: the week keeps all its rows, stays in quarantine, and a note says so."""
    weeks = EventSettings(label="tip", time="when", every="week")
    store = SpanStore(tmp_path / "home")
    folder = days(tmp_path / "in" / "1.csv", 2, fare=-999.0, bad=1).parent
    ingest(folder, weeks, store)
    store.quarantine(1, {"verdict": "broken"}, run_id="r1")
    report = ingest(days(folder / "2.csv", 1, first=2).parent, weeks, store)
    assert ((1,), 24, 72) == (report.late, report.rows, store.manifest(1).rows)
    assert report.notes[0].startswith(
        "span 1 stays in quarantine: the 24 delivered rows cover less than half of its time"
    )
    note = store.quarantined()[1]
    assert (2, "r1", {"verdict": "broken"}) == (note["version"], note["run_id"], note["verdict"])
    # The correction leaves out the last hour, and has the next day too.
    path = days(folder / "3.csv", 4, fare=2.5, bad=1)
    path.write_text(path.read_text().replace(f"{START},0,1.5,0\n", ""))
    ingest(folder, weeks, store)
    assert ({}, 95) == (store.quarantined(), store.manifest(1).rows)
    assert {1.5, 2.5} == set(store.table(1)["fare"].to_pylist())
