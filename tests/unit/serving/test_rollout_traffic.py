"""Who answers: the arms of a rollout and the fallback, with models that are functions."""

import asyncio
import dataclasses

import pytest

from noria.serving.grpc_status import Code, StatusError
from noria.serving.prediction_log import REQUEST_ID
from noria.serving.prometheus import Metrics
from noria.serving.rollouts.awaiting_labels import Answered, Answers
from noria.serving.rollouts.collapse import LossCollapse
from noria.serving.rollouts.guards import CANDIDATE, CHAMPION, Guards
from noria.serving.rollouts.rollout import Rollout
from noria.serving.rollouts.rollout_store import RolloutStore
from noria.serving.rollouts.settings import RolloutSettings
from noria.serving.rollouts.traffic import KEY, OUTPUTS, Traffic
from noria.serving.tensors import Tensor, pack


@dataclasses.dataclass(eq=False)
class Model:
    """A version that gives its number as the score, or another one, or fails."""

    number: int
    fails: Code | None = None
    hangs: bool = False
    live: bool = True
    score: float | None = None


@dataclasses.dataclass
class Arms:
    versions: list[Model]
    name: str = "m"

    def latest(self):
        return self.versions[-1]

    def fallback(self):
        return self.versions[-2] if len(self.versions) > 1 and self.versions[-2].live else None


async def call(version: Model) -> int:
    if version.hangs:
        await asyncio.sleep(3600)
    if version.fails is not None:
        raise StatusError(version.fails, f"version {version.number} fails")
    score = version.number if version.score is None else version.score
    OUTPUTS.set({"score": Tensor("float", (1,), pack("float", [score]))})
    return version.number


def traffic(*versions: Model) -> tuple[Traffic, list[tuple[int, int]]]:
    collapsed: list[tuple[int, int]] = []
    made = Traffic(
        Arms(list(versions)),
        Metrics(),
        lambda champion, fallback, reason: collapsed.append((champion.number, fallback.number)),
    )
    return made, collapsed


def divide(made: Traffic, candidate: Model, **settings: object) -> Guards:
    rollout = Rollout("a", candidate.number, 1, RolloutSettings(**settings), "me", 0.0)
    guards = Guards(rollout.settings.guards, 0.005)
    made.begin(rollout, candidate, guards)
    return guards


def ask(made: Traffic, times: int) -> set[int]:
    async def main() -> set[int]:
        return {await made.ask(call) for _ in range(times)}

    return asyncio.run(main())


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.INVALID_ARGUMENT, Code.UNAVAILABLE])
def test_the_champion_answers_what_the_candidate_fails(code: Code) -> None:
    """Nobody sees the error, whatever its code; the guards do."""
    made, _ = traffic(Model(1))
    guards = divide(made, Model(2, fails=code), mode="ab", share=1.0)
    assert {1} == ask(made, 10)
    assert {CANDIDATE: 10, CHAMPION: 0} == guards.requests
    made, _ = traffic(Model(1))
    guards = divide(made, Model(2, fails=code), mode="ab", share=0.5)
    ask(made, 50)
    assert guards.close() is None  # the first block only says what to look for
    ask(made, 50)
    assert guards.close() is not None


def test_a_bad_request_is_nobodys_fault() -> None:
    """What both versions refuse is the request's error: the client gets it, and no guard counts it."""
    made, _ = traffic(Model(1, fails=Code.INVALID_ARGUMENT))
    guards = divide(made, Model(2, fails=Code.INVALID_ARGUMENT), mode="ab", share=0.5)

    async def main() -> None:
        for _ in range(100):
            with pytest.raises(StatusError, match="INVALID_ARGUMENT"):
                await made.ask(call)

    asyncio.run(main())
    assert guards.close() is None
    assert {0.0} == {guards.summary()["errors"][arm]["mean"] for arm in (CANDIDATE, CHAMPION)}


def test_a_key_has_one_version_and_others_are_drawn() -> None:
    """Requests of a key are answered by one version; without a key both answer."""
    made, _ = traffic(Model(1))
    divide(made, Model(2), mode="ab", share=0.5)
    assert {1, 2} == ask(made, 100)

    async def main() -> set[int]:
        KEY.set("anna")
        return {await made.ask(call) for _ in range(50)}

    assert 1 == len(asyncio.run(main()))


def test_who_hangs_is_slow_before_the_answer() -> None:
    """A candidate that does not answer breaches the latency guard while its requests wait."""
    made, _ = traffic(Model(1))
    guards = divide(made, Model(2, hangs=True), mode="ab", share=0.05)

    async def main() -> object:
        tasks = [asyncio.create_task(made.ask(call)) for _ in range(1000)]
        await asyncio.sleep(0.05)
        guards.close()
        more = [asyncio.create_task(made.ask(call)) for _ in range(1000)]
        await asyncio.sleep(0.05)
        breach = None
        for _ in range(5):
            made.close()
            breach = breach or guards.close()
            more += [asyncio.create_task(made.ask(call)) for _ in range(100)]
            await asyncio.sleep(0.02)
        for task in (*tasks, *more):
            task.cancel()
        await asyncio.gather(*tasks, *more, return_exceptions=True)
        return breach

    breach = asyncio.run(main())
    assert breach is not None and "latency" == breach.guard


def test_the_fallback_takes_over_after_six_failures() -> None:
    """Each failed request is answered by the fallback; the sixth failure in a row is a collapse."""
    made, collapsed = traffic(Model(1), Model(2, fails=Code.INTERNAL))
    assert {1} == ask(made, 5)
    assert [] == collapsed
    assert {1} == ask(made, 1)
    assert [(2, 1)] == collapsed
    made, collapsed = traffic(Model(1), Model(2, live=False))
    assert {1} == ask(made, 20)
    assert [] == collapsed
    made, collapsed = traffic(Model(1, fails=Code.INVALID_ARGUMENT), Model(2, fails=Code.INVALID_ARGUMENT))
    with pytest.raises(StatusError, match="version 2 fails"):
        ask(made, 1)
    assert [] == collapsed


def test_a_process_that_keeps_ending_is_a_collapse() -> None:
    """The third end within a minute; each time the fallback answers what was under way."""
    made, collapsed = traffic(Model(1), champion := Model(2))
    assert [True, True, True] == [made.ended(champion) for _ in range(3)]
    assert [(2, 1)] == collapsed
    made, _ = traffic(alone := Model(1))
    assert not made.ended(alone)


def test_labels_worse_than_a_guess_are_a_collapse() -> None:
    """The champion's scores are the opposite of the labels that arrive for them: the fallback takes over, once."""
    made, collapsed = traffic(Model(1, score=0.5), champion := Model(2))

    async def main(rounds: int) -> int:
        for each in range(rounds):
            champion.score = 0.9 if each % 2 else 0.1
            REQUEST_ID.set(f"{champion.number}-{each}")
            await made.ask(call)
        labels = ((f"{champion.number}-{each}", (each + 1) % 2) for each in range(rounds))
        return sum(made.label(*label) for label in labels)

    assert 8 == asyncio.run(main(8))
    assert [] == collapsed
    assert not made.label("2-0", 1)  # it is counted once
    champion.number = 3
    assert 12 == asyncio.run(main(12))
    assert (3, 1) == collapsed[0]


def test_a_label_counts_in_its_own_rollout_only() -> None:
    """What an earlier rollout's candidate answered says nothing about the next one; a shadow's label is both arms'."""
    made, _ = traffic(Model(1, score=0.5))
    guards = divide(made, Model(2, score=0.5), mode="shadow", share=1.0)

    async def main() -> None:
        for each in ("a", "b"):
            REQUEST_ID.set(each)
            await made.ask(call)
            await asyncio.sleep(0)

    asyncio.run(main())
    assert made.label("a", 1)
    guards.close()
    assert {1} == {guards.summary()["loss"][arm]["count"] for arm in (CHAMPION, CANDIDATE)}
    made.begin(None, None, None)
    next_guards = Guards(guards.settings, 0.005)
    made.begin(Rollout("b", 3, 1, RolloutSettings(mode="ab"), "me", 0.0), Model(3), next_guards)
    assert made.label("b", 1)
    next_guards.close()
    assert next_guards.summary()["loss"] is None


def test_answers_outlive_the_server(tmp_path) -> None:
    """The next server knows the answers, without those that have their label, also after a line that a kill has cut."""
    store, answers, newer = RolloutStore(tmp_path), Answers(), Answers()
    first = Answered(CHAMPION, 1, 0.25, "a")
    for each in range(3):
        answers.add(str(each), first)
    answers.take("1")
    store.folder.mkdir()
    store.keep(answers.changes() + b'["cut", "cham', 1, LossCollapse())
    answers.add("3", Answered(CHAMPION, 1, 0.5, ""))
    store.keep(answers.changes() + b'["x", "champion", 1, null, ""]\n', 1, LossCollapse())
    loaded = Answers()
    assert 2 == loaded.load(store.read_answers())  # the cut line, and the one without a score
    newer.add("2", Answered(CANDIDATE, 2, 0.75, "a"))
    newer.prepend(loaded)
    assert [(first,), ()] == [newer.take(each) for each in ("0", "1")]
    assert [2, 1, 0, 0] == [len(newer.take(each)) for each in ("2", "3", "cut", "x")]


def test_the_evidence_of_labels_outlives_the_server(tmp_path) -> None:
    """It is what it was, to the last bit, and the next labels continue it."""
    store, losses = RolloutStore(tmp_path), LossCollapse()
    store.folder.mkdir()
    for each in range(10):
        losses.answered(0.9 if each % 2 else 0.1)
    alarms = [losses.update(0.9 if each % 2 else 0.1, (each + 1) % 2) for each in range(6)]
    store.keep(b"", 7, losses)
    assert (7, losses) == store.read_losses()
    _, losses = store.read_losses() or (0, LossCollapse())
    alarms += [losses.update(0.9 if each % 2 else 0.1, (each + 1) % 2) for each in range(6)]
    assert [False] * 10 + [True] * 2 == alarms


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x00" * 40,
        b"[1]",
        b'{"version": 1}',
        b'{"version": null, "sum": 1}',
        b'{"version": 1, "sum": NaN',
    ],
)
def test_damaged_evidence_is_set_aside(damaged, tmp_path, caplog) -> None:
    """It says nothing about a version; the log names the file, which keeps its bytes under another name."""
    store = RolloutStore(tmp_path)
    store.folder.mkdir()
    store.labels.write_bytes(damaged)
    assert None is store.read_losses()
    assert [True] == [str(store.labels) in each.getMessage() for each in caplog.records]
    assert damaged == (store.folder / "labels.json.damaged").read_bytes()
    assert None is store.read_losses()
    assert 1 == len(caplog.records)


def test_a_shadow_is_compared_and_never_answers() -> None:
    """The champion's answer; the difference of the scores is recorded, and a failure of the shadow."""
    made, _ = traffic(Model(1))
    guards = divide(made, candidate := Model(3), mode="shadow", share=1.0)

    async def main() -> None:
        assert 1 == await made.ask(call)
        await asyncio.sleep(0.01)
        candidate.fails = Code.INTERNAL
        assert 1 == await made.ask(call)
        await asyncio.sleep(0.01)

    asyncio.run(main())
    found = made.differences
    assert (1, 1, 2.0, 1) == (found.compared, found.different, found.total, found.failures)
    assert {CANDIDATE: 2, CHAMPION: 2} == guards.requests
