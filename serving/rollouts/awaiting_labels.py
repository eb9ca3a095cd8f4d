"""Answers that wait for their label, by the id of their request. They outlive the server, as lines of a file."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator

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

    def __iter__(self) -> Iterator[Answered]:
        return itertools.chain.from_iterable(self._known.values())

    def add(self, request_id: str, answered: Answered) -> None:
        """Remembers an answer."""
        self._put(request_id, answered)
        self._changes.append(
            orjson.dumps([request_id, answered.arm, answered.version, answered.score, answered.rollout])
        )

    def take(self, request_id: str) -> tuple[Answered, ...]:
        """The answers of a request, which are forgotten; none if it is not known (any more)."""
        found = self._known.pop(request_id, ())
        if found:
            self._changes.append(orjson.dumps([request_id]))
        return found

    def changes(self) -> bytes:
        """What the file lacks since the last call: a JSON list a line."""
        text = b"".join(line + b"\n" for line in self._changes)
        self._changes.clear()
        return text

    @property
    def changed(self) -> bool:
        """Whether the file lacks something."""
        return bool(self._changes)

    def load(self, lines: Iterable[bytes]) -> int:
        """Remembers what the lines of `changes` hold.

        Returns:
          How many lines are not what `changes` writes, such as one that a kill has cut. They are ignored.
        """
        bad = 0
        for line in filter(None, lines):
            try:
                request_id, *rest = orjson.loads(line)
                if not rest:
                    self._known.pop(request_id, None)
                else:
                    self._put(request_id, _answered(*rest))
            except (ValueError, TypeError):
                bad += 1
        return bad

    def prepend(self, older: "Answers") -> None:
        """Takes over what `older` knows."""
        newer, self._known = self._known, older._known
        for request_id, found in newer.items():
            for each in found:
                self._put(request_id, each)

    def _put(self, request_id: str, answered: Answered) -> None:
        before = self._known.get(request_id, ())
        self._known[request_id] = *(each for each in before if each.arm != answered.arm), answered
        if len(self._known) > MAX_ANSWERS:
            self._known.popitem(last=False)


def _answered(arm: str, version: int, score: float, rollout: str) -> Answered:
    kinds = (arm, str), (version, int), (score, int | float), (rollout, str)
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("not an answer")
    return Answered(arm, version, score, rollout)
