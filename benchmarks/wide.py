"""Seconds and memory of each stage on tables with many columns: does the cost grow with them, and no faster?

    python -m benchmarks.wide [--columns 300,1500,300+200] [--name wide] [--quick]

For each table, of 3,000 rows with so many numbers, or so many numbers and categories, the project that `noria init`
drafts, cut into two spans, and a cold and a warm run of it in one fresh process, which is watched from outside as in
`benchmarks.memory`.
The gates are open: a model that is no better than a guess would leave no champion for the warm run. Writes <name>.json;
`--name wide_before` keeps the state before a change, and the page shows both.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import yaml

from benchmarks import measure, memory, synthetic

ROWS = 3_000
LABEL = "y"
VALUES = 200  # of a category, at most
MODES = ["cold", "warm"]
# Seconds with importing TFX, MiB with everything that the process started, bytes of a run's report page.
GOALS = {"cold": 30, "warm": 10, "mib": 1536, "page": 2_000_000}


def table(rows: int, numbers: int, categories: int) -> pa.Table:
    """Independent columns; two of the numbers decide the label, with noise."""
    random = np.random.default_rng(3)
    columns: dict[str, Any] = {f"f{i}": random.normal(size=rows).round(3) for i in range(numbers)}
    columns |= {
        f"c{i}": [f"v{value}" for value in random.integers(0, VALUES, rows)] for i in range(categories)
    }
    columns[LABEL] = (columns["f0"] + columns["f1"] + random.normal(size=rows) > 0).astype(np.int64)
    return pa.table(columns)


def project(folder: Path, data: Path, rows: int) -> Path:
    """The folder of the project that `noria init` drafts, with open gates, and a span for each half of the rows."""
    from noria.pipeline.init import draft as drafts

    drafts.draft(folder, data, LABEL)
    path = folder / "noria.yaml"
    settings = yaml.safe_load(path.read_text())
    # The repository's root, from which this runs, has another `preprocessing`.
    path.with_name("preprocessing.py").rename(path.with_name("wide_features.py"))
    settings["preprocessing"] = "wide_features.preprocessing_fn"
    settings["gates"] = synthetic.open_gates([])
    settings["span"] = {"every": f"rows:{rows // 2}"}
    path.write_text(yaml.safe_dump(settings))
    return folder


def record(rows: int, numbers: int, categories: int) -> dict[str, Any]:
    """One table: what each stage of a cold and a warm run took."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, data = Path(scratch), Path(scratch) / "data.csv"
        pa.csv.write_csv(table(rows, numbers, categories), data)
        started = time.perf_counter()
        made = project(folder / "project", data, rows)
        init = time.perf_counter() - started
        marks, readings = memory.watch(memory.command(made, MODES), folder / "child.log")
        pages = (made / "home" / "reports").glob("*-*.html")
        imports = marks[1]["at"] - readings[0][0]
        found = {
            "numbers": numbers,
            "categories": categories,
            "init": init,
            "imports": imports,
            "page": max(page.stat().st_size for page in pages),
            **memory.peaks(marks, readings, MODES),
        }
    for run in found["runs"]:
        run["wall"] = sum(stage["seconds"] for stage in run["stages"].values())
        run["processor"] = sum(stage["processor"] for stage in run["stages"].values())
        run["peak_mib"] = found["baseline_mib"] + run["total_mib"]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--columns", help="of each table, with commas between (default: 300,1500,300+200)")
    parser.add_argument("--name", default="wide", help="of the JSON file (default: wide)")
    options = measure.options(parser, argv)
    given = options.given.columns or options.size("300,1500,300+200", "20+2")
    try:
        sizes = [[int(count) for count in size.split("+")] for size in given.split(",")]
        pairs = [(numbers, rest[0] if rest else 0) for numbers, *rest in sizes]
    except ValueError:
        parser.error(f"--columns must be such as 300 or 300+200 with commas between, got {given!r}")
    rows = options.size(ROWS, 2_400)
    machine = options.machine()
    tables = []
    for numbers, categories in pairs:
        tables.append(record(rows, numbers, categories))
        # After each table: the largest one takes long.
        options.save(options.given.name, {"rows": rows, "goals": GOALS, "tables": tables}, machine)
    for found in tables:
        title = f"{found['numbers']:,} numbers, {found['categories']:,} categories"
        title += f"; imports {found['imports']:.1f} s, page {found['page'] / 1e6:.2f} MB"
        for run in found["runs"]:
            measure.show(
                f"{title}; {run['mode']}: {run['wall']:.1f} s, {run['peak_mib']:,.0f} MiB",
                ["stage", "seconds", "processor", "MiB above TensorFlow"],
                [
                    (name, stage["seconds"], stage["processor"], stage["total_mib"])
                    for name, stage in run["stages"].items()
                ],
            )


if __name__ == "__main__":
    main()
