"""Simulated canaries, healthy and faulty, judged by the server's own code.

The traffic: 500 requests a second, latencies lognormal (median 2 ms, p99 5.1 ms), 0.1 % of them errors, the
scores of a Beta(2, 5). A healthy canary is a retrained model: its scores are of a Beta(2.1, 5), its latency and errors
are the champion's.
"""

import math
import random
from collections.abc import Callable

from noria.serving.rollouts.guards import CANDIDATE, CHAMPION, Guards
from noria.serving.rollouts.rollout import ACTIVE, Rollout, decide
from noria.serving.rollouts.settings import RolloutSettings

PER_SECOND = 500.0
TICK = 0.1  # seconds of a block, as in the server
Answer = tuple[bool, float, float]  # failed, seconds, score


def answer(draw: random.Random, errors: float = 0.001, slower: float = 1.0, alpha: float = 2.0) -> Answer:
    """One answer of a model."""
    seconds = 0.002 * slower * math.exp(draw.gauss(0.0, 0.4))
    return draw.random() < errors, seconds, draw.betavariate(alpha, 5.0)


def healthy(draw: random.Random) -> Answer:
    return answer(draw, alpha=2.1)


FAULTS: dict[str, Callable[[random.Random], Answer]] = {
    "fails in 5 % of its requests": lambda draw: answer(draw, errors=0.05),
    "fails in all requests": lambda draw: answer(draw, errors=1.0),
    "3 times slower": lambda draw: answer(draw, slower=3.0),
    "scores shifted by one standard deviation": lambda draw: answer(draw, alpha=4.2),
    "constant score": lambda draw: (*answer(draw)[:2], 0.5),
}


def simulate(
    draw: random.Random,
    candidate: Callable[[random.Random], Answer],
    settings: RolloutSettings,
    fault_from: int = 0,
) -> tuple[Rollout, Guards, float, int]:
    """One canary, until it is the champion or rolled back.

    Args:
      candidate: its answers from step `fault_from` on; it is healthy before.

    Returns:
      The rollout, its guards, the seconds, and the candidate's requests, both since the fault.
    """
    rollout = Rollout("simulated", 2, 1, settings, "", 0.0)
    guards = Guards(settings.guards, settings.false_alarms)
    now, since, before = 0.0, 0.0, 0
    per_tick = int(PER_SECOND * TICK)
    while rollout.status in ACTIVE:
        sick = rollout.step >= fault_from
        for _ in range(per_tick):
            if draw.random() < rollout.share:
                guards.observe(CANDIDATE, *(candidate if sick else healthy)(draw))
            else:
                guards.observe(CHAMPION, *answer(draw))
        now += TICK
        if not sick:
            since, before = now, guards.requests[CANDIDATE]
        rollout = decide(rollout, guards, now)
    return rollout, guards, now - since, guards.requests[CANDIDATE] - before
