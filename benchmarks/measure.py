"""What all measurements share: their options, the machine they ran on, the flights' project, where results go, and how
they are shown."""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from noria.core import files

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
# With other processes at work for as much as this share of a core, seconds are not worth keeping.
BUSY = 0.3
LOOK = 3.0  # seconds that others are watched for
PATIENCE = 60.0  # seconds that a measurement waits for them to end


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of every part.

    Attributes:
      quick: tiny sizes, to see that it runs through; the figures mean nothing.
      out: folder that gets the JSON and the plots.
      given: the part's own options.
      defaults: their values where none is given.
    """

    quick: bool
    out: Path
    given: argparse.Namespace
    defaults: dict[str, Any]

    def size(self, full: Any, quick: Any) -> Any:
        """The size for this mode."""
        return quick if self.quick else full

    def machine(self) -> dict[str, Any]:
        """Cores, versions, the code's commit, and `busy`, the cores that others use; call it before measuring.

        Where others are at work it waits for them, a minute at most.
        """
        busy, until = others(0.2 if self.quick else LOOK), time.monotonic() + PATIENCE
        while busy is not None and busy > BUSY and time.monotonic() < until and not self.quick:
            print(f"others use {busy:.1f} cores: waiting", file=sys.stderr, flush=True)
            busy = others(LOOK)
        if busy is not None and busy > BUSY:
            print(f"others use {busy:.1f} cores: don't keep these figures", file=sys.stderr, flush=True)
        return {
            "date": datetime.date.today().isoformat(),
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "busy": busy,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("tfx", "tensorflow")},
            "commit": commit(),
        }

    def command(self, name: str) -> str:
        """What measures this again: the part, and the options that were given."""
        given = {key: value for key, value in vars(self.given).items() if key not in ("quick", "out")}
        words = [
            f"--{key.replace('_', '-')} {shlex.quote(str(v))}" for key, v in given.items() if v is not None
        ]
        return " ".join([f"python -m benchmarks.{name}", *words])

    def save(self, name: str, result: dict[str, Any], machine: dict[str, Any]) -> None:
        """Writes `<name>.json` beside, then renames it; looks once more at how busy the machine is."""
        self.out.mkdir(parents=True, exist_ok=True)
        machine = machine | {"busy_after": None if self.quick else others(LOOK)}
        path = self.out / f"{name}.json"
        facts = {"command": self.command(name), "quick": self.quick, "machine": machine}
        files.write_text(path, json.dumps({**result, **facts}, indent=1) + "\n")
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
    return Options(given.quick, given.out, given, {name: made.get_default(name) for name in vars(given)})


def others(seconds: float) -> float | None:
    """How many cores others than this process use, watched for so long; None where there is no /proc."""

    def used() -> float:
        # user nice system idle iowait irq softirq steal; the guests' time is part of the user's (man 5 proc_stat)
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = os.times()
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK") - own.user - own.system

    if not Path("/proc/stat").exists():
        return None
    before, started = used(), time.perf_counter()
    time.sleep(seconds)
    return round(max(0.0, (used() - before) / (time.perf_counter() - started)), 2)


def busy(result: dict[str, Any]) -> bool | None:
    """Whether others were at work before or after a measurement; None where it does not say."""
    machine = result.get("machine", {})
    seen = [machine[name] for name in ("busy", "busy_after", "load") if machine.get(name) is not None]
    return max(seen) > BUSY if seen else None


def processor() -> str | None:
    """The processor's name, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), None)


def commit() -> str | None:
    """The last commit that touched what is measured or how, `+` behind it where that was changed since.

    None outside a git checkout.
    """
    folders = [
        "components",
        "pipeline",
        "preprocessing",
        "schemas",
        "stores",
        "core",
        "ingestion",
        "serving",
        "examples",
        "locks",
    ]
    folders += ["benchmarks/*.py", ":!benchmarks/page.py", ":!benchmarks/bench.py"]

    def git(*words: str) -> str:
        command = ["git", *words, "--", *folders]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        last, changed = git("log", "-1", "--format=%h"), git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{last}+" if last and changed else last or None


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


def proportional(pid: int | str) -> int | None:
    """A process's resident bytes, a page that n processes map as 1/n (man 5 proc, Pss); None when it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    return int(rollup.split("\nPss:")[1].split()[0]) * 1024 if "\nPss:" in rollup else None


def resident(pid: int | str = "self") -> int | None:
    """A process's resident bytes, from /proc; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 if "VmRSS:" in status else None


def flights() -> dict[str, Any]:
    """The flights example's settings, with a home beside them and no source: spans are committed by the measurement."""
    settings = yaml.safe_load((ROOT / "examples" / "flights" / "noria.yaml").read_text(encoding="utf-8"))
    return settings | {
        "home": "home",
        "schema": str(ROOT / "examples" / "flights" / "schema.pbtxt"),
        "data": {},
    }


def project(folder: Path, settings: dict[str, Any]) -> Any:
    """Writes a project's settings into a folder; its config."""
    from noria.pipeline.config import load

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "noria.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load(folder)


def pyplot() -> Any:
    """matplotlib.pyplot for files, with this project's look."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
    return pyplot
