"""A warm run on January's flights against the stock TFX components and a script by hand, in one run on one machine.

    python -m benchmarks.warm_run [--repeats 5] [--stock-repeats 5] [--quick]

All read January's labelled flights (by UTC), take 300 steps of 256 rows, score the same slices and save (see
`benchmarks.contest`). Noria and the script start warm, from a run on February. Writes warm_run.json and .png.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import contest, measure

TITLE = "A warm run on January's flights"


def months() -> tuple[pa.Table, pa.Table]:
    """February's and January's flights as event tables; the champion is trained on the first."""
    from noria.streaming import flights

    table = flights.table()
    month = pc.month(pc.cast(pc.multiply(table["time_hour"], 1000), "timestamp[ms]"))
    february, january = (table.filter(pc.equal(month, number)).sort_by("time_hour") for number in (2, 1))
    return february, january


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all three and prints the ratios."""
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--repeats", type=int, help="of Noria and of the script, after the first (default: 5)"
    )
    parser.add_argument(
        "--stock-repeats", type=int, help="of the stock pipeline; 0 leaves it out (default: 5)"
    )
    options = measure.options(parser, argv)
    repeats = options.size(5, 1) if options.given.repeats is None else options.given.repeats
    stock = options.size(5, 1) if options.given.stock_repeats is None else options.given.stock_repeats
    rows = options.size(None, 2_000)
    machine = measure.machine()
    february, january = (contest.thin(table, rows) for table in months())
    with tempfile.TemporaryDirectory() as scratch:
        result = contest.hold(
            Path(scratch),
            february,
            january,
            steps=options.size(300, 10),
            cold=False,
            repeats=repeats,
            stock_repeats=stock,
        )
    options.save("warm_run", result, machine)
    contest.plot(result, options.out / "warm_run.png", TITLE)
    contest.show(result, TITLE)


if __name__ == "__main__":
    main()
