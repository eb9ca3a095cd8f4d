"""Who answers a request of one model: champion, candidate or fallback; and what the guards learn from it.

A request that the candidate fails is answered by the champion, one that the champion fails by the fallback, if there is
one. So a faulty version costs its clients time, and no answer.
"""

import asyncio
import contextvars
import dataclasses
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from noria.serving.grpc_status import Code, StatusError
from noria.serving.prediction_log import ARM, REQUEST_ID
from noria.serving.prometheus import Metrics
from noria.serving.rollouts.awaiting_labels import Answered, Answers
from noria.serving.rollouts.collapse import Collapse, LossCollapse
from noria.serving.rollouts.guards import CANDIDATE, CHAMPION, Guards
from noria.serving.rollouts.rollout import Rollout
from noria.serving.tensors import Tensor, first
from noria.serving.version import Version

LOG = logging.getLogger("noria.serving")
Answer = TypeVar("Answer")
Call = Callable[[Version], Awaitable[Answer]]

# The key of this request, which decides between the arms of a rollout; empty for none.
KEY: contextvars.ContextVar[str] = contextvars.ContextVar("rollout_key", default="")
# The outputs of this request, for the guards.
OUTPUTS: contextvars.ContextVar[Mapping[str, Tensor] | None] = contextvars.ContextVar("outputs", default=None)

FALLBACK = "fallback"
# Errors that the model or its process causes. Others may be the request's fault.
FAILURES = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
# After these there is no second answer: no time is left, the client has gone, or the machine is full.
FINAL = frozenset({Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.RESOURCE_EXHAUSTED})
# Process ends within so many seconds that count as a collapse.
MAX_ENDS, END_SECONDS = 3, 60.0
MAX_MIRRORED = 64  # requests that wait for a shadow; more are not mirrored
LARGEST = 20  # differences that are kept with their request


class Arms(Protocol):
    """The versions of a model."""

    name: str

    def latest(self) -> Version | None: ...
    def fallback(self) -> Version | None: ...


@dataclasses.dataclass(eq=False, slots=True)
class _Asked:
    """A request that is under way."""

    arm: str
    started: float
    slow: bool = False


class Traffic:
    """The traffic of one model.

    Args:
      arms: the model.
      collapsed: called with the champion, its fallback and the reason when the champion is no longer trusted.
    """

    def __init__(self, arms: Arms, metrics: Metrics, collapsed: Callable[[Version, Version, str], None]):
        self.rollout: Rollout | None = None
        self.candidate: Version | None = None
        self.guards: Guards | None = None
        self.differences = Differences()
        self.answers = Answers()
        self._arms, self._metrics, self._collapsed = arms, metrics, collapsed
        self._collapse: tuple[int, Collapse] = (0, Collapse())
        self._ends: list[float] = []
        self._running: set[_Asked] = set()
        self.losses: tuple[int, LossCollapse] = (
            0,
            LossCollapse(),
        )  # by the labels of which version's answers
        self._mirrored: set[asyncio.Task[None]] = set()

    def begin(self, rollout: Rollout | None, candidate: Version | None, guards: Guards | None) -> None:
        """Divides the traffic from now on; None ends it."""
        if rollout is None or self.rollout is None or rollout.id != self.rollout.id:
            self.differences = Differences(rollout.differences if rollout is not None else None)
            before = self._metrics.latency.quantile(0.99, self._arms.name)  # µs
            if guards is not None and before is not None:
                guards.expect(before / 1e6)
        self.rollout, self.candidate, self.guards = rollout, candidate, guards

    def resume(self, older: Answers, losses: tuple[int, LossCollapse] | None) -> None:
        """Continues what another server has begun: its answers, and of which champion the labels have said what.

        Without that (None), the mean of the scores is that of the answers.
        """
        self.answers.prepend(older)
        champion = self._arms.latest()
        if losses is not None:
            self.losses = losses
        elif champion is not None:
            self.losses = champion.number, LossCollapse()
            for each in self.answers:
                if each.arm == CHAMPION and each.version == champion.number and 0 <= each.score <= 1:
                    self.losses[1].answered(each.score)

    async def ask(self, call: Call[Answer]) -> Answer:
        """The answer of the version that this request is for.

        Raises:
          StatusError: no version serves, or the request fails.
        """
        champion = self._arms.latest()
        if champion is None:
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: Latest({self._arms.name})")
        rollout, candidate = self.rollout, self.candidate
        if rollout is None or candidate is None or not candidate.live:
            return await self._champion(champion, call)
        if rollout.settings.mode == "shadow":
            answer = await self._champion(champion, call)
            outputs = OUTPUTS.get()
            if rollout.takes(KEY.get()) and outputs is not None:
                self._mirror(candidate, call, outputs)
            return answer
        if not rollout.takes(KEY.get()):
            return await self._champion(champion, call)
        ARM.set(rollout.settings.mode or CANDIDATE)
        try:
            return await self._watched(CANDIDATE, candidate, call)
        except StatusError as error:
            if error.code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED):
                raise
            ARM.set(CHAMPION)
            try:
                answer = await call(champion)
            except StatusError:
                self._own_fault(error, False)
                raise error from None
            self._own_fault(error, True)
            return answer

    def close(self) -> None:
        """Counts the requests that have waited for too long, before a block ends."""
        guards = self.guards
        if guards is None or guards.limit is None:
            return
        now = time.perf_counter()
        for asked in self._running:
            if not asked.slow and now - asked.started > guards.limit:
                asked.slow = True
                guards.slow(asked.arm)

    def label(self, request_id: str, label: float) -> bool:
        """The label of a request's first row, for the guards and for the champion's trust.

        Returns:
          False if the request is not known (any more).
        """
        found = self.answers.take(request_id)
        for each in found:
            if self.guards is not None and self.rollout is not None and each.rollout == self.rollout.id:
                self.guards.labelled(each.arm, each.score, label)
            if each.arm == CHAMPION and label in (0, 1) and 0 <= each.score <= 1:
                self._judge(each, int(label))
        return bool(found)

    def _judge(self, answered: Answered, label: int) -> None:
        """Whether the champion's scores are worse than their mean, by the labels of the answers that it gave."""
        champion, fallback = self._arms.latest(), self._arms.fallback()
        if champion is None or champion.number != answered.version:
            return
        losses = self._losses_of(champion.number)
        if losses.update(answered.score, label) and fallback is not None:
            self._collapsed(champion, fallback, f"its scores are worse than their mean: {losses}")

    def _losses_of(self, champion: int) -> LossCollapse:
        if self.losses[0] != champion:
            self.losses = champion, LossCollapse()
        return self.losses[1]

    def ended(self, version: Version) -> bool:
        """The process of a version has ended: whether another version answers what it was computing."""
        if version is self.candidate:
            return self._arms.latest() is not None
        fallback = self._arms.fallback()
        if version is not self._arms.latest() or fallback is None:
            return False
        now = time.monotonic()
        self._ends = [each for each in self._ends if now - each < END_SECONDS] + [now]
        if len(self._ends) >= MAX_ENDS:
            self._ends = []
            self._collapsed(version, fallback, f"its process ended {MAX_ENDS} times in {END_SECONDS:.0f} s")
        return True

    async def _champion(self, champion: Version, call: Call[Answer]) -> Answer:
        fallback = self._arms.fallback()
        if fallback is None:
            return await self._watched(CHAMPION, champion, call)
        if not champion.live:
            return await self._fall_back(fallback, call)
        try:
            answer = await self._watched(CHAMPION, champion, call)
        except StatusError as error:
            if error.code in FINAL:
                raise
            try:
                answer = await self._fall_back(fallback, call)
            except StatusError:
                raise error from None
            # A process that ends is replaced, and counted in `ended`.
            if error.code is not Code.UNAVAILABLE and self._failed(champion.number, True):
                self._collapsed(champion, fallback, f"its requests fail: {error.message}")
            return answer
        self._failed(champion.number, False)
        if self.guards is None:
            self._remember(CHAMPION, champion, score_of(OUTPUTS.get()))
        return answer

    def _own_fault(self, error: StatusError, failed: bool) -> None:
        """Counts an error of the candidate that could have been the request's."""
        if error.code not in FAILURES and self.guards is not None:
            self.guards.observe(CANDIDATE, failed)

    async def _fall_back(self, fallback: Version, call: Call[Answer]) -> Answer:
        self._metrics.fallback_answers.add(self._arms.name)
        ARM.set(FALLBACK)
        return await call(fallback)

    def _failed(self, number: int, failed: bool) -> bool:
        if self._collapse[0] != number:
            self._collapse = number, Collapse()
        return self._collapse[1].update(failed)

    def _watched(self, arm: str, version: Version, call: Call[Answer]) -> Awaitable[Answer]:
        return call(version) if self.guards is None else self._guarded(self.guards, arm, version, call)

    async def _guarded(self, guards: Guards, arm: str, version: Version, call: Call[Answer]) -> Answer:
        asked = _Asked(arm, time.perf_counter())
        self._running.add(asked)
        OUTPUTS.set(None)
        try:
            answer = await (call(version) if arm == CHAMPION else _in_time(call, version, guards.patience))
        except StatusError as error:
            # Whether another error is the candidate's fault, the champion's answer says.
            if error.code in FAILURES or arm == CHAMPION:
                guards.observe(arm, failed=error.code in FAILURES)
            raise
        finally:
            self._running.discard(asked)
        score = score_of(OUTPUTS.get())
        guards.observe(arm, False, time.perf_counter() - asked.started, score, asked.slow)
        self._remember(arm, version, score)
        return answer

    def _remember(self, arm: str, version: Version, score: float | None) -> None:
        if score is not None and math.isfinite(score) and REQUEST_ID.get():
            rollout = self.rollout.id if self.rollout is not None else ""
            self.answers.add(REQUEST_ID.get(), Answered(arm, version.number, score, rollout))
            if arm == CHAMPION and 0 <= score <= 1:
                self._losses_of(version.number).answered(score)

    def _mirror(self, candidate: Version, call: Call[Any], outputs: Mapping[str, Tensor]) -> None:
        if len(self._mirrored) >= MAX_MIRRORED:
            self.differences.skipped += 1
            return
        task = asyncio.create_task(self._shadow(candidate, call, outputs))
        self._mirrored.add(task)
        task.add_done_callback(self._mirrored.discard)

    async def _shadow(self, candidate: Version, call: Call[Any], outputs: Mapping[str, Tensor]) -> None:
        ARM.set("shadow")
        try:
            await self._watched(CANDIDATE, candidate, call)
        except StatusError as error:
            self.differences.failed(REQUEST_ID.get(), error.message)
            self._own_fault(error, True)  # the champion has answered it
        else:
            self.differences.compare(REQUEST_ID.get(), outputs, OUTPUTS.get() or {})


class Differences:
    """What a shadow answers differently: counts, and the largest differences with their requests.

    Args:
      saved: what `to_json` gave.
    """

    def __init__(self, saved: dict[str, Any] | None = None):
        self.compared = self.different = self.failures = self.skipped = 0
        self.total = 0.0
        self.largest: list[dict[str, Any]] = []
        vars(self).update(saved or {})

    def compare(self, request: str, champion: Mapping[str, Tensor], candidate: Mapping[str, Tensor]) -> None:
        """Adds a request: the largest absolute difference of its numbers; other values count as 1 if unequal."""
        self.compared += 1
        found = max((_distance(each, candidate.get(name)) for name, each in champion.items()), default=0.0)
        self.total += found
        if found > 0:
            self.different += 1
            self._keep({"request": request, "difference": found})

    def failed(self, request: str, message: str) -> None:
        """Adds a request that the candidate did not answer."""
        self.failures += 1
        self._keep({"request": request, "error": message})

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    def _keep(self, difference: dict[str, Any]) -> None:
        kept = [*self.largest, difference]
        self.largest = sorted(kept, key=lambda each: -each.get("difference", math.inf))[:LARGEST]


async def _in_time(call: Call[Answer], version: Version, seconds: float) -> Answer:
    """Not `asyncio.wait_for`: its task would set `OUTPUTS` for itself."""
    task, late = asyncio.current_task(), False
    assert task is not None

    def expire() -> None:
        nonlocal late
        late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        return await call(version)
    except asyncio.CancelledError:
        if not late:
            raise
        if hasattr(task, "uncancel"):  # Python 3.11
            task.uncancel()
        raise StatusError(Code.UNAVAILABLE, f"version {version.number} did not answer in time") from None
    finally:
        timer.cancel()


def score_of(outputs: Mapping[str, Tensor] | None) -> float | None:
    """The first row's number of the output that the prediction log calls the score; None if there is none."""
    for name in sorted(outputs or {}, key=lambda name: (not name.startswith("score"), name)):
        value = first(outputs[name]) if outputs is not None else None
        if isinstance(value, int | float):
            return float(value)
    return None


def _distance(one: Tensor, other: Tensor | None) -> float:
    if other is None or one.dtype != other.dtype or one.shape != other.shape:
        return 1.0
    if one.data == other.data:
        return 0.0
    if one.dtype not in ("float", "double"):
        return 1.0
    return max(abs(a - b) for a, b in zip(one.values(), other.values(), strict=True))
