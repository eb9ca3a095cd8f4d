"""The record of the cold twin, a model trained from nothing on the whole window, and when the next one is due.

On each span that followed, before the champion had learnt it, both were scored on the same held-out rows:

    record = 0.6 record + 0.4 twin's loss / champion's loss

It follows from the runs in the log; nothing else is stored.
"""

import dataclasses
import math
from typing import Any

from noria.stores.versions import REGISTERED, TWIN, State

__all__ = ["Record", "due", "record"]

KEPT = 0.6  # of a record, when a span is added
CLOSE = 1.02  # up to this record it pays to train another one
LEADS = 0.98  # up to this one it pays to train two models in a run
LEAST = 2  # spans after which a record says that the twin is better


@dataclasses.dataclass(frozen=True)
class Record:
    """How a twin did on the spans that followed it.

    Attributes:
      version: the twin's number.
      ratio: the record; below 1 its loss is less than the champion's. None before the first span.
      spans: on how many spans.
    """

    version: int
    ratio: float | None = None
    spans: int = 0

    @property
    def better(self) -> bool:
        """Whether it is a better fallback than the last champion."""
        return self.ratio is not None and self.ratio < 1 and self.spans >= LEAST

    @property
    def leads(self) -> bool:
        """Whether it is so much better that a model which continues from it is a candidate of the next run."""
        return self.better and self.ratio is not None and self.ratio <= LEADS

    @property
    def pays(self) -> bool:
        """Whether it is at least close to the champion."""
        return self.ratio is not None and self.ratio <= CLOSE

    def __str__(self) -> str:
        if self.ratio is None:
            return f"version {self.version}: no span has followed yet"
        if not math.isfinite(self.ratio):
            return f"version {self.version}: it cannot predict today's rows"
        word = "it is the fallback" if self.better else "the version before the champion is the fallback"
        spans = "1 span" if self.spans == 1 else f"{self.spans} spans"
        return f"version {self.version}: loss {self.ratio:.3f} of the champion's on {spans}; {word}"

    def to_json(self) -> dict[str, Any]:
        """For `noria status --json`."""
        usable = self.ratio is not None and math.isfinite(self.ratio)
        return {**dataclasses.asdict(self), "ratio": self.ratio if usable else None, "better": self.better}

    def add(self, twin: float, champion: float) -> "Record":
        """The record with one more span.

        >>> Record(7).add(0.2, 0.4).add(0.4, 0.4)
        Record(version=7, ratio=0.7, spans=2)
        """
        ratio = twin / max(champion, 1e-12)
        if self.ratio is not None:
            ratio = KEPT * self.ratio + (1 - KEPT) * ratio
        return Record(self.version, ratio, self.spans + 1)

    def fail(self) -> "Record":
        """The record of a twin that could not predict the next span's rows."""
        return Record(self.version, math.inf, self.spans + 1)


def record(state: State) -> Record | None:
    """The record of the newest twin, while it is registered as such; None if there is none."""
    return None if state.twin is None else _of(state, state.twin.version)


def due(state: State, every: int | None) -> bool:
    """Whether a twin is to be trained now.

    It is when `every` warm versions were published since the last model that was trained from nothing. Each twin in a
    row that was not close to the champion doubles this number.

    Args:
      state: of the registry.
      every: `window.twin`; None for never.
    """
    if every is None or state.champion is None or state.rolling_back is not None:
        return False
    needed, last = every, 0
    for run in state.runs.values():
        if run.version is None or run.mode == "warm":
            continue
        if run.mode == TWIN:
            needed = every if _of(state, run.version).pays else 2 * needed
        elif run.model_verdict != "blessed":
            continue
        last = max(last, run.version)
    since = [
        run
        for run in state.runs.values()
        if run.mode == "warm" and run.model_verdict == "blessed" and (run.version or 0) > last
    ]
    published = [run for run in since if state.versions[run.version or 0].state != REGISTERED]
    return len(published) >= needed


def _of(state: State, version: int) -> Record:
    found = Record(version)
    for run in state.runs.values():
        if run.twin is not None and run.twin["version"] == version:
            usable = run.twin["loss"] is not None
            found = found.add(run.twin["loss"], run.twin["champion"]) if usable else found.fail()
    return found
