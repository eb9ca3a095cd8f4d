"""One rollout: a candidate, its share of the traffic, and how it gets from step to step."""

import dataclasses
import hashlib
import random
from typing import Any

from noria.serving.rollouts.guards import CANDIDATE, Guards
from noria.serving.rollouts.settings import RolloutSettings

RUNNING, PAUSED = "running", "paused"
# Decided, and not yet done in the model directory and the registry: a killed server finishes it.
PROMOTING, ABORTING = "promoting", "aborting"
PROMOTED, ABORTED = "promoted", "aborted"
ACTIVE = (RUNNING, PAUSED)


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A rollout, as its file has it.

    Args:
      id: distinguishes it from all others; also the salt of its split.
      version: the candidate.
      champion: the version that it is compared with.
      settings: steps, share, guards; `mode` is set.
      actor: who started it.
      started: when, seconds since 1970.
      status: see the constants above.
      step: place in `settings.steps`.
      stepped: when this step began.
      stepped_at: requests of the candidate until then.
      reason, by: why it ended, and who ended it.
      guards: their state.
      differences: what `shadow` found.
    """

    id: str
    version: int
    champion: int
    settings: RolloutSettings
    actor: str
    started: float
    status: str = RUNNING
    step: int = 0
    stepped: float = 0.0
    stepped_at: int = 0
    reason: str = ""
    by: str = ""
    guards: dict[str, Any] | None = None
    differences: dict[str, Any] | None = None

    @property
    def share(self) -> float:
        """Share of the keys whose requests the candidate gets, or for `shadow` sees."""
        return self.settings.steps[self.step] if self.settings.mode == "canary" else self.settings.share

    def takes(self, key: str) -> bool:
        """Whether the requests of a key are the candidate's. The keys of a step are in all later ones.

        Args:
          key: empty for a request without one, which gets an arm at random.
        """
        return (place(self.id, key) if key else random.random()) < self.share

    def end(self, status: str, reason: str, by: str) -> "Rollout":
        return dataclasses.replace(self, status=status, reason=reason, by=by)

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "settings": self.settings.model_dump()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Rollout":
        return cls(**{**values, "settings": RolloutSettings(**values["settings"])})


def place(salt: str, key: str) -> float:
    """A key's place in [0, 1): uniform over keys, and other for each salt."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, salt=salt.encode()[:16]).digest()
    return int.from_bytes(digest, "big") / 2**64


def decide(rollout: Rollout, guards: Guards, now: float) -> Rollout:
    """Ends the guards' block: the rollout as it was, one step further, or about to end.

    Args:
      now: seconds since 1970.
    """
    if rollout.status not in ACTIVE:
        return rollout
    breach = guards.close()
    if breach is not None:
        return rollout.end(ABORTING, str(breach), "guard")
    settings, answered = rollout.settings, guards.requests[CANDIDATE]
    enough = answered - rollout.stepped_at >= settings.step_requests
    if settings.mode != "canary" or rollout.status == PAUSED or not enough:
        return rollout
    if now - rollout.stepped < settings.step_seconds or rollout.step + 1 >= len(settings.steps):
        return rollout
    if settings.steps[rollout.step + 1] >= 1:
        return rollout.end(PROMOTING, f"passed all steps with {answered:,} requests", "guard")
    return dataclasses.replace(rollout, step=rollout.step + 1, stepped=now, stepped_at=answered)
