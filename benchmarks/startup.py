"""What starting costs: `noria --help`, and the imports that a resident process pays once.

    python -m benchmarks.startup [--repeats 10] [--quick]

Each measurement in a fresh process, from its start to its end; one unmeasured run first, so that files are in the
page cache and compiled. Writes startup.json.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure

IMPORTS = {
    "nothing (Python itself)": "pass",
    "TensorFlow": "import tensorflow",
    "TensorFlow and TFT": "from noria.components.keras3 import ensure_keras3; ensure_keras3()",
    "all that `noria run` imports before its first stage": (
        "from noria.components.keras3 import ensure_keras3; ensure_keras3(); import noria.pipeline.runners.beam"
    ),
    "stock TFX (`tfx.v1`)": (
        "from noria.components.keras3 import ensure_keras3; ensure_keras3(); from tfx import v1"
    ),
}


def seconds(command: list[str], repeats: int) -> dict[str, float | list[float]]:
    """Wall-clock seconds of a command, and their median."""
    runs = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, cwd=measure.ROOT, check=True, capture_output=True)
        runs.append(time.perf_counter() - started)
    return {"median": statistics.median(runs[1:]), "runs": runs[1:]}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--repeats", type=int, help="of `noria --help` (default: 10); imports: a third of it")
    options = measure.options(parser, argv)
    repeats = options.size(10, 2) if options.given.repeats is None else options.given.repeats
    machine = options.machine()
    noria = str(Path(sys.executable).with_name("noria"))
    result = {"help": seconds([noria, "--help"], repeats), "imports": {}}
    for name, code in IMPORTS.items() if not options.quick else list(IMPORTS.items())[:1]:
        result["imports"][name] = seconds([sys.executable, "-c", code], -(-repeats // 3))
    options.save("startup", result, machine)
    rows = {"noria --help": result["help"], **result["imports"]}
    measure.show(
        "Starting", ["", "seconds, median"], [(name, found["median"]) for name, found in rows.items()]
    )
    contest = measure.RESULTS / "warm_run.json"
    if contest.exists():
        found = json.loads(contest.read_text())
        print(
            f"A process that ran already, from the new span to the published version: "
            f"{found['noria_median']['wall']:.2f} s (benchmarks.warm_run, commit {found['machine']['commit']})"
        )


if __name__ == "__main__":
    main()
