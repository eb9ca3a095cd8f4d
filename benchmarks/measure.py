"""What all measurements share: their options, the machine they ran on, where results go, and how they are shown."""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from noria.stores import files

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
# With another process at work for as much as this share of a core, seconds are not worth keeping.
BUSY = 0.5


@dataclasses.dataclass(frozen=True)
class Options:
    """What every part can be told.

    Attributes:
      quick: tiny sizes, to see that it runs through; the figures mean nothing.
      out: folder that gets the JSON and the plots.
      given: the part's own options.
    """

    quick: bool
    out: Path
    given: argparse.Namespace

    def size(self, full: Any, quick: Any) -> Any:
        """The size for this mode."""
        return quick if self.quick else full

    def save(self, name: str, result: dict[str, Any], machine: dict[str, Any]) -> None:
        """Writes `<name>.json` beside, then renames it."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{name}.json"
        files.write_text(
            path, json.dumps({**result, "quick": self.quick, "machine": machine}, indent=1) + "\n"
        )
        print(f"wrote {path}", flush=True)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A part's parser, with the options that all parts have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="tiny sizes, into a temporary folder")
    made.add_argument("--out", type=Path, help="folder for JSON and plots (default: benchmarks/results)")
    return made


def options(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> Options:
    """Parses; a quick run never goes to the committed results."""
    given = made.parse_args(argv)
    if given.out is None:
        given.out = Path(tempfile.mkdtemp(prefix="noria-bench-")) if given.quick else RESULTS
    elif given.quick and given.out.resolve() == RESULTS:
        made.error("--quick does not write to the committed results; name another --out")
    return Options(given.quick, given.out, given)


def machine() -> dict[str, Any]:
    """Cores, versions, the load of the last minute and the commit of the code; call it before measuring."""
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"the machine is busy (load {load:.1f}): don't keep these figures", file=sys.stderr, flush=True)
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(load, 2),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("tfx", "tensorflow")},
        "commit": commit(),
    }


def commit() -> str | None:
    """The last commit that touched what is measured or how; None outside a git checkout."""
    folders = ("benchmarks/*.py", "components", "pipeline", "preprocessing", "schemas", "stores", "streaming")
    command = ["git", "log", "-1", "--format=%h", "--", *folders]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def median(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over the runs that have it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table: numbers to the right, seconds with two digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def pyplot() -> Any:
    """matplotlib.pyplot for files, with this project's look."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
    return pyplot
