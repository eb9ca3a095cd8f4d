"""The cold twin: registered, never served by its number, and taken when it is better."""

import functools
import shutil
from pathlib import Path

import pytest

from noria.core.errors import RegistryError
from noria.stores import model_directory, twin
from noria.stores.publication import Publication
from noria.stores.recovery import recover, retain
from noria.stores.registry import Registry, run_of
from tests.helpers.killed import killed_at
from tests.unit.stores.test_registry import payload, publish, served_text, states


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models" / "m"


def add_twin(registry: Registry, run_id: str, tmp_path: Path, blessed: bool = True) -> int:
    """A twin with its run, as the Pusher leaves it."""
    made = registry.register(
        payload(tmp_path, run_id), run_id=run_id, mode="twin", span=1, twin=True, blessed=blessed
    )
    registry.record_run(run_of(made))
    return made.version


def warm(registry: Registry, run_id: str, tmp_path: Path, root: Path, losses: tuple | None = None) -> None:
    """A warm run that publishes; `losses` are those of twin and champion on its span."""
    version, found = publish(registry, run_id, tmp_path, root), None
    if losses is not None:
        found = {"version": registry.state().twin.version, "loss": losses[0], "champion": losses[1]}
    registry.record_run(run_of(version, span=2, twin=found))


def test_a_twin_is_no_number_in_the_model_directory(tmp_path: Path, root: Path) -> None:
    """TF Serving takes the largest number: the twin has a name with a dot, and only while it is better."""
    registry = Registry(tmp_path)
    warm(registry, "a", tmp_path, root)
    assert 2 == add_twin(registry, "t", tmp_path)
    publication = Publication(registry, root)
    assert [] == publication.follow_twin()
    assert {1: "published", 2: "twin"} == states(registry)
    with pytest.raises(RegistryError, match="version 2 is twin, only a registered one"):
        publication.publish(2)
    warm(registry, "b", tmp_path, root, (0.4, 0.5))
    assert [] == publication.follow_twin(), "one span is not enough"
    warm(registry, "c", tmp_path, root, (0.4, 0.5))
    assert (0.8, 2, True, True) == (lambda r: (r.ratio, r.spans, r.better, r.leads))(
        twin.record(registry.state())
    )
    assert [f"added twin 2 to {root}"] == publication.follow_twin()
    assert [] == recover(registry, root)
    assert ([1, 3, 4], [2]) == (model_directory.served(root), model_directory.twins(root))
    assert "saved_model.pb of c" == served_text(root)
    warm(registry, "d", tmp_path, root, (9.0, 0.5))
    assert [f"took twin 2 out of {root}"] == recover(registry, root)
    assert "twin" == states(registry)[2]


def test_a_rollback_to_the_twin_gives_it_a_number_of_today(tmp_path: Path, root: Path) -> None:
    """The bad champion leaves the model directory, and is no version to go back to."""
    registry = Registry(tmp_path)
    for run in "ab":
        warm(registry, run, tmp_path, root)
    add_twin(registry, "t", tmp_path)
    for run in "cd":
        warm(registry, run, tmp_path, root, (0.4, 0.5))
    publication = Publication(registry, root)
    publication.follow_twin()
    with pytest.raises(RegistryError, match="as good: 1, 2, 4; version 3 is the twin"):
        publication.rollback("bad", "me", to=9)
    found = publication.rollback("bad", "me", to=3)
    assert (6, "published", 3) == (found.version, found.state, found.parent)
    assert "saved_model.pb of t" == served_text(root)
    assert ([1, 2, 4, 6], []) == (model_directory.served(root), model_directory.twins(root))
    expected = {1: "retired", 2: "retired", 3: "retired", 4: "retired", 5: "rolled_back", 6: "published"}
    assert expected == states(registry)
    assert [] == recover(Registry(tmp_path), root)
    warm(registry, "e", tmp_path, root)
    assert 6 == publication.rollback("bad too", "me").version
    assert 4 == publication.rollback("and that", "me").version


def test_a_rollback_to_the_twin_survives_a_kill_anywhere(tmp_path: Path, root: Path) -> None:
    """After any kill and recovery the old champion serves or the twin does, as the log says; never something else."""
    before, step, seen = tmp_path / "before", 0, set()
    registry, root = Registry(before), before / "models" / "m"
    for run in "ab":
        warm(registry, run, before, root)
    add_twin(registry, "t", before)
    for run in "cd":
        warm(registry, run, before, root, (0.4, 0.5))
    Publication(registry, root).follow_twin()
    while True:
        step, place = step + 1, tmp_path / "now"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(before, place)
        root = place / "models" / "m"
        roll_back = functools.partial(Publication(Registry(place), root).rollback, "bad", "me", to=3)
        killed = killed_at(step, place, roll_back)
        recover(Registry(place), root)
        champion = Registry(place).champion()
        served = "t" if champion.version == 6 else "d"
        seen.add(served)
        assert f"saved_model.pb of {served}" == served_text(root)
        assert champion.version == max(model_directory.served(root))
        if served == "d":
            assert 6 == Publication(Registry(place), root).rollback("bad", "me", to=3).version
        assert ([1, 2, 4, 6], []) == (model_directory.served(root), model_directory.twins(root))
        assert [] == recover(Registry(place), root)
        if not killed:
            break
    assert {"t", "d"} == seen
    assert step > 10


def test_retention_keeps_the_twin_until_the_next_one(tmp_path: Path, root: Path) -> None:
    """One twin at a time; an older one is a version like others."""
    registry = Registry(tmp_path)
    warm(registry, "a", tmp_path, root)
    add_twin(registry, "t", tmp_path)
    for run in "bcd":
        warm(registry, run, tmp_path, root, (0.4, 0.5))
    Publication(registry, root).follow_twin()
    assert [1, 3] == retain(registry, 2, root)
    assert 6 == add_twin(registry, "u", tmp_path)
    assert ("retired", "twin") == (states(registry)[2], states(registry)[6])
    assert [f"took twin 2 out of {root}"] == recover(registry, root)
    assert [2] == retain(registry, 1, root)


def test_the_record_decides_when_the_next_twin_is_due(tmp_path: Path, root: Path) -> None:
    """After N versions that were published; twins that are not close to the champion double N, each in a row."""
    registry = Registry(tmp_path)
    assert not twin.due(registry.state(), 2)
    due = []
    for number in range(1, 25):
        champion = registry.champion()
        version = registry.register(
            payload(tmp_path, f"r{number}"),
            run_id=f"r{number}",
            span=number,
            mode="warm" if champion else "cold",
            parent=champion.version if champion else None,
        )
        version = Publication(registry, root).publish(version.version)
        found, now = None, registry.state().twin
        if now is not None:  # the third twin is good, the others are not
            found = {"version": now.version, "loss": 0.5 if len(due) == 3 else 0.6, "champion": 0.5}
        registry.record_run(run_of(version, twin=found))
        assert not twin.due(registry.state(), None)
        if twin.due(registry.state(), 2):
            due.append(number)
            add_twin(registry, f"t{number}", tmp_path)
    # The first run was cold. Then 2, 4 and 8 versions, and 2 again after the good one.
    assert [3, 7, 15, 17, 21] == due


def test_what_a_record_is_worth() -> None:
    """The fallback below 1 on two spans, a candidate at 0.98, the next twin after N at 1.02; without a loss nothing."""

    def worth(*ratios: float) -> tuple[bool, bool, bool]:
        found = twin.Record(1)
        for ratio in ratios:
            found = found.add(ratio, 1.0)
        return found.better, found.leads, found.pays

    assert (False, False, False) == worth()
    assert (False, False, True) == worth(0.5)
    assert (True, True, True) == worth(0.98, 0.98)
    assert (True, False, True) == worth(0.99, 0.99)
    assert (False, False, True) == worth(1.02, 1.02)
    assert (False, False, False) == worth(1.0, 1.1)
    failed = twin.Record(1).add(0.5, 1.0).fail()
    assert (False, False, None) == (failed.better, failed.pays, failed.to_json()["ratio"])
    assert "cannot predict" in str(failed)


def test_a_twin_that_fails_validation_counts_as_one_that_does_not_pay(tmp_path: Path, root: Path) -> None:
    """It is rejected, so there is no twin; the next one is tried later, not at once."""
    registry = Registry(tmp_path)
    for run in "abc":
        warm(registry, run, tmp_path, root)
    assert twin.due(registry.state(), 3)
    add_twin(registry, "t", tmp_path, blessed=False)
    assert registry.state().twin is None and twin.record(registry.state()) is None
    assert "rejected" == registry.runs()[-1].model_verdict
    assert not twin.due(registry.state(), 3)


def test_a_promoted_twin_is_no_twin_any_more(tmp_path: Path, root: Path) -> None:
    """The champion is it, under its number or a new one; nothing is the fallback of itself."""
    registry = Registry(tmp_path)
    publication = Publication(registry, root)
    warm(registry, "a", tmp_path, root)
    add_twin(registry, "t", tmp_path)
    assert 2 == publication.promote(2, "it is good", "me").version
    assert ({1: "retired", 2: "published"}, None) == (states(registry), registry.state().twin)
    add_twin(registry, "u", tmp_path)
    for run in "bc":
        warm(registry, run, tmp_path, root, (0.4, 0.5))
    publication.follow_twin()
    assert (6, 3) == (lambda found: (found.version, found.parent))(publication.promote(3, "so is this", "me"))
    assert ("retired", "published") == (states(registry)[3], states(registry)[6])
    assert [f"took twin 3 out of {root}"] == recover(registry, root)
    assert 6 in model_directory.served(root)
