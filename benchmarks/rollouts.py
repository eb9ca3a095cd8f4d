"""The decision of a rollout, simulated: how often a healthy canary is rolled back, and what a faulty one costs.

    python -m benchmarks.rollouts [--quick] [--healthy N] [--faulty N]

The code that judges is the server's (noria.serving.rollouts), with its defaults; the traffic is drawn: 500 requests a
second, the answers' latencies lognormal (median 2 ms, p99 5.1 ms), 0.1 % of them errors, the scores of a Beta(2, 5). A
healthy canary is a retrained model: its scores are of a Beta(2.1, 5), its latency and errors are the champion's. Needs
nothing but Python. Writes rollouts.json.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import measure
from noria.serving.rollouts.rollout import ABORTING
from noria.serving.rollouts.settings import RolloutSettings
from tests.helpers.canaries import FAULTS, PER_SECOND, Answer, healthy, simulate


def repeat(
    seed: int, count: int, candidate: Callable[[random.Random], Answer], settings: RolloutSettings, start: int
) -> dict[str, Any]:
    """`count` canaries with this candidate."""
    ended = [simulate(random.Random(seed + each), candidate, settings, start) for each in range(count)]
    back = [each for each in ended if each[0].status == ABORTING]
    seconds, exposed = sorted(each[2] for each in back), sorted(each[3] for each in back)
    guards = sorted({each[0].reason.split(":")[0] for each in back})

    def at(values: list[Any], share: float) -> Any:
        return values[min(int(len(values) * share), len(values) - 1)] if values else None

    return {
        "canaries": count,
        "rolled_back": len(back),
        "by": guards,
        "requests_median": at(exposed, 0.5),
        "requests_p95": at(exposed, 0.95),
        "seconds_median": at(seconds, 0.5),
        "seconds_p95": at(seconds, 0.95),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    made = measure.parser(__doc__)
    made.add_argument("--healthy", type=int, help="healthy canaries (default: 100)")
    made.add_argument("--faulty", type=int, help="canaries with each fault (default: 50)")
    options = measure.options(made, argv)
    machine, settings = options.machine(), RolloutSettings(mode="canary")
    count = options.given.faulty or options.size(50, 2)
    result: dict[str, Any] = {"per_second": PER_SECOND}
    result["healthy"] = repeat(1, options.given.healthy or options.size(100, 2), healthy, settings, 0)
    for place, (name, fault) in enumerate(FAULTS.items()):
        result[name] = repeat(10_000 * (place + 1), count, fault, settings, 0)
    late = "fails in 5 % of its requests"
    result[f"{late}, from the third step"] = repeat(900_000, count, FAULTS[late], settings, 2)
    options.save("rollouts", result, machine)
    columns = ["canaries", "rolled_back", "requests_median", "requests_p95", "seconds_median", "seconds_p95"]
    rows = [
        (name, *(found[key] for key in columns)) for name, found in result.items() if name != "per_second"
    ]
    measure.show("Canaries at 500 requests a second", ["candidate", *columns], rows)


if __name__ == "__main__":
    main()
