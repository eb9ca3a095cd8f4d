"""The guards of a rollout: what candidate and champion did in the same period, compared block by block.

A block ends by the clock (`close`), as soon as both arms have answered. Each guard is a `Comparison` of a share:

- errors: requests that failed.
- latency: requests that took longer than `latency` times the champion's p99, as measured before the block. If the
  candidate's p99 is below this bound, its share is at most 1 %, which is the tolerance.
- scores: scores below an edge, and scores above it, for five edges: quantiles of the champion's first scores. So the
  distance is Kolmogorov's, at these edges. The guard's e-value is the mean of the ten.
- loss: of the rows whose labels have arrived.

A guard breaches when its e-value reaches (number of guards) / `false_alarms`: Bonferroni's correction. Comparisons of
quantiles and of stochastic order by sequential tests are what Lindon, Sanden and Shirikian, "Rapid regression detection
in software deployments through sequential testing" (KDD 2022, arXiv:2205.14762) judge canaries by.
"""

import bisect
import collections
import dataclasses
import math
from typing import Any

from noria.serving.rollouts.comparison import Comparison
from noria.serving.rollouts.settings import GuardSettings

CHAMPION, CANDIDATE = "champion", "candidate"
# Champion's answers before a quantile of it is used.
MIN_LATENCIES = 200
FEW_LATENCIES = 20  # for `patience`
MIN_SCORES = 200
MIN_LOSSES = 100
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
SLOW_SHARE = 0.01
LATENCY_MEMORY = 20_000  # answers after which older ones count half
STEP = 1.05  # between two latencies that are distinguished


@dataclasses.dataclass(frozen=True)
class Breach:
    """A guard that says the candidate is worse than tolerated.

    Args:
      guard: its name.
      p: at most the probability of such evidence if the candidate were within the tolerance.
      candidate, champion: (observations, mean), of the whole rollout.
    """

    guard: str
    p: float
    candidate: tuple[int, float]
    champion: tuple[int, float]

    def __str__(self) -> str:
        what = {
            "errors": "requests that failed",
            "latency": "requests that were slow",
            "scores": "scores beyond an edge",
            "loss": "mean loss",
        }[self.guard]
        form = ".4g" if self.guard == "loss" else ".2%"
        arms = (
            f"{name} {mean:{form}} of {count:,}"
            for name, (count, mean) in (("candidate", self.candidate), ("champion", self.champion))
        )
        return f"{self.guard}: {what}: {', '.join(arms)} (p < {self.p:.2g})"


class Guards:
    """Evidence against a candidate.

    Args:
      settings: the tolerances.
      false_alarms: see `RolloutSettings`.
      saved: what `to_json` gave, to continue from there.
    """

    def __init__(self, settings: GuardSettings, false_alarms: float, saved: dict[str, Any] | None = None):
        self.settings, self.false_alarms = settings, false_alarms
        self.requests = {CHAMPION: 0, CANDIDATE: 0}
        self.edges: list[float] = []
        self._names = [name for name, value in settings.model_dump().items() if value is not None]
        self._tests: dict[str, Comparison] = {}
        self._totals: dict[str, dict[str, list[float]]] = {}
        self._peaks: dict[str, float] = {}
        self._latencies: dict[int, float] = {}
        self._scores: list[float] = []
        self._errors: list[float] = []  # of the champion's regression
        self._scale: float | None = None
        # key of a test -> arm -> counts, of the open block
        self._open: dict[str, dict[str, collections.Counter[float]]] = {}
        self._p99: float | None = None
        self._limit: float | None = None
        if saved:
            self._load(saved)

    @property
    def limit(self) -> float | None:
        """Seconds after which a request counts as slow; None while the champion's p99 is not known well."""
        return self._limit

    @property
    def patience(self) -> float:
        """Seconds after which a candidate that has not answered counts as failed."""
        return 10.0 if self._p99 is None else max(10 * self._p99, 1.0)

    def expect(self, seconds: float) -> None:
        """What the champion's p99 was before the rollout."""
        if self._p99 is None:
            self._p99 = seconds

    def observe(
        self,
        arm: str,
        failed: bool,
        seconds: float | None = None,
        score: float | None = None,
        was_slow: bool = False,
    ) -> None:
        """Adds a request; `was_slow` if `slow` was told of it. A score that is not a number is a failure."""
        self.requests[arm] += 1
        failed = failed or (score is not None and math.isnan(score))
        if "errors" in self._names:
            self._count("errors", arm, float(failed))
        if failed:
            return
        if seconds is not None:
            if self._limit is not None and not was_slow:
                self._count("latency", arm, float(seconds > self._limit))
            if arm == CHAMPION:
                place = math.floor(math.log(max(seconds, 1e-6)) / math.log(STEP))
                self._latencies[place] = self._latencies.get(place, 0.0) + 1.0
        if score is not None and "scores" in self._names:
            if self.edges:
                self._count("scores", arm, bisect.bisect_left(self.edges, score))
            elif arm == CHAMPION:
                self._scores.append(score)

    def slow(self, arm: str) -> None:
        """Adds a request that has no answer yet, and has waited for longer than `limit`."""
        self._count("latency", arm, 1.0)

    def labelled(self, arm: str, score: float, label: float) -> None:
        """Adds a row whose label has arrived; it is a probability's if it is 0 or 1, otherwise a regression's."""
        if "loss" not in self._names:
            return
        error = abs(score - label)
        if label in (0, 1) and 0 <= score <= 1:
            self._count("loss", arm, round(error * error, 3))
        elif self._scale is not None:
            self._count("loss", arm, round(min(error / self._scale, 1.0), 3))
        elif arm == CHAMPION:
            self._errors.append(error)
            if len(self._errors) >= MIN_LOSSES:
                self._scale = 4 * sorted(self._errors)[len(self._errors) // 2] or 1.0

    def close(self) -> Breach | None:
        """Ends the block; the guard that has breached, if one has."""
        for key in [key for key, arms in self._open.items() if len(arms) == 2]:
            arms = self._open.pop(key)
            if key != "scores":
                self._update(key, arms)
                continue
            for place in range(len(self.edges)):
                # A score is at most the edge if its bin is not behind it.
                below = {arm: sum(n for bin, n in bins.items() if bin <= place) for arm, bins in arms.items()}
                for side in "<>":
                    self._update(
                        f"scores{side}{place}",
                        {
                            arm: collections.Counter(
                                {
                                    float(side == "<"): below[arm],
                                    float(side == ">"): sum(bins.values()) - below[arm],
                                }
                            )
                            for arm, bins in arms.items()
                        },
                    )
        for guard in self._names:
            tests = [each.e_value for key, each in self._tests.items() if _guard(key) == guard]
            if tests:
                self._peaks[guard] = max(self.e_value(guard), sum(tests) / len(tests))
        self._learn()
        worst = max(self._names, key=self.e_value, default=None)
        if worst is None or self.e_value(worst) < len(self._names) / self.false_alarms:
            return None
        key = self._strongest(worst)
        candidate, champion = self._mean(key, CANDIDATE), self._mean(key, CHAMPION)
        return Breach(worst, len(self._names) / self.e_value(worst), candidate, champion)

    def e_value(self, guard: str) -> float:
        """The most evidence that a guard has had against the candidate; at least 1, and 1 is none."""
        return self._peaks.get(guard, 1.0)

    def summary(self) -> dict[str, Any]:
        """For people: each guard with its p-value and the two arms' means."""
        found: dict[str, Any] = {}
        for guard in self._names:
            if not any(_guard(key) == guard for key in self._tests):
                found[guard] = None
                continue
            key = self._strongest(guard)
            found[guard] = {
                "p": min(1.0, len(self._names) / self.e_value(guard)),
                **{
                    arm: dict(zip(("count", "mean"), self._mean(key, arm), strict=True))
                    for arm in self.requests
                },
            }
        return found

    def to_json(self) -> dict[str, Any]:
        """The state, without the open block."""
        return {
            "requests": self.requests,
            "edges": self.edges,
            "tests": {key: dataclasses.asdict(each) for key, each in self._tests.items()},
            "totals": self._totals,
            "latencies": {str(place): count for place, count in self._latencies.items()},
            "scores": self._scores,
            "errors": self._errors,
            "scale": self._scale,
            "peaks": self._peaks,
        }

    def _load(self, saved: dict[str, Any]) -> None:
        self.requests.update(saved["requests"])
        self.edges, self._scores, self._scale = saved["edges"], saved["scores"], saved["scale"]
        for key, values in saved["tests"].items():
            pairs = {name: tuple(values[name]) for name in ("champion", "candidate")}
            self._tests[key] = Comparison(**{**values, **pairs})
        self._totals, self._errors, self._peaks = saved["totals"], saved["errors"], saved["peaks"]
        self._latencies = {int(place): count for place, count in saved["latencies"].items()}
        self._learn()

    def _learn(self) -> None:
        """What the next block is compared with comes from the blocks before it."""
        total, above = sum(self._latencies.values()), 0.0
        for place in sorted(self._latencies, reverse=True) if total >= FEW_LATENCIES else ():
            above += self._latencies[place]
            if above >= total * SLOW_SHARE:
                self._p99 = STEP ** (place + 1)
                break
        if self._p99 is not None and total >= MIN_LATENCIES and self.settings.latency is not None:
            self._limit = self._p99 * self.settings.latency
        if total > LATENCY_MEMORY:
            self._latencies = {place: count / 2 for place, count in self._latencies.items()}
        if not self.edges and len(self._scores) >= MIN_SCORES:
            ordered = sorted(self._scores)
            self.edges = sorted({ordered[int(len(ordered) * each)] for each in QUANTILES})
            self._scores = []

    def _count(self, key: str, arm: str, value: float) -> None:
        self._open.setdefault(key, {}).setdefault(arm, collections.Counter())[value] += 1

    def _update(self, key: str, arms: dict[str, collections.Counter[float]]) -> None:
        self._test(key).update(arms[CHAMPION], arms[CANDIDATE])
        totals = self._totals.setdefault(key, {CHAMPION: [0, 0.0], CANDIDATE: [0, 0.0]})
        for arm, counts in arms.items():
            totals[arm][0] += sum(counts.values())
            totals[arm][1] += sum(value * count for value, count in counts.items())

    def _test(self, key: str) -> Comparison:
        if key not in self._tests:
            tolerance = SLOW_SHARE if key == "latency" else getattr(self.settings, _guard(key))
            self._tests[key] = Comparison(tolerance)
        return self._tests[key]

    def _strongest(self, guard: str) -> str:
        keys = [key for key in self._tests if _guard(key) == guard]
        return max(keys, key=lambda each: self._tests[each].log_e)

    def _mean(self, key: str, arm: str) -> tuple[int, float]:
        count, total = self._totals.get(key, {}).get(arm, (0, 0.0))
        return int(count), total / count if count else 0.0


def _guard(key: str) -> str:
    return key.rstrip("0123456789").rstrip("<>")
