"""Seconds per million rows of every stage, statistics, analysis and evaluation above all: is it a straight line?

    python -m benchmarks.scale [--rows 250000,500000,1000000] [--repeats 5] [--quick]

Cold runs on synthetic spans of 40 columns (see `benchmarks.synthetic`), each beside a champion trained on a small span,
so that Transform analyses and the Evaluator judges two models. The Trainer's steps are the same at each size, and the
sizes take runs. Writes scale.json and .png.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contest, measure, synthetic

CHAMPION_ROWS = 10_000
# Their rows grow with the span; the others' work does not.
STAGES = ("SpanExampleGen", "StatisticsGen", "Transform", "Evaluator")


def median(runs: Sequence[dict[str, Any]], size: int, stage: str) -> float:
    """A stage's seconds on spans of one size: the median over the runs."""
    return statistics.median(run["stages"][stage] for run in runs if run["rows"] == size)


def straight(rows: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Seconds that a million rows more cost between one size and the next; equal where the line is straight.

    >>> straight([1e6, 2e6, 4e6], [3.0, 5.0, 12.0])
    [2.0, 3.5]
    """
    return (np.diff(seconds) / np.diff(rows) * 1e6).tolist()


def fit(rows: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """A straight line through the points, by least squares.

    >>> {name: round(value, 6) for name, value in fit([1e6, 2e6, 3e6], [3.0, 5.0, 7.0]).items()}
    {'per_million': 2.0, 'fixed': 1.0, 'r2': 1.0}
    """
    slope, fixed = np.polyfit(rows, seconds, 1)
    rest = np.asarray(seconds) - (slope * np.asarray(rows) + fixed)
    spread = np.sum((np.asarray(seconds) - np.mean(seconds)) ** 2)
    return {
        "per_million": float(slope * 1e6),
        "fixed": float(fixed),
        "r2": float(1 - np.sum(rest**2) / spread) if spread else 1.0,
    }


def record(config: Any, **how: Any) -> tuple[Any, dict[str, str], float]:
    """One run: its record, the path that each stage took, and wall-clock seconds."""
    from noria.pipeline.runs.run import run_pending

    paths: dict[str, str] = {}

    def listen(record: dict[str, Any]) -> None:
        if record["event"] == "end" and "path" in record:
            paths[record["stage"]] = record["path"]

    started = time.perf_counter()
    [made] = run_pending(config, limit=1, on_event=listen, **how)
    return made, paths, time.perf_counter() - started


def plot(result: dict[str, Any], path: Path) -> None:
    """Seconds of each stage over its rows, with the line."""
    pyplot = measure.pyplot()
    figure, axes = pyplot.subplots(1, len(STAGES), figsize=(12, 3.4), layout="constrained")
    for axis, stage in zip(axes, STAGES, strict=True):
        rows = [run["stage_rows"][stage] / 1e6 for run in result["runs"]]
        line = result["fits"][stage]
        axis.plot(rows, [run["stages"][stage] for run in result["runs"]], "o", color="#1f6feb", alpha=0.5)
        ends = [min(rows), max(rows)]
        axis.plot(ends, [line["fixed"] + line["per_million"] * at for at in ends], color="#8a8f98")
        axis.set_title(f"{stage}\n{line['per_million']:.1f} s a million rows", loc="left")
        axis.set_ylim(0, axis.dataLim.y1 * 1.1)
        axis.grid(alpha=0.3)
        axis.set_xlabel("million rows")
    axes[0].set_ylabel("seconds")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--rows", help="sizes, with commas between (default: 250000,500000,1000000)")
    parser.add_argument("--repeats", type=int, help="runs of each size (default: 5)")
    options = measure.options(parser, argv)
    sizes = options.size([250_000, 500_000, 1_000_000], [2_000, 4_000])
    repeats = options.size(5, 1) if options.given.repeats is None else options.given.repeats
    if options.given.rows:
        sizes = sorted({int(size) for size in options.given.rows.split(",")})
    if len(sizes) < 2 or repeats < 1:
        parser.error("a line takes two sizes at least, and one run of each")
    machine = options.machine()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trainer = {"steps": options.size(100, 5), "early_stop": None}
        # Half of the rows to judge by: of a fifth the Evaluator's constant part would be most of what is measured.
        config = synthetic.project(folder, trainer=trainer, eval_share=0.5)
        synthetic.commit(config.home_path, 1, CHAMPION_ROWS)
        record(config)
        shutil.copytree(config.home_path, folder / "before", symlinks=True)
        for size in sizes * repeats:
            contest.restore(config.home_path, folder / "before")
            synthetic.commit(config.home_path, 2, size)
            made, paths, wall = record(config, cold=True)
            rows = {stage: size for stage in STAGES} | {"Evaluator": round(size * config.eval_share)}
            runs.append(
                {"rows": size, "stage_rows": rows, "stages": made.seconds, "paths": paths, "wall": wall}
            )
            print(f"{size:,} rows: {wall:.1f} s", flush=True)
    fits = {}
    for stage in STAGES:
        rows = [next(run["stage_rows"][stage] for run in runs if run["rows"] == size) for size in sizes]
        seconds = [median(runs, size, stage) for size in sizes]
        fits[stage] = {**fit(rows, seconds), "between": straight(rows, seconds), "medians": seconds}
    result = {"columns": synthetic.COLUMNS, "sizes": sizes, "repeats": repeats, "runs": runs, "fits": fits}
    options.save("scale", result, machine)
    plot(result, options.out / "scale.png")
    measure.show(
        "Seconds per million rows",
        ["stage", "per million", "fixed", *(f"{size:,}" for size in sizes)],
        [(stage, line["per_million"], line["fixed"], *line["medians"]) for stage, line in fits.items()],
    )


if __name__ == "__main__":
    main()
