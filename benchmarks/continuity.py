"""N steps in one go against N/2, publish, warm start in a fresh process, N/2, on the same batches.

    python -m benchmarks.continuity [--steps 300] [--quick]

Trains on four weeks of the flights of 2013, each family three times through the Trainer's own run_fn: in one go, the
first half, and, in a new process, the second half from what the first half wrote. Compares every weight and
every Adam slot of the two results, and writes continuity.json. A quick run stays in one process.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from tests.helpers import training


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, compares and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--steps", type=int, help="in one go (default: 300)")
    options = measure.options(parser, argv)
    steps = options.given.steps or options.size(300, 10)
    machine = options.machine()
    results: dict[str, Any] = {"steps": steps, "batch_size": 256}
    with tempfile.TemporaryDirectory(prefix="noria-continuity-") as folder:
        data = training.lay_out(Path(folder) / "data", 1, options.size(4, 1), options.size(None, 1_500))
        for family in ("wide_deep", "dcn"):
            found = training.continuity(
                data, Path(folder) / family, {"family": family}, steps, not options.quick
            )
            results[family] = found
            print(
                f"{family}: largest difference of weights {found['variables']:.2g}, "
                f"first moments {found['first']:.2g}, second moments {found['second']:.2g}",
                flush=True,
            )
    options.save("continuity", results, machine)


if __name__ == "__main__":
    main()
