"""Which spans wait: all since the first one with a run, except those in quarantine."""

from pathlib import Path

import pyarrow as pa
import pytest

from noria.core.errors import SpanError
from noria.stores.pending import once_more, pending
from noria.stores.quarantine import hold_back, unquarantine
from noria.stores.recovery import recover
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from tests.helpers.killed import killed_at

BROKEN = {"verdict": "broken", "reasons": ["the column `dest` is empty"], "file": "data_verdict.json"}


def rows(*values: int) -> pa.Table:
    return pa.table({"time": pa.array(values, pa.int64())})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Spans 1 to 5, a good run on 2 and 3, and 4 broken."""
    home = tmp_path / "home"
    for span in range(1, 6):
        SpanStore(home).create(span, [rows(span)], source="a")
    for span in (2, 3):
        Registry(home).record_run(RunRecord(span=span, run_id=f"run-{span}", data_verdict="ok"))
    hold_back(home, 4, 1, BROKEN, "run-4")
    return home


def test_the_first_run_waits_for_enough_spans(tmp_path: Path) -> None:
    """Before the first run nothing waits until `first` spans are there; then the last of them does."""
    for span in (1, 2, 3):
        assert [] == pending(tmp_path, 3)
        SpanStore(tmp_path).create(span, [rows(span)], source="a")
    assert [3] == pending(tmp_path, 3)


def test_one_future_timestamp_stops_nothing(home: Path) -> None:
    """A run on a span of the year 2031 does not make the pipeline pass over the spans between."""
    SpanStore(home).create(6695, [rows(9)], source="a clock")
    Registry(home).record_run(RunRecord(span=6695, run_id="future", data_verdict="ok"))
    assert [5] == pending(home, 2)
    SpanStore(home).create(6, [rows(6)], source="a")
    assert [5, 6] == pending(home, 2)


def test_an_unquarantined_span_waits_again(home: Path) -> None:
    """In quarantine it does not wait; taken out it does, until its next run; the log says who, why and how."""
    assert [5] == pending(home, 2)
    made = unquarantine(home, 4, "the new airport is real", "ann", forced=True)
    assert "taken out of quarantine by ann: the new airport is real" == str(made)
    assert [4, 5] == pending(home, 2)
    assert made == Registry(home).unquarantine_of(4, 1)
    assert Registry(home).unquarantine_of(4, 2) is None
    Registry(home).record_run(RunRecord(span=4, run_id="again", data_verdict="drifted"))
    assert [5] == pending(home, 2)
    assert Registry(home).unquarantine_of(4, 1, waiting=True) is None
    assert Registry(home).unquarantine_of(4, 1).forced


def test_unquarantine_refuses_what_makes_no_sense(home: Path) -> None:
    """No reason, no such span, a span that is not in quarantine: an error, and nothing is written."""
    before = len(list((home / "registry" / "events").iterdir()))
    with pytest.raises(SpanError, match="needs a reason"):
        unquarantine(home, 4, " ", "ann")
    with pytest.raises(SpanError, match="there is no span 9"):
        unquarantine(home, 9, "why", "ann")
    with pytest.raises(SpanError, match="span 3 is not in quarantine; these are: 4"):
        unquarantine(home, 3, "why", "ann")
    assert before == len(list((home / "registry" / "events").iterdir()))


def test_a_corrected_delivery_replaces_and_waits(home: Path) -> None:
    """Rows for a span in quarantine become its next version alone, which waits; later ones are late rows."""
    store = SpanStore(home)
    manifest = store.correct(4, [rows(7, 8)], source="b", event_time=(7, 8), labels={"1": 2})
    assert (2, 2, {"1": 2}, (7, 8)) == (manifest.version, manifest.rows, manifest.labels, manifest.event_time)
    assert (["b"], 1) == ([source["name"] for source in manifest.sources], manifest.extra["replaces"])
    assert [7, 8] == store.table(4)["time"].to_pylist()
    assert {} == store.quarantined()
    assert [4, 5] == pending(home, 2)
    late = store.add_late_rows(4, [rows(9)], source="c")
    assert ([7, 8, 9], {}) == (store.table(4)["time"].to_pylist(), late.extra)


def test_a_note_is_about_one_version(home: Path) -> None:
    """A writer is killed after its commit and before it deletes the note: the new version is still free."""
    note = (home / "spans" / "00000004" / "QUARANTINED.json").read_bytes()
    SpanStore(home).correct(4, [rows(7)], source="b")
    (home / "spans" / "00000004" / "QUARANTINED.json").write_bytes(note)
    assert [4, 5] == pending(home, 2)


def test_what_was_corrected_meanwhile_is_not_held_back(home: Path) -> None:
    """A run on the cluster finds the older version broken: its run ends, and the newer version waits, note or not."""
    store = SpanStore(home)
    store.add_late_rows(5, [rows(7)], source="b")
    store.quarantine(5, BROKEN, 2, "run-b")
    hold_back(home, 5, 1, BROKEN, "run-a")
    assert 2 == store.quarantined()[5]["version"]
    store.unquarantine(5)
    hold_back(home, 5, 1, BROKEN, "run-c")
    assert ([4], [5]) == (list(store.quarantined()), pending(home, 2))
    assert (5, 1) == (Registry(home).runs()[-1].span, Registry(home).runs()[-1].span_version)


def test_a_thin_span_waits_again_when_it_has_grown(home: Path) -> None:
    """Later spans have their runs; a further run is made on the newest that is not thin; late rows change that."""
    registry, store = Registry(home), SpanStore(home)
    store.create(6, [rows(6)], source="a")
    for span, run in ((5, "run-5"), (6, "run-6")):
        registry.record_run(
            RunRecord(
                span, run, span_version=1, data_verdict="thin", model_verdict="skipped", reasons=("few",)
            )
        )
    assert ([], [3]) == (pending(home, 2), once_more(home))
    store.add_late_rows(5, [rows(7, 8)], source="b")
    assert ([5], [5]) == (pending(home, 2), once_more(home))
    registry.record_run(RunRecord(5, "run-5b", span_version=2, data_verdict="ok", model_verdict="blessed"))
    assert ([], [5]) == (pending(home, 2), once_more(home))


def test_a_withheld_run_is_none(home: Path) -> None:
    """A span whose model came too late waits again, unless another run on it came through."""
    registry = Registry(home)
    registry.record_run(
        RunRecord(span=5, run_id="run-5", data_verdict="ok", withheld="was judged against ...")
    )
    assert [5] == pending(home, 2)
    registry.record_run(RunRecord(span=5, run_id="run-5b", data_verdict="ok"))
    assert [] == pending(home, 2)


def test_killed_between_quarantine_and_run(home: Path) -> None:
    """A run that quarantines a span may die at any step: the span waits, or recovery records its run."""
    models = home / "models"
    outcomes = set()
    for n in range(1, 60):
        span = 10 + n
        SpanStore(home).create(span, [rows(span)], source="a")
        killed = killed_at(n, home, lambda span=span: hold_back(home, span, 1, BROKEN, f"run-{span}"))
        held = span in SpanStore(home).quarantined()
        assert held != (span in pending(home, 2))
        recovered = recover(Registry(home), models)
        trained = [record for record in Registry(home).runs() if record.span == span]
        assert held == bool(trained)
        if held:
            (record,) = trained
            facts = (record.data_verdict, record.model_verdict, record.reasons)
            assert ("broken", "skipped", tuple(BROKEN["reasons"])) == facts
        outcomes.add((held, any("ended the run" in line for line in recovered)))
        assert [] == recover(Registry(home), models)
        if not killed:
            break
    assert {(False, False), (True, True), (True, False)} == outcomes


def test_killed_while_unquarantining(home: Path) -> None:
    """An `unquarantine` that died anywhere is finished by typing it again: one event, and the span waits."""
    kills = 0
    for n in range(1, 60):
        span = 10 + n
        SpanStore(home).create(span, [rows(span)], source="a")
        hold_back(home, span, 1, BROKEN, f"run-{span}")
        killed = killed_at(n, home, lambda span=span: unquarantine(home, span, "why", "ann"))
        kills += killed
        free = span not in SpanStore(home).quarantined()
        assert not free or Registry(home).unquarantine_of(span, 1) is not None
        unquarantine(home, span, "why", "ann")
        assert span in pending(home, 2)
        events = [path.read_text() for path in (home / "registry" / "events").glob("*.json")]
        assert 1 == sum('"kind": "unquarantined"' in text and f'"span": {span},' in text for text in events)
        if not killed:
            break
    assert kills > 3
