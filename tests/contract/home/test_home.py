"""The contract of a home: what is committed is there completely and once, for every machine, after any kill.

Each test runs on a home in a folder and on one in an object store; the first also on Google's.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noria.components import journal
from noria.core import files
from noria.core.errors import LockedError
from noria.core.locks import hold
from noria.pipeline.config import Config
from noria.pipeline.forgetting import Keys, forget
from noria.pipeline.runners.kubeflow import tasklog
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from tests.contract.home import scenario
from tests.contract.home.places import ObjectStore, Place, in_child
from tests.helpers.killed import started

# Of the 304 steps at which a process can be killed, one of so many is tested; 1 tests all.
STRIDE = int(os.environ.get("NORIA_KILL_STRIDE", "61"))


@pytest.mark.parametrize("home_kind", ["folder", "s3", "gs"], indirect=True)
def test_what_one_machine_commits_another_one_reads(new_home: Callable[[], Place]) -> None:
    """A second working copy has the same contents, and the model directory has the version that serves, whole."""
    place = new_home()
    in_child(lambda: scenario.work(place.open()))
    contents = in_child(lambda: scenario.contents(place.open("another")))
    assert {1: 80, 2: 40, 3: 40} == {span: len(ids) for span, ids in contents["rows"].items()}
    expected = {1: "expired", 2: "retired", 3: "published", 4: "rolled_back", 5: "twin"}
    assert expected == contents["versions"]
    assert {"2", "3", ".twin-5"} == {name.split("/")[0] for name in contents["model directory"]}
    assert {"2", "3"} == {name.split("/")[0] for name in place.served()}
    assert 1 == contents["events"]["rolled_back", "3"]
    if isinstance(place, ObjectStore):  # what `noria serve` reads
        mirrored = in_child(lambda: _mirrored(place))
        twin = {name: data for name, data in mirrored.items() if name.startswith(".twin-5/")}
        assert place.served() == {name: data for name, data in mirrored.items() if name not in twin}
        assert {name for name in contents["model directory"] if name[0] == "."} == twin.keys()
    in_child(lambda: scenario.work(place.open("another")))
    assert contents == in_child(lambda: scenario.contents(place.open()))


def test_a_kill_at_any_step_loses_and_doubles_nothing(new_home: Callable[[], Place]) -> None:
    """After a kill the model directory has whole versions only, and a repetition ends with the same contents."""
    place = new_home()
    in_child(lambda: scenario.work(place.open()))
    expected = in_child(lambda: scenario.contents(place.open()))
    kills, n = 0, 1
    while True:
        place = new_home()
        if not place.killed_at(n, scenario.work):
            break
        kills += 1
        for name, data in place.served().items():
            number, _, file = name.partition("/")
            run_id = list(scenario.RUNS.values())[int(number) - 1]
            assert f"serving/{file} of {run_id}\n" * 50 == data.decode(), f"half a version after kill {n}"
        # The same machine, whose working copy has what the kill left, or another one; and sometimes a third one looks.
        copy = "copy" if kills % 2 else "another"

        def finish(place: Place = place, copy: str = copy) -> dict[str, Any]:
            home = place.open(copy)
            scenario.work(home)
            return scenario.contents(home)

        assert expected == in_child(finish), f"kill {n}"
        if kills % 4 == 0:
            assert expected == in_child(lambda place=place: scenario.contents(place.open("third"))), (
                f"kill {n}"
            )
        n += STRIDE
    assert kills >= 200 // STRIDE
    print(f"{type(place).__name__}: {kills} kills")


def test_rows_are_forgotten_on_every_machine(new_home: Callable[[], Place]) -> None:
    """After a kill the command is repeated on another machine: no version of a span has the rows, all else stays."""
    place = new_home()
    in_child(lambda: scenario.work(place.open()))
    expected = in_child(lambda: scenario.contents(place.open()))
    expected["rows"][1].remove(1005)
    assert place.killed_at(15, _forget)
    in_child(lambda: _forget(place.open("another")))
    assert expected == in_child(lambda: scenario.contents(place.open("third")))
    versions = in_child(lambda: [_ids(place.open("third"), version) for version in (1, 2)])
    assert [39, 79] == [len(ids) for ids in versions] and not any(1005 in ids for ids in versions)


def _forget(home: Path) -> None:
    config = Config.read(
        {"name": "m", "label": "y", "span": "rows:40", "home": str(home)}, home / "noria.yaml"
    )
    forget(config, Keys.read(["id=1005"]), reason="ticket 7", actor="ann")


def _ids(home: Path, version: int) -> list[int]:
    batches = SpanStore(home).read(1, version=version, verify=True)
    return [each for batch in batches for each in batch.column(0).to_pylist()]


def test_two_writers_at_once(new_home: Callable[[], Place]) -> None:
    """Two machines write to one registry and one span at the same time; each write is there once."""
    place, each = new_home(), 6
    in_child(lambda: SpanStore(place.open()).create(1, [scenario.rows(0)], source="0.csv"))

    def writer(first: int) -> Callable[[], None]:
        def write() -> None:
            home = place.open(f"writer-{first}")
            registry, store = Registry(home), SpanStore(home)
            for number in range(first, first + each):
                registry.record_run(RunRecord(span=1, run_id=f"run-{number}"))
                store.add_late_rows(1, [scenario.rows(number)], source=f"{number}.csv")

        return write

    children = [started(writer(first)) for first in (1, 1 + each)]
    assert [0, 0] == [os.waitpid(child, 0)[1] for child in children]

    def contents() -> tuple[Any, ...]:
        home = place.open()
        registry, store = Registry(home), SpanStore(home)
        ids = store.table(1)["id"].to_pylist()
        return registry.log.last(), {run.run_id for run in registry.runs()}, store.manifest(1).version, ids

    events, runs, version, ids = in_child(contents)
    assert (2 * each, 1 + 2 * each) == (events, version)
    assert {f"run-{number}" for number in range(1, 1 + 2 * each)} == runs
    assert sorted(each for n in range(1 + 2 * each) for each in scenario.rows(n)["id"].to_pylist()) == sorted(
        ids
    )


def test_the_lock_excludes_other_machines(new_home: Callable[[], Place]) -> None:
    """A second machine is refused with the first one's process and command; a killed holder blocks nobody."""
    place = new_home()

    def holds() -> None:
        with hold(place.open("first"), command="noria run"):
            (place.folder / "held").touch()
            time.sleep(60)

    child = started(holds)
    _wait_for(place.folder / "held")

    def refused() -> str:
        try:
            with hold(place.open("second")):
                return "held"
        except LockedError as error:
            return str(error)

    said = in_child(refused)
    assert f"process {child} on" in said
    assert "(noria run)" in said
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert "held" == in_child(refused)


@pytest.mark.parametrize("home_kind", ["s3"], indirect=True)
def test_who_has_lost_the_lock_commits_nothing(new_home: Callable[[], ObjectStore]) -> None:
    """A process that sleeps in a commit while another machine takes its lock gets an error, and wrote nothing."""
    place = new_home()
    stopped = place.folder / "stopped"

    def sleeper() -> None:
        from noria.core.objects import change_log

        home = place.open("first")
        append = change_log.Log.append

        def sleeping(self: change_log.Log, change: dict, check: Any) -> int:
            if "put" in change and change["put"]:
                stopped.touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return append(self, change, check)

        change_log.Log.append = sleeping  # type: ignore[method-assign]
        try:
            with hold(home):
                files.write_text(home / "reports" / "a.json", "of the first")
        except LockedError as error:
            assert "took its lock" in str(error)
            os._exit(7)

    child = started(sleeper)
    _wait_for(stopped)

    def takes() -> str:
        from noria.core.objects import lease

        lease.TTL = 1.5
        home = place.open("second")
        with hold(home, wait=30):
            files.write_text(home / "reports" / "b.json", "of the second")
        return "taken"

    assert "taken" == in_child(takes)
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    assert 7 == os.waitstatus_to_exitcode(status)
    names = in_child(lambda: sorted(path.name for path in (place.open("third") / "reports").iterdir()))
    assert ["b.json"] == names


@pytest.mark.parametrize("home_kind", ["s3"], indirect=True)
def test_a_task_s_journal(new_home: Callable[[], ObjectStore]) -> None:
    """A task of Kubeflow that reads the run's journal while it writes its own loses no record of either."""
    place = new_home()

    def task(name: str) -> list[tuple[str, str]]:
        home = place.open(name)
        file = tasklog.folder(home, "run-1") / f"{name}.jsonl"
        with journal.written_by(tasklog.Handler(file)), journal.stage(name) as stage:
            stage.note(rows=7)
            tasklog.read(home, "run-1")
        return [(record["stage"], record["event"]) for record in tasklog.read(home, "run-1")]

    each = ["start", "note", "end"]
    assert [("A", event) for event in each] == in_child(lambda: task("A"))
    assert [(name, event) for name in "AB" for event in each] == in_child(lambda: task("B"))


def _mirrored(place: ObjectStore) -> dict[str, bytes]:
    root = place.open("server") / "models" / "m"
    home = files.home_of(root)
    assert home is not None
    folder = home.mirror(root)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} is not there"
        time.sleep(0.01)
