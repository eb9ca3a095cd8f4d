"""The whole year of flights in one cold run, against the stock TFX components on the same rows.

    python -m benchmarks.full_year [--repeats 5] [--stock-repeats 5] [--quick]

327,346 labelled rows, 3,000 steps of 256, judged against a champion that February made, which gives the cold run
nothing (see `benchmarks.contest`). Writes full_year.json and .png.
"""

from collections.abc import Sequence

import pyarrow as pa

from benchmarks import contest
from benchmarks.warm_run import months

TITLE = "The year's flights in one cold run"


def tables() -> tuple[pa.Table, pa.Table]:
    """February's flights and the year's as event tables."""
    import flight_events as flights

    return months()[0], flights.table().sort_by("time_hour")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all three and prints the ratios."""
    contest.main(argv, __doc__, "full_year", TITLE, tables, steps=3_000, cold=True)


if __name__ == "__main__":
    main()
