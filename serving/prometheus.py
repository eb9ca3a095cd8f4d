"""Metrics in Prometheus' text format, under TF Serving's names; what it does not have begins with `noria_serving_`.

Not prometheus-client: it appends `_total` to a counter's name, which TF Serving's dashboards do not expect.
"""

import bisect
import re
from collections.abc import Sequence

_LATENCY = [10 * 1.8**power for power in range(33)]  # µs, TF Serving's util.cc
_COUNTS = [2.0**power for power in range(15)]
_SECONDS = [0.1 * 2**power for power in range(12)]


class Counter:
    """A number for each combination of labels that only grows, or a gauge."""

    def __init__(self, name: str, labels: Sequence[str], kind: str = "counter"):
        self.name, self.labels, self.kind = name, labels, kind
        self.values: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by

    def set(self, *labels: str, to: float) -> None:
        self.values[labels] = to

    def lines(self) -> list[str]:
        lines = [
            f"{self.name}{{{_pairs(self.labels, key)}}} {value:.15g}" for key, value in self.values.items()
        ]
        return [f"# TYPE {self.name} {self.kind}", *lines] if lines else []


class Histogram:
    """Counts in buckets, for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str], bounds: Sequence[float]):
        self.name, self.labels, self.bounds = name, labels, bounds
        self.values: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = ([0] * (len(self.bounds) + 1), [0.0])
        # TF Serving's buckets hold what is below their bound.
        found[0][bisect.bisect_right(self.bounds, value)] += 1
        found[1][0] += value

    def quantile(self, share: float, label: str) -> float | None:
        """The bound that so many values are below, over all labels that begin with this one; None if there are few."""
        counts = [
            sum(each) for each in zip(*(v[0] for k, v in self.values.items() if k[0] == label), strict=True)
        ]
        seen = 0
        for bound, count in zip(self.bounds, counts, strict=False):
            seen += count
            if seen >= 20 and seen >= share * sum(counts):
                return bound
        return None

    def lines(self) -> list[str]:
        lines = []
        for key, (counts, (total,)) in self.values.items():
            pairs, seen = _pairs(self.labels, key), 0
            for bound, count in zip((*map("{:g}".format, self.bounds), "+Inf"), counts, strict=True):
                seen += count
                lines.append(f'{self.name}_bucket{{{pairs},le="{bound}"}} {seen}')
            lines += [f"{self.name}_sum{{{pairs}}} {total:g}", f"{self.name}_count{{{pairs}}} {seen}"]
        return [f"# TYPE {self.name} histogram", *lines] if lines else []


class Metrics:
    """All metrics of a server."""

    def __init__(self) -> None:
        self.requests = Counter(":tensorflow:serving:request_count", ("model_name", "status"))
        self.latency = Histogram(
            ":tensorflow:serving:request_latency", ("model_name", "API", "entrypoint"), _LATENCY
        )
        self.runtime = Histogram(
            ":tensorflow:serving:runtime_latency", ("model_name", "API", "runtime"), _LATENCY
        )
        self.examples = Histogram(":tensorflow:serving:request_example_counts", ("model",), _COUNTS)
        self.example_total = Counter(":tensorflow:serving:request_example_count_total", ("model",))
        self.warmup = Histogram(
            ":tensorflow:serving:model_warmup_latency", ("model_path", "status"), _LATENCY
        )
        self.batches = Counter("noria_serving_batches_total", ("model", "version"))
        self.batch_rows = Histogram("noria_serving_batch_rows", ("model", "version"), _COUNTS)
        self.loads = Histogram("noria_serving_load_seconds", ("model",), _SECONDS)
        self.refusals = Counter("noria_serving_refused_versions_total", ("model",))
        self.restarts = Counter("noria_serving_process_restarts_total", ("model", "version"))
        self.queue = Counter("noria_serving_waiting_requests", ("model", "version"), "gauge")
        self.memory = Counter("noria_serving_memory_bytes", ("model", "version"), "gauge")
        self.logged = Counter("noria_serving_logged_requests_total", ())
        self.unlogged = Counter("noria_serving_unlogged_requests_total", ())
        self.serving = Counter("noria_serving_version", ("model",), "gauge")
        self.fallback_answers = Counter("noria_serving_fallback_answers_total", ("model",))
        self.rollbacks = Counter("noria_serving_rollbacks_total", ("model", "cause"))
        self.rollout_share = Counter("noria_serving_rollout_share", ("model", "version"), "gauge")
        self.rollout_requests = Counter("noria_serving_rollout_requests", ("model", "arm"), "gauge")

    def batch(self, model: str, version: int, calls: int, rows: int) -> None:
        self.batches.add(model, str(version))
        self.batch_rows.observe(rows, model, str(version))

    def loaded(self, model: str, version: int, seconds: float) -> None:
        self.loads.observe(seconds, model)
        self.restarts.add(model, str(version), by=0)  # Prometheus sees no increase in what begins with 1

    def refused(self, model: str) -> None:
        self.refusals.add(model)

    def restarted(self, model: str, version: int) -> None:
        self.restarts.add(model, str(version))

    def page(self) -> str:
        """All metrics in Prometheus' text format."""
        families = (each for each in vars(self).values() if isinstance(each, Counter | Histogram))
        return "\n".join(line for each in families for line in each.lines()) + "\n"


def _pairs(names: Sequence[str], values: Sequence[str]) -> str:
    quoted = (re.sub(r'([\\"])', r"\\\1", value).replace("\n", "\\n") for value in values)
    return ",".join(f'{name}="{value}"' for name, value in zip(names, quoted, strict=True))
