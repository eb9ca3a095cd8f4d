"""The registry: numbers only grow, one champion serves, nothing is forgotten."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from noria.core.errors import RegistryError
from noria.stores.publication import Publication
from noria.stores.recovery import recover, retain
from noria.stores.registry import Registry, RunRecord, Version, run_of
from noria.stores.versions import State
from tests.helpers.killed import killed_at


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models" / "m"


def payload(tmp_path: Path, text: str) -> dict[str, Path]:
    """A model as a run leaves it: a SavedModel of several files, and a checkpoint."""
    run = tmp_path / "run" / text
    for name in ("saved_model.pb", "variables/variables.index", "assets/vocabulary"):
        path = run / "serving" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of {text}\n" * 100)
    (run / "checkpoint").mkdir(exist_ok=True)
    (run / "checkpoint" / "weights").write_text(text)
    return {"serving": run / "serving", "checkpoint": run / "checkpoint"}


def register(registry: Registry, run_id: str, tmp_path: Path, **facts: object) -> Version:
    return registry.register(payload(tmp_path, run_id), run_id=run_id, **facts)


def publish(registry: Registry, run_id: str, tmp_path: Path, root: Path) -> Version:
    champion = registry.champion()
    version = register(registry, run_id, tmp_path, parent=champion.version if champion else None, mode="warm")
    return Publication(registry, root).publish(version.version)


def states(registry: Registry) -> dict[int, str]:
    return {version.version: version.state for version in registry.versions()}


def served_text(root: Path) -> str:
    newest = max(int(path.name) for path in root.iterdir() if path.name.isdigit())
    return (root / str(newest) / "saved_model.pb").read_text().split("\n")[0]


def test_register_then_publish_then_the_next(tmp_path: Path, root: Path) -> None:
    """A blessed version serves; when the next one does, it is retired."""
    registry = Registry(tmp_path)
    assert registry.champion() is None
    facts = {
        "mode": "cold",
        "span": 4,
        "spans": [1, 2, 3, 4],
        "metrics": {"challenger": {"auc": 0.7}, "champion": None},
        "verdict": {"model": {"blessed": True}, "data": {"verdict": "ok"}},
        "reasons": ["first run"],
        "rows": {"train": 10},
    }
    first = register(registry, "a", tmp_path, **facts)
    assert (1, "registered", (1, 2, 3, 4)) == (first.version, first.state, first.spans)
    assert "a" == (first.payload_path / "checkpoint" / "weights").read_text()
    published = Publication(registry, root).publish(1)
    assert ("published", str(root / "1")) == (published.state, published.model_dir)
    assert "saved_model.pb of a" == served_text(root)
    publish(registry, "b", tmp_path, root)
    assert {1: "retired", 2: "published"} == states(registry)
    assert 2 == registry.champion().version
    assert ["1", "2"] == sorted(path.name for path in root.iterdir())
    # Another process sees the same.
    assert Registry(tmp_path).versions() == registry.versions()


def test_a_run_registers_once(tmp_path: Path) -> None:
    """A run that is repeated gets the version it made."""
    registry = Registry(tmp_path)
    assert register(registry, "a", tmp_path) == register(Registry(tmp_path), "a", tmp_path)
    assert [1] == list(states(registry))


def test_a_moved_home_still_finds_its_payloads(tmp_path: Path) -> None:
    """The log holds no absolute places."""
    register(Registry(tmp_path / "here"), "a", tmp_path)
    shutil.move(tmp_path / "here", tmp_path / "there")
    version = Registry(tmp_path / "there").version(1)
    assert "a" == (version.payload_path / "checkpoint" / "weights").read_text()


def test_rejected_is_kept_and_not_published(tmp_path: Path, root: Path) -> None:
    """A rejected version has its files and its verdict, and does not serve."""
    registry = Registry(tmp_path)
    version = register(registry, "a", tmp_path, blessed=False, reasons=["auc fell"])
    assert ("rejected", ("auc fell",)) == (version.state, version.reasons)
    with pytest.raises(RegistryError, match="version 1 is rejected"):
        Publication(registry, root).publish(1)
    assert not root.exists() or [] == list(root.iterdir())


def test_promote_publishes_a_rejected_version_and_says_who_and_why(tmp_path: Path, root: Path) -> None:
    """An override is written down; one that is older than the champion gets a new number."""
    registry = Registry(tmp_path)
    publish(registry, "a", tmp_path, root)
    register(registry, "b", tmp_path, blessed=False, parent=1)
    with pytest.raises(RegistryError, match="needs a reason"):
        Publication(registry, root).promote(2, " ", "me")
    promoted = Publication(registry, root).promote(2, "the gate is wrong", "me")
    assert (2, "published") == (promoted.version, promoted.state)
    assert ("the gate is wrong", "me") == (promoted.promoted["reason"], promoted.promoted["actor"])
    publish(registry, "c", tmp_path, root)
    again = Publication(registry, root).promote(2, "b was better", "you")
    assert (4, 2, "published") == (again.version, again.parent, again.state)
    assert "saved_model.pb of b" == served_text(root)
    assert {1: "retired", 2: "retired", 3: "retired", 4: "published"} == states(registry)
    with pytest.raises(RegistryError, match="serves already"):
        Publication(registry, root).promote(4, "again", "me")
    with pytest.raises(RegistryError, match="there is no version 9; known: 1, 2, 3, 4"):
        Publication(registry, root).promote(9, "why", "me")


def test_rollback_goes_back_step_by_step(tmp_path: Path, root: Path) -> None:
    """The bad version's folder goes, so the largest number left is the good one."""
    registry = Registry(tmp_path)
    with pytest.raises(RegistryError, match="none ever served"):
        Publication(registry, root).rollback("bad", "me")
    for run in "abc":
        publish(registry, run, tmp_path, root)
    assert 2 == Publication(registry, root).rollback("bad", "me").version
    assert "saved_model.pb of b" == served_text(root)
    assert {1: "retired", 2: "published", 3: "rolled_back"} == states(registry)
    publish(registry, "d", tmp_path, root)
    assert [4] == [version.version for version in registry.versions() if version.state == "published"]
    assert 1 == Publication(registry, root).rollback("all bad", "me", to=1).version
    assert "saved_model.pb of a" == served_text(root)
    with pytest.raises(RegistryError, match="only version 1 ever served"):
        Publication(registry, root).rollback("bad", "me")


def test_rollback_restores_what_retention_took_from_the_model_directory(tmp_path: Path, root: Path) -> None:
    """A good version that is gone from the model directory is copied back from the registry first."""
    registry = Registry(tmp_path)
    for run in "ab":
        publish(registry, run, tmp_path, root)
    shutil.rmtree(root / "1")
    Publication(registry, root).rollback("bad", "me")
    assert ["1"] == [path.name for path in root.iterdir() if path.name.isdigit()]
    assert "saved_model.pb of a" == served_text(root)


def test_a_promoted_rolled_back_version_gets_a_new_number(tmp_path: Path, root: Path) -> None:
    """A number that was withdrawn is never served again, since a server may still know it."""
    registry = Registry(tmp_path)
    for run in "ab":
        publish(registry, run, tmp_path, root)
    Publication(registry, root).rollback("seemed bad", "me")
    assert 3 == Publication(registry, root).promote(2, "was fine", "me").version
    assert {1: "retired", 2: "rolled_back", 3: "published"} == states(registry)


def test_a_foreign_newer_version_in_the_model_directory_is_refused(tmp_path: Path, root: Path) -> None:
    """TF Serving would pass over a smaller number without a word, so publishing refuses."""
    (root / "1700000000").mkdir(parents=True)
    registry = Registry(tmp_path)
    register(registry, "a", tmp_path)
    with pytest.raises(RegistryError, match="1700000000"):
        Publication(registry, root).publish(1)


def test_a_promotion_goes_above_a_foreign_version(tmp_path: Path, root: Path) -> None:
    """What publishing advises does help: it serves under a larger number, later versions continue from that."""
    registry = Registry(tmp_path)
    for run in "ab":
        publish(registry, run, tmp_path, root)
    register(registry, "c", tmp_path, parent=2)
    (root / "999").mkdir()
    with pytest.raises(RegistryError, match="version 3 is older than version 999") as error:
        Publication(registry, root).publish(3)
    assert "promote 3 --force" in str(error.value)
    assert (1000, 3, "published") == (lambda v: (v.version, v.parent, v.state))(
        Publication(registry, root).promote(3, "999 is a trial", "me")
    )
    assert "saved_model.pb of c" == served_text(root)
    assert [] == recover(registry, root)
    assert 1001 == publish(registry, "d", tmp_path, root).version
    Publication(registry, root).rollback("d is bad", "me")
    with pytest.raises(RegistryError, match="version 2 cannot serve beside version 999, which is not from"):
        Publication(registry, root).rollback("c is bad too", "me")
    assert {2: "retired", 1000: "published", 1001: "rolled_back"}.items() <= states(registry).items()


def test_a_promotion_that_a_foreign_version_stopped_can_be_made_good(tmp_path: Path, root: Path) -> None:
    """Homes of earlier releases may hold one that was written down and could not be published."""
    registry = Registry(tmp_path)
    version = register(registry, "a", tmp_path)
    facts = {"reason": "r", "actor": "me", "was": "registered", "model_root": str(root)}
    registry.log.append("promoted", version=1, as_version=1, **facts)
    (root / "999").mkdir(parents=True)
    with pytest.raises(RegistryError, match="999"):
        recover(registry, root)
    assert 1000 == Publication(registry, root).promote(version.version, "999 is a trial", "me").version
    assert ["stopped publishing version 1, which is registered"] == recover(Registry(tmp_path), root)
    assert [] == recover(Registry(tmp_path), root)


def test_damage_of_a_stored_model_is_found_before_it_serves(tmp_path: Path, root: Path) -> None:
    """A payload that changed since it was registered is not published."""
    registry = Registry(tmp_path)
    version = register(registry, "a", tmp_path)
    (version.payload_path / "serving" / "saved_model.pb").write_text("bit rot")
    with pytest.raises(RegistryError, match="damaged"):
        Publication(registry, root).publish(1)
    assert [] == [path for path in root.iterdir() if path.name.isdigit()]


def test_retention_keeps_what_is_needed(tmp_path: Path, root: Path) -> None:
    """The newest n, the champion, the version to go back to and the champion's last good parent stay."""
    registry = Registry(tmp_path)
    for run in "abc":
        publish(registry, run, tmp_path, root)
    for run in "defg":
        register(registry, run, tmp_path, blessed=False, parent=3)
    assert [1, 4, 5] == retain(registry, 2, root)
    assert {1, 4, 5} == {number for number, state in states(registry).items() if state == "expired"}
    assert ["2", "3"] == sorted(path.name for path in root.iterdir())
    assert ["2", "3", "6", "7"] == sorted(
        path.name for path in (tmp_path / "registry" / "versions").iterdir() if path.name.isdigit()
    )
    assert [] == retain(registry, 2, root)
    assert 2 == Publication(registry, root).rollback("bad", "me").version
    with pytest.raises(RegistryError, match="retention deleted its files"):
        Publication(registry, root).promote(1, "why not", "me")


def test_retention_keeps_the_last_good_parent(tmp_path: Path, root: Path) -> None:
    """Where the parent was rolled back, its parent is the one to keep."""
    registry = Registry(tmp_path)
    publish(registry, "a", tmp_path, root)
    publish(registry, "b", tmp_path, root)
    child = register(registry, "c", tmp_path, parent=2)
    Publication(registry, root).rollback("bad", "me")
    Publication(registry, root).promote(child.version, "its parent's fault is not its own", "me")
    for run in "defg":
        publish(registry, run, tmp_path, root)
    Publication(registry, root).rollback("bad", "me", to=3)
    retain(registry, 1, root)
    assert "retired" == states(registry)[1]
    assert "published" == states(registry)[3]


def test_runs_are_kept_in_order_and_replaced_by_run(tmp_path: Path) -> None:
    """A run that is recorded again (its report is known now) replaces the first record."""
    registry = Registry(tmp_path)
    version = register(
        registry,
        "a",
        tmp_path,
        span=4,
        blessed=False,
        verdict={"data": {"verdict": "ok"}, "model": {}},
        metrics={"challenger": {"auc": 0.6}, "champion": None},
    )
    registry.record_run(run_of(version))
    registry.record_run(RunRecord(span=5, run_id="b", data_verdict="broken", model_verdict="skipped"))
    registry.record_run(run_of(version, report="r.html", seconds={"Trainer": 1.5}))
    records = Registry(tmp_path).runs()
    assert [
        (4, "ok", "rejected", 1),
        (5, "broken", "skipped", None),
    ] == [(record.span, record.data_verdict, record.model_verdict, record.version) for record in records]
    assert ("r.html", {"Trainer": 1.5}) == (records[0].report, records[0].seconds)


def test_bad_facts_are_refused(tmp_path: Path) -> None:
    """A misspelt fact, a missing run_id or a missing file stores nothing."""
    registry = Registry(tmp_path)
    with pytest.raises(RegistryError, match="metricks"):
        register(registry, "a", tmp_path, metricks={})
    with pytest.raises(RegistryError, match="run_id"):
        registry.register(payload(tmp_path, "a"))
    with pytest.raises(RegistryError, match="missing"):
        registry.register({"serving": tmp_path / "nowhere"}, run_id="a")
    assert [] == registry.versions()


def test_a_damaged_event_is_named(tmp_path: Path) -> None:
    """A state that cannot be known is not guessed."""
    register(Registry(tmp_path), "a", tmp_path)
    event = tmp_path / "registry" / "events" / "00000001.json"
    event.write_text("{")
    with pytest.raises(RegistryError) as error:
        Registry(tmp_path).versions()
    assert str(event) in str(error.value)


def test_a_missing_event_is_named(tmp_path: Path) -> None:
    """A gap stops readers and writers; what was written behind it would be read by nobody."""
    for number in range(1, 6):
        Registry(tmp_path).record_run(RunRecord(span=number, run_id=f"run-{number}"))
    started_before = Registry(tmp_path)
    assert 5 == len(started_before.runs())
    folder = tmp_path / "registry" / "events"
    (folder / "00000003.json").unlink()
    reader = Registry(tmp_path)
    for work in (reader.runs, reader.runs, lambda: started_before.record_run(RunRecord(6, "run-6"))):
        with pytest.raises(RegistryError, match="event 3 of the registry is missing") as error:
            work()
        assert str(folder / "00000003.json") in str(error.value)
    assert 4 == len(list(folder.iterdir()))


def test_a_process_reads_each_event_once(tmp_path: Path, monkeypatch) -> None:
    """Every stage opens a registry; the history before is not read again, what is new is, and nobody shares a state."""
    for number in range(1, 6):
        Registry(tmp_path).record_run(RunRecord(span=number, run_id=f"run-{number}"))
    assert 5 == len(Registry(tmp_path).runs())
    folded: list[str] = []
    apply = State.apply
    monkeypatch.setattr(
        State, "apply", lambda self, event: folded.append(event["kind"]) or apply(self, event)
    )
    first, second = Registry(tmp_path), Registry(tmp_path)
    assert 5 == len(first.runs()) == len(second.runs())
    assert [] == folded
    second.record_run(RunRecord(span=6, run_id="run-6"))
    assert 6 == len(second.runs())
    assert ["run"] == folded
    assert 6 == len(Registry(tmp_path).runs()) == len(first.runs())
    assert ["run"] * 2 == folded


def test_a_log_that_took_anothers_place_is_read_again(tmp_path: Path) -> None:
    """A home that was restored from a backup while a process stays has the backup's history."""
    for number in range(1, 4):
        Registry(tmp_path).record_run(RunRecord(span=number, run_id=f"run-{number}"))
        if number == 2:
            shutil.copytree(tmp_path / "registry", tmp_path / "backup")
    assert 3 == len(Registry(tmp_path).runs())
    shutil.rmtree(tmp_path / "registry")
    shutil.copytree(tmp_path / "backup", tmp_path / "registry")
    assert 2 == len(Registry(tmp_path).runs())
    Registry(tmp_path).record_run(RunRecord(span=9, run_id="other"))
    assert [1, 2, 9] == [record.span for record in Registry(tmp_path).runs()]


def test_two_writers_never_clash(tmp_path: Path) -> None:
    """Turns from several processes at once all arrive, each once."""
    children = []
    for i in range(4):
        child = os.fork()
        if child == 0:
            registry = Registry(tmp_path)
            for j in range(10):
                registry.record_run(RunRecord(span=j, run_id=f"{i}-{j}"))
            os._exit(0)
        children.append(child)
    assert [0] * 4 == [os.waitpid(child, 0)[1] for child in children]
    assert 40 == len(Registry(tmp_path).runs())
    names = sorted(path.name for path in (tmp_path / "registry" / "events").iterdir())
    assert [f"{n:08d}.json" for n in range(1, 41)] == names


class Reader(threading.Thread):
    """Reads the model directory as a server does: the largest number, all its files, again and again."""

    def __init__(self, root: Path):
        super().__init__(daemon=True)
        self.root = root
        self.stop = False
        self.seen: list[int] = []
        self.torn: list[str] = []

    def run(self) -> None:
        while not self.stop:
            numbers = [int(path.name) for path in self.root.iterdir() if path.name.isdigit()]
            if not numbers:
                continue
            folder = self.root / str(max(numbers))
            try:
                texts = {
                    (folder / name).read_text().split(" of ", 1)[1].count("\n")
                    for name in ("saved_model.pb", "variables/variables.index", "assets/vocabulary")
                }
            except FileNotFoundError:
                # A version that was rolled back while we read it; a half one would still be there.
                if folder.exists():
                    self.torn.append(f"{folder} lacks a file")
                continue
            if texts != {100}:
                self.torn.append(f"{folder} is cut short")
            self.seen.append(max(numbers))


def test_a_reader_never_sees_half_a_version(tmp_path: Path, root: Path) -> None:
    """While versions come and go, a reader finds each of them whole."""
    registry = Registry(tmp_path)
    publish(registry, "first", tmp_path, root)
    reader = Reader(root)
    reader.start()
    for i in range(15):
        publish(registry, f"run-{i}", tmp_path, root)
        if i % 5 == 4:
            Publication(registry, root).rollback("bad", "me")
    reader.stop = True
    reader.join()
    assert [] == reader.torn
    assert len(set(reader.seen)) > 3


def check_whole(tmp_path: Path, root: Path) -> None:
    """Whatever is in the model directory under a number is a whole version."""
    for folder in root.iterdir() if root.exists() else []:
        if folder.name.isdigit():
            text = Registry(tmp_path).version(int(folder.name))
            assert 3 == sum(path.is_file() for path in folder.rglob("*"))
            name = text.run_id.split(".")[0]
            assert f"assets/vocabulary of {name}\n" * 100 == (folder / "assets/vocabulary").read_text()


def copy_of(tmp_path: Path, n: int) -> tuple[Path, Path]:
    """A fresh copy of the prepared project, for the n-th kill."""
    home = tmp_path / f"kill-{n}"
    shutil.copytree(tmp_path / "prepared", home)
    return home, home / "models" / "m"


def test_sigkill_at_every_step_of_a_push(tmp_path: Path) -> None:
    """Register and publish, killed before each step in the file system: recovering and repeating the run
    publishes it once, and at no time is half a version in the model directory.
    """
    prepared = tmp_path / "prepared"
    publish(Registry(prepared), "a", tmp_path, prepared / "models" / "m")
    new = payload(tmp_path, "b")
    kills = 0
    for n in range(1, 200):
        home, root = copy_of(tmp_path, n)

        def push(home: Path = home, root: Path = root) -> None:
            registry = Registry(home)
            version = registry.register(new, run_id="b", parent=1)
            Publication(registry, root).publish(version.version)

        killed = killed_at(n, home, push)
        kills += killed
        check_whole(home, root)
        assert served_text(root) in ("saved_model.pb of a", "saved_model.pb of b")
        # The next run: recover first, then its own push of the same run's work.
        recover(Registry(home), root)
        check_whole(home, root)
        served = served_text(root).split(" of ")[1]
        assert {"a": 1, "b": 2}[served] == Registry(home).champion().version
        push()
        assert {1: "retired", 2: "published"} == states(Registry(home))
        assert "saved_model.pb of b" == served_text(root)
        assert [] == recover(Registry(home), root)
        assert ["1", "2"] == sorted(path.name for path in root.iterdir())
        shutil.rmtree(home)
        if not killed:
            break
    assert kills > 30


@pytest.mark.parametrize("what", ["rollback", "promote", "retain"])
def test_sigkill_at_every_step_of_a_correction(tmp_path: Path, what: str) -> None:
    """Rollback, promote and retention, killed before each step and done again: they are done once."""
    prepared = tmp_path / "prepared"
    for run in "abc":
        publish(Registry(prepared), run, tmp_path, prepared / "models" / "m")

    def rollback(home: Path, root: Path) -> None:
        if Registry(home).champion().version == 3:
            Publication(Registry(home), root).rollback("bad", "me")

    def promote(home: Path, root: Path) -> None:
        if Registry(home).champion().version == 3:
            Publication(Registry(home), root).promote(1, "better", "me")

    def expire(home: Path, root: Path) -> None:
        retain(Registry(home), 1, root)

    work, expected, text = {
        "rollback": (rollback, {1: "retired", 2: "published", 3: "rolled_back"}, "b"),
        "promote": (promote, {1: "retired", 2: "retired", 3: "retired", 4: "published"}, "a"),
        "retain": (expire, {1: "expired", 2: "retired", 3: "published"}, "c"),
    }[what]
    kills = 0
    for n in range(1, 200):
        home, root = copy_of(tmp_path, n)
        killed = killed_at(n, home, lambda home=home, root=root: work(home, root))
        kills += killed
        check_whole(home, root)
        served_text(root)
        if n % 2:
            recover(Registry(home), root)
        work(home, root)
        assert expected == states(Registry(home)), n
        assert f"saved_model.pb of {text}" == served_text(root)
        recover(Registry(home), root)
        assert [] == recover(Registry(home), root)
        check_whole(home, root)
        shutil.rmtree(home)
        if not killed:
            break
    assert kills > 5


def test_recover_puts_a_lost_champion_back(tmp_path: Path, root: Path) -> None:
    """A model directory that was emptied is filled again from the registry."""
    registry = Registry(tmp_path)
    publish(registry, "a", tmp_path, root)
    shutil.rmtree(root)
    assert [f"added version 1 to {root} again"] == recover(registry, root)
    assert "saved_model.pb of a" == served_text(root)


def test_versions_are_json(tmp_path: Path) -> None:
    """`noria status --json` can show a version unchanged."""
    version = register(Registry(tmp_path), "a", tmp_path, spans=[1])
    values = json.loads(json.dumps(version.to_json()))
    assert (1, "registered", [1], None) == (
        values["version"],
        values["state"],
        values["spans"],
        values["model_dir"],
    )


def test_rollback_over_several_marks_all_of_them(tmp_path: Path, root: Path) -> None:
    """Versions between the bad one and the one gone back to are rolled back too, and served from nowhere."""
    registry = Registry(tmp_path)
    for run in "abc":
        publish(registry, run, tmp_path, root)
    Publication(registry, root).rollback("all bad", "me", to=1)
    assert {1: "published", 2: "rolled_back", 3: "rolled_back"} == states(registry)
    assert [str(root / "1"), None, None] == [version.model_dir for version in registry.versions()]
    publish(registry, "d", tmp_path, root)
    assert [2, 3] == retain(registry, 1, root)  # not kept as somebody's last good parent


@pytest.mark.parametrize("what", ["another run published", "rolled back"])
def test_a_version_judged_against_another_champion_is_withheld(tmp_path: Path, root: Path, what: str) -> None:
    """What serves must be what the challenger was judged against; the reason stays, and its span waits."""
    registry = Registry(tmp_path)
    for run in "ab":
        publish(registry, run, tmp_path, root)
    late = register(registry, "late", tmp_path, parent=2, span=5)
    if what == "rolled back":
        Publication(registry, root).rollback("bad", "me")
    else:
        publish(registry, "c", tmp_path, root)
    serving = registry.champion()
    for _ in range(2):  # tried again, it says the same, once
        version = Publication(registry, root).publish(late.version)
        reason = f"was judged against version 2, but version {serving.version} serves now; run again"
        assert ("registered", reason, (reason,)) == (version.state, version.withheld, version.reasons)
    assert serving == registry.champion()
    assert str(late.version) not in [path.name for path in root.iterdir()]
    assert ["ended the run of span 5: version 3 is registered"] == recover(registry, root)
    (record,) = registry.runs()
    assert ("blessed", reason) == (record.model_verdict, record.withheld)
    # A person may overrule this, as any verdict.
    assert "published" == Publication(registry, root).promote(late.version, "I looked", "me").state


def test_events_stay_small_and_the_verdict_is_kept_whole(tmp_path: Path, root: Path) -> None:
    """The log has a summary; the verdict is read from the payload when it is asked for."""
    data = {"verdict": "drifted", "reasons": ["r" * 1000] * 60, "unquarantined": None}
    model = {"blessed": True, "slices": [{"auc": 0.7}] * 500}
    registry = Registry(tmp_path)
    publish(registry, "a", tmp_path, root)
    register(registry, "b", tmp_path, parent=1, verdict={"model": model, "data": data})
    assert {"model": {"blessed": True}, "data": {"verdict": "drifted"}} == registry.version(2).verdict
    assert {"model": model, "data": data} == Registry(tmp_path).verdict(2)
    sizes = [path.stat().st_size for path in (tmp_path / "registry" / "events").iterdir()]
    assert max(sizes) < 4000


def test_a_run_killed_before_it_published_is_withheld_by_recovery(tmp_path: Path, root: Path) -> None:
    """Another run published meanwhile: recovery ends the killed one's run, says why, and publishes nothing."""
    registry = Registry(tmp_path)
    publish(registry, "a", tmp_path, root)
    register(registry, "killed", tmp_path, parent=1, span=5)
    publish(registry, "b", tmp_path, root)
    assert ["ended the run of span 5: version 2 is registered"] == recover(registry, root)
    (record,) = registry.runs()
    assert "was judged against version 1, but version 3 serves now; run again" == record.withheld
    assert {1: "retired", 2: "registered", 3: "published"} == states(registry)
