"""What judges a canary: a test whose error holds at every moment, and guards that find each fault early."""

import json
import random

import pytest

from noria.serving.rollouts.comparison import Comparison, nearest
from noria.serving.rollouts.guards import CANDIDATE, CHAMPION, Guards
from noria.serving.rollouts.rollout import ABORTING, PROMOTING, RUNNING, Rollout, decide, place
from noria.serving.rollouts.settings import GuardSettings, RolloutSettings
from tests.helpers.canaries import FAULTS, healthy, simulate

# Fewer champions for each candidate than by default, so that a simulation takes less time.
QUICK = RolloutSettings(mode="canary", steps=[0.2, 0.5, 1.0], step_requests=100, step_seconds=0)
LONGER = QUICK.model_copy(update={"steps": [0.1, 0.25, 1.0], "step_requests": 500})


def test_the_evidence_is_bounded_by_ville() -> None:
    """Two arms exactly at the tolerance, looked at after each block: p < 0.1 is ever reached in at most 10 %."""
    reached, draw = 0, random.Random(5)
    for _ in range(300):
        test, peak = Comparison(0.05), 0.0
        for _ in range(60):
            failed = sum(draw.random() < 0.05 for _ in range(20)), sum(draw.random() < 0.10 for _ in range(5))
            test.update({1.0: failed[0], 0.0: 20 - failed[0]}, {1.0: failed[1], 0.0: 5 - failed[1]})
            peak = max(peak, test.e_value)
        reached += peak >= 10
    assert reached <= 30


@pytest.mark.parametrize(("n_a", "n_b"), [(99, 1), (1, 1), (3, 40)])
def test_a_block_is_an_e_variable(n_a: int, n_b: int) -> None:
    """The expected likelihood ratio is at most 1 at every point of the hypothesis, and 1 at the nearest one."""
    a, b, tolerance = 0.02, 0.3, 0.05
    a0, b0 = nearest(a, b, n_a, n_b, tolerance)

    def expected(p: float, q: float) -> float:
        one = q * b / b0 + (1 - q) * (1 - b) / (1 - b0)
        other = p * a / a0 + (1 - p) * (1 - a) / (1 - a0)
        return one**n_b * other**n_a

    assert 1.0 == pytest.approx(expected(a0, b0), abs=1e-6)
    grid = [each / 50 for each in range(51)]
    assert all(expected(p, q) <= 1 + 1e-6 for p in grid for q in grid if q - p <= tolerance)


def test_healthy_canaries_are_promoted() -> None:
    """Of 100 canaries with slightly other scores at most 1 is rolled back."""
    ended = [simulate(random.Random(each), healthy, QUICK)[0].status for each in range(100)]
    assert {PROMOTING, ABORTING} >= set(ended)
    assert ended.count(ABORTING) <= 1


@pytest.mark.parametrize(("fault", "most"), zip(FAULTS, (500, 20, 120, 250, 100), strict=True))
def test_faults_are_rolled_back(fault: str, most: int) -> None:
    """Each fault is found by its guard, after few requests."""
    for seed in range(10):
        rollout, _, _, exposed = simulate(random.Random(seed), FAULTS[fault], LONGER)
        assert ABORTING == rollout.status
        assert exposed <= most
        guard = "errors" if "fails" in fault else "latency" if "slower" in fault else "scores"
        assert rollout.reason.startswith(guard)


def test_labels_are_a_guard() -> None:
    """Where labels arrive, a candidate whose loss is larger is rolled back."""
    draw, guards = random.Random(3), Guards(GuardSettings(), 0.005)
    breach = None
    for _ in range(600):
        label = float(draw.random() < 0.3)
        guards.labelled(CHAMPION, 0.2 + 0.5 * label, label)
        guards.labelled(CANDIDATE, draw.random(), label)
        breach = breach or guards.close()
    assert breach is not None
    assert "loss" == breach.guard


def test_a_score_that_is_no_number_is_a_failure() -> None:
    """A candidate whose scores are NaN is rolled back by the errors."""
    guards = Guards(GuardSettings(), 0.005)
    breach = None
    for _ in range(30):
        guards.observe(CHAMPION, False, 0.001, 0.5)
        guards.observe(CANDIDATE, False, 0.001, float("nan"))
        breach = breach or guards.close()
    assert breach is not None
    assert "errors" == breach.guard


def test_guards_continue_from_their_file() -> None:
    """What a killed server has saved is as good as what it had in memory."""
    draw, guards = random.Random(3), Guards(GuardSettings(), 0.005)
    for _ in range(40):
        for _ in range(20):
            guards.observe(CHAMPION, False, draw.uniform(0.001, 0.002), draw.random())
        guards.observe(CANDIDATE, draw.random() < 0.1, draw.uniform(0.001, 0.002), draw.random())
        guards.close()
    saved = json.loads(json.dumps(guards.to_json()))
    again = Guards(GuardSettings(), 0.005, saved)
    assert guards.limit == again.limit
    for each in (guards, again):
        for _ in range(20):
            each.observe(CHAMPION, False, 0.001, 0.5)
            each.observe(CANDIDATE, True)
        each.close()
    assert guards.to_json() == again.to_json()


def test_steps_need_requests_and_time() -> None:
    """A canary is one step further after enough of both; one that is paused stays, and its guards still work."""
    settings = RolloutSettings(mode="canary", steps=[0.01, 0.5], step_requests=10, step_seconds=60)
    rollout, guards = Rollout("a", 2, 1, settings, "me", 0.0), Guards(settings.guards, 0.005)
    for _ in range(9):
        guards.observe(CANDIDATE, False)
    assert 0 == decide(rollout, guards, 100.0).step
    guards.observe(CANDIDATE, False)
    assert 0 == decide(rollout, guards, 59.0).step
    assert (1, 100.0, 10) == (
        (step := decide(rollout, guards, 100.0)).step,
        step.stepped,
        step.stepped_at,
    )
    paused = Rollout("a", 2, 1, settings, "me", 0.0, status="paused")
    assert 0 == decide(paused, guards, 100.0).step
    for _ in range(20):
        guards.observe(CHAMPION, False)
        guards.observe(CANDIDATE, True)
        paused = decide(paused, guards, 100.0)
    assert ABORTING == paused.status


def test_a_key_stays_with_its_version() -> None:
    """A step's keys are in all later steps; another rollout has other ones."""
    settings = RolloutSettings(mode="canary")
    keys = [f"user-{each}" for each in range(20_000)]
    taken = []
    for step in range(3):
        rollout = Rollout("a", 2, 1, settings, "me", 0.0, step=step)
        taken.append({key for key in keys if rollout.takes(key)})
    assert taken[0] < taken[1] < taken[2]
    assert [0.01, 0.05, 0.25] == pytest.approx([len(each) / len(keys) for each in taken], abs=0.01)
    other = {key for key in keys if place("b", key) < 0.05}
    assert len(other & taken[1]) < len(taken[1]) / 5
    assert rollout == Rollout.from_json(json.loads(json.dumps(rollout.to_json())))
    assert RUNNING == rollout.status
