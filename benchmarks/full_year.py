"""The whole year of flights in one cold run, against the stock TFX components on the same rows.

    python -m benchmarks.full_year [--repeats 5] [--stock-repeats 5] [--quick]

327,346 labelled rows, 3,000 steps of 256, judged against a champion that February made, which gives the cold run
nothing (see `benchmarks.contest`). Writes full_year.json and .png.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import contest, measure
from benchmarks.warm_run import months

TITLE = "The year's flights in one cold run"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all three and prints the ratios."""
    from noria.streaming import flights

    parser = measure.parser(__doc__)
    parser.add_argument(
        "--repeats", type=int, help="of Noria and of the script, after the first (default: 5)"
    )
    parser.add_argument(
        "--stock-repeats", type=int, help="of the stock pipeline; 0 leaves it out (default: 5)"
    )
    options = measure.options(parser, argv)
    repeats = options.size(5, 1) if options.given.repeats is None else options.given.repeats
    stock = options.size(5, 0) if options.given.stock_repeats is None else options.given.stock_repeats
    machine = measure.machine()
    february, _ = months()
    year = flights.table().sort_by("time_hour")
    with tempfile.TemporaryDirectory() as scratch:
        result = contest.hold(
            Path(scratch),
            contest.thin(february, options.size(None, 2_000)),
            contest.thin(year, options.size(None, 3_000)),
            steps=options.size(3_000, 20),
            cold=True,
            repeats=repeats,
            stock_repeats=stock,
        )
    options.save("full_year", result, machine)
    contest.plot(result, options.out / "full_year.png", TITLE)
    contest.show(result, TITLE)


if __name__ == "__main__":
    main()
