"""The span store: committed once, whole, and checked when read."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from noria.core import files
from noria.core.errors import SpanError
from noria.stores.spans import SpanStore


def _table(times: list[int], label: int | None = 1) -> pa.Table:
    return pa.table(
        {
            "time": pa.array(times, pa.int64()),
            "name": pa.array([f"n{t}" for t in times]),
            "late": pa.array([label] * len(times), pa.int64()),
        }
    )


def test_what_is_committed_is_what_is_read(tmp_path: Path) -> None:
    """Rows, types and order survive; the manifest lists them."""
    store = SpanStore(tmp_path)
    batches = [_table([1, 2]).to_batches()[0], _table([3])]
    manifest = store.create(
        4, batches, source="a.csv", event_time=(1, 3), labels={"1": 3, "unlabelled": 0}, period="x"
    )
    assert _table([1, 2, 3]) == store.table(4, verify=True)
    assert (4, 1, 3, (1, 3)) == (manifest.span, manifest.version, manifest.rows, manifest.event_time)
    assert {"time": "int64", "name": "string", "late": "int64"} == manifest.columns
    assert {"1": 3, "unlabelled": 0} == manifest.labels
    assert {"period": "x"} == manifest.extra
    assert "a.csv" == manifest.source
    assert manifest == store.manifest(4)
    assert files.sha256(manifest.folder / "data-00000.parquet") == manifest.files[0]["sha256"]
    assert ["name"] == store.table(4, ["name"]).column_names


def test_an_id_is_committed_once(tmp_path: Path) -> None:
    """A second commit of an id is refused and changes nothing."""
    store = SpanStore(tmp_path)
    store.create(1, [_table([1])], source="a")
    with pytest.raises(SpanError, match="span 1 exists already, from a"):
        store.create(1, [_table([2])], source="b")
    assert _table([1]) == store.table(1)


def test_late_rows_make_the_next_version_in_order(tmp_path: Path) -> None:
    """A late version holds old and new rows, sorted; readers get it, and the old one is still there."""
    store = SpanStore(tmp_path)
    store.create(1, [_table([1, 4]), _table([4, 9])], source="a", event_time=(1, 9), labels={"1": 4})
    manifest = store.add_late_rows(
        1,
        [_table([0, 4]), _table([10])],
        source="b",
        order="time",
        event_time=(0, 10),
        labels={"1": 3},
    )
    assert [0, 1, 4, 4, 4, 9, 10] == store.table(1)["time"].to_pylist()
    assert (2, 7, 3, (0, 10)) == (manifest.version, manifest.rows, manifest.late_rows, manifest.event_time)
    assert {"1": 7} == manifest.labels
    assert ["a", "b"] == [source["name"] for source in manifest.sources]
    assert 4 == sum(batch.num_rows for batch in store.read(1, version=1))


def test_late_rows_must_fit(tmp_path: Path) -> None:
    """Late rows for a missing span, or with another type, are refused."""
    store = SpanStore(tmp_path)
    with pytest.raises(SpanError, match="span 3 does not exist"):
        store.add_late_rows(3, [_table([1])], source="a")
    store.create(3, [_table([1])], source="a")
    with pytest.raises(SpanError, match="'time' must be int64, got double"):
        other = _table([2]).set_column(0, "time", pa.array([2.0]))
        store.add_late_rows(3, [other], source="b")
    assert 1 == store.manifest(3).version


def test_many_rows_become_several_files_of_bounded_groups(tmp_path: Path) -> None:
    """A large span is cut into files of about a million rows, and read in batches of at most 65,536."""
    store = SpanStore(tmp_path)
    part = pa.table({"x": pa.array(range(100_000), pa.int64())})
    manifest = store.create(1, (part for _ in range(12)), source="big")
    assert [1_048_576, 151_424] == [file["rows"] for file in manifest.files]
    sizes = [batch.num_rows for batch in store.read(1)]
    assert (1_200_000, 65_536) == (sum(sizes), max(sizes))


def test_an_empty_span_is_refused(tmp_path: Path) -> None:
    """No rows, no span; nothing stays behind."""
    store = SpanStore(tmp_path)
    with pytest.raises(SpanError, match="must have rows"):
        store.create(1, [], source="nothing")
    with pytest.raises(SpanError, match="at least 1"):
        store.create(0, [_table([1])], source="zero")
    assert [] == store.ids()


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete", "manifest"])
def test_damage_is_found_and_named(tmp_path: Path, harm: str) -> None:
    """A truncated, changed or missing file is named, with the way to get it back."""
    store = SpanStore(tmp_path)
    path = store.create(1, [_table(list(range(1000)))], source="a").folder / "data-00000.parquet"
    data = path.read_bytes()
    if harm == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif harm == "delete":
        path.unlink()
    else:
        path = path.with_name("manifest.json")
        path.write_text(path.read_text()[:40])
    with pytest.raises(SpanError) as error:
        store.table(1, verify=True)
    assert str(path) in str(error.value)
    assert "ingest its source again" in str(error.value)


def test_quarantine_and_unquarantine(tmp_path: Path) -> None:
    """A quarantined span keeps its id and rows; taking it out takes the note away, once."""
    store = SpanStore(tmp_path)
    for span in (1, 2, 5):
        store.create(span, [_table([span])], source="a")
    store.quarantine(5, {"verdict": "broken"})
    assert [1, 2, 5] == store.ids()
    assert {"verdict": "broken"} == store.quarantined()[5]["verdict"]
    store.unquarantine(5)
    assert {} == store.quarantined()
    with pytest.raises(SpanError, match="not in quarantine"):
        store.unquarantine(5)
    with pytest.raises(SpanError, match="there is no span 9; known: 1 to 5"):
        store.manifest(9)


def test_rows_that_come_on_top_of_a_quarantined_span(tmp_path: Path) -> None:
    """They stay in quarantine with it; a correction leaves it, and names whose rows it replaced."""
    store = SpanStore(tmp_path)
    store.create(1, [_table([1, 5])], source={"name": "a", "sha256": "aa", "rows": 2}, event_time=(1, 5))
    store.quarantine(1, {"verdict": "broken"}, run_id="r1")
    since = store.quarantined()[1]["since"]
    top = {"name": "b", "sha256": "bb", "rows": 1}
    added = store.add_late_rows(1, [_table([3])], source=top, event_time=(3, 3), order="time")
    assert (2, 3, [1, 3, 5]) == (added.version, added.rows, store.table(1)["time"].to_pylist())
    assert {
        1: {"span": 1, "version": 2, "since": since, "verdict": {"verdict": "broken"}, "run_id": "r1"}
    } == store.quarantined()
    right = {"name": "c", "sha256": "cc", "rows": 1}
    corrected = store.correct(1, [_table([2])], source=right, event_time=(2, 2))
    assert {"replaces": 2, "replaced": ["aa", "bb"]} == corrected.extra
    late = store.add_late_rows(1, [_table([4])], source=top | {"sha256": "dd"}, event_time=(4, 4))
    assert ({}, {"replaced": ["aa", "bb"]}) == (store.quarantined(), late.extra)
    store.quarantine(1, "broken again")
    again = store.correct(1, [_table([2])], source=top, event_time=(2, 2))
    assert {"replaces": 4, "replaced": ["aa", "cc", "dd"]} == again.extra


def test_only_a_span_in_quarantine_is_corrected(tmp_path: Path) -> None:
    """Rows of a good span are never replaced; the error names the spans that may be corrected."""
    store = SpanStore(tmp_path)
    store.create(1, [_table([1])], source="a")
    store.create(2, [_table([2])], source="a")
    store.quarantine(2, "broken")
    with pytest.raises(SpanError, match="span 1 is not in quarantine; these are: 2"):
        store.correct(1, [_table([3])], source="b")
    with pytest.raises(SpanError, match="span 3 does not exist"):
        store.correct(3, [_table([3])], source="b")
    assert _table([1]) == store.table(1)


@pytest.mark.parametrize("harm", ["", "{", "[]", "{}", "\x00\x00"])
def test_a_damaged_note_of_quarantine_is_named(tmp_path: Path, harm: str) -> None:
    """Nobody takes the span for a good one; the error has the next step."""
    store = SpanStore(tmp_path)
    store.create(1, [_table([1])], source="a")
    store.quarantine(1, "broken")
    note = store.folder / "00000001" / "QUARANTINED.json"
    note.write_text(harm)
    with pytest.raises(SpanError, match="the note of a span in quarantine cannot be read") as error:
        store.quarantined()
    assert str(note) == error.value.where and "backup" in error.value.next_step


_DIE = """
import os, signal, sys
import pandas  # which Arrow imports when it is first used
import pyarrow as pa
from noria.stores.spans import SpanStore
late, steps, count = sys.argv[1] == "late", 0, 0
def hook(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
        count += any(str(each).startswith(home) for each in arguments)
        if count == steps:
            os.kill(os.getpid(), signal.SIGKILL)
for argument in sys.argv[2:]:
    home, steps = argument.rsplit("/", 1)[0], int(argument.rsplit("/", 1)[1])
    child = os.fork()  # saves importing Arrow again; nothing of it has run yet
    if child == 0:
        sys.addaudithook(hook)
        rows = pa.table({"time": pa.array(range(50, 150), pa.int64())})
        store = SpanStore(home)
        if late:
            store.add_late_rows(1, [rows], source="b", order="time")
        else:
            store.create(1, [rows], source="b")
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("late", ["late", "new"])
def test_sigkill_while_committing_leaves_whole_versions_only(tmp_path: Path, late: str) -> None:
    """Writers are killed at every other step: a version is there whole or not, and leftovers are swept."""
    steps = [*range(1, 20, 2), 99]
    for n in steps:
        store = SpanStore(tmp_path / f"home-{n}")
        store.create(2, [_table([1])], source="other")
        if late == "late":
            store.create(1, [pa.table({"time": pa.array(range(100), pa.int64())})], source="a")
    kills = [f"{tmp_path}/home-{n}/{n}" for n in steps]
    subprocess.run([sys.executable, "-c", _DIE, late, *kills], check=True)
    whole = []
    for n in steps:
        store = SpanStore(tmp_path / f"home-{n}")
        rows = store.table(1, verify=True)["time"].to_pylist() if 1 in store.ids() else None
        before = list(range(100)) if late == "late" else None
        after = sorted([*range(100), *range(50, 150)]) if late == "late" else list(range(50, 150))
        assert rows in (before, after)
        whole.append(rows == after)
        store.create(3, [_table([1])], source="after")
        assert [] == [path.name for path in store.folder.iterdir() if path.name.startswith(files.STAGING)]
    assert (False, True) == (whole[0], whole[-1])


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    """Other programs can read it."""
    manifest = SpanStore(tmp_path).create(1, [_table([1])], source={"name": "a", "sha256": "ff", "rows": 1})
    values = json.loads((manifest.folder / "manifest.json").read_text())
    assert (1, 1, [{"name": "a", "sha256": "ff", "rows": 1}]) == (
        values["span"],
        values["rows"],
        values["sources"],
    )
