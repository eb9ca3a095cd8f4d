"""The data gate over a year: which verdict each week of 2013 gets, and which each injected fault gets.

    python -m benchmarks.gates [--weeks 53] [--fault-weeks 10,26,44] [--quick]

Lays the flights of 2013 out as weekly spans and runs SpanExampleGen, StatisticsGen and DataGate (their executors, as
in a run) week by week, with the week before and the last accepted run's training rows as references. Then spoils a few
of the weeks, each fault in a copy of the home folder of the time before that week. No ordinary week may be `broken`,
and no fault `ok`. Takes about three minutes on two cores. Writes gates.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from tests.helpers import gate_run
from tests.helpers.flight_faults import FAULTS, Fault


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of the measurements that go through the year."""
    made = measure.parser(doc)
    made.add_argument("--weeks", type=int, help="of the year (default: 53)")
    made.add_argument("--fault-weeks", help="in which every fault is injected (default: 10,26,44)")
    return made


def chosen(options: measure.Options) -> tuple[int, list[int], Sequence[Fault]]:
    """How many weeks, those with faults, and the faults; a quick run goes just beyond the first cold run, with two."""
    named = options.size("10,26,44", "5") if options.given.fault_weeks is None else options.given.fault_weeks
    weeks = [int(week) for week in named.split(",") if week]
    return options.given.weeks or options.size(53, 5), weeks, FAULTS[: options.size(None, 2)]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where an ordinary week is broken or a fault is ok."""
    options = measure.options(parser(__doc__), argv)
    machine = options.machine()
    with tempfile.TemporaryDirectory() as folder:
        result = gate_run.run(Path(folder), *chosen(options), lambda line: print(line, flush=True))
    options.save("gates", result, machine)
    print(f"\n{len(result['weeks'])} ordinary weeks: {result['verdicts']}; {result['seconds']} s")
    for fault, verdicts in result["fault_verdicts"].items():
        print(f"  {fault:32s} {verdicts}")
    bad = result["verdicts"].get("broken", 0) + sum(row["verdict"] == "ok" for row in result["faults"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
