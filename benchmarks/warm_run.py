"""A warm run on January's flights against the stock TFX components and a script by hand, in one run on one machine.

    python -m benchmarks.warm_run [--repeats 5] [--stock-repeats 5] [--quick]

All read January's labelled flights (by UTC), take 300 steps of 256 rows, score the same slices and save (see
`benchmarks.contest`). Noria and the script start warm, from a run on February. Writes warm_run.json and .png.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import contest

TITLE = "A warm run on January's flights"


def months() -> tuple[pa.Table, pa.Table]:
    """February's and January's flights as event tables; the champion is trained on the first."""
    import flight_events as flights

    table = flights.table()
    month = pc.month(pc.cast(pc.multiply(table["time_hour"], 1000), "timestamp[ms]"))
    february, january = (table.filter(pc.equal(month, number)).sort_by("time_hour") for number in (2, 1))
    return february, january


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all three and prints the ratios."""
    contest.main(argv, __doc__, "warm_run", TITLE, months, steps=300, cold=False)


if __name__ == "__main__":
    main()
