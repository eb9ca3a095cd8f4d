"""Answers that wait for their label, by the id of their request. Those of a rollout outlive the server."""

import collections
import dataclasses
from collections.abc import Iterable

import orjson

MAX_ANSWERS = 100_000  # requests; older ones are forgotten


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """The first row of one answer.

    Args:
      arm: `champion` or `candidate`.
      version: which model.
      score: its number.
      rollout: the id of the rollout that was under way; empty for none.
    """

    arm: str
    version: int
    score: float
    rollout: str


class Answers:
    """The newest `MAX_ANSWERS` requests. A shadow's request has two answers."""

    def __init__(self) -> None:
        self._known: collections.OrderedDict[str, tuple[Answered, ...]] = collections.OrderedDict()
        self._changes: collections.deque[bytes] = collections.deque(maxlen=MAX_ANSWERS)

    def add(self, request_id: str, answered: Answered) -> None:
        """Remembers an answer."""
        self._put(request_id, answered)
        if answered.rollout:
            self._changes.append(
                orjson.dumps([request_id, answered.arm, answered.version, answered.score, answered.rollout])
            )

    def take(self, request_id: str) -> tuple[Answered, ...]:
        """The answers of a request, which are forgotten; none if it is not known (any more)."""
        found = self._known.pop(request_id, ())
        if any(each.rollout for each in found):
            self._changes.append(orjson.dumps([request_id]))
        return found

    def changes(self) -> bytes:
        """What a rollout's file lacks since the last call: a JSON list a line."""
        text = b"".join(line + b"\n" for line in self._changes)
        self._changes.clear()
        return text

    def load(self, lines: Iterable[bytes], rollout: str) -> None:
        """Remembers what the lines of a rollout hold. A line that a kill has cut is ignored."""
        for line in lines:
            try:
                request_id, *rest = orjson.loads(line)
                if not rest:
                    self._known.pop(request_id, None)
                elif rest[-1] == rollout:
                    self._put(request_id, Answered(*rest))
            except (ValueError, TypeError):
                continue

    def _put(self, request_id: str, answered: Answered) -> None:
        before = self._known.get(request_id, ())
        self._known[request_id] = *(each for each in before if each.arm != answered.arm), answered
        if len(self._known) > MAX_ANSWERS:
            self._known.popitem(last=False)
