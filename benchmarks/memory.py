"""Peak resident memory of each stage, on spans far larger than a batch.

    python -m benchmarks.memory [--rows 1000000,5000000] [--modes warm] [--quick]

For each size a new process runs on synthetic spans of 40 columns (`benchmarks.synthetic`): a small one for a
champion, then one for each mode. This process reads its resident memory, and that of the processes it starts (the
infra validation, Beam's workers), from /proc, Linux only. Stated is what each stage held above the process
after importing TensorFlow. Several sizes show whether it grows with the rows. Writes memory.json and .png. 200,000 rows
take a minute or two; 5 million take a quarter of an hour and 10 GB on disk (TMPDIR).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure, synthetic

CHAMPION_ROWS = 10_000
EVERY = 0.02  # seconds between two readings: a stage takes many times that
AROUND = "around the stages"
PEAKS = ("above_mib", "total_mib")
GOAL_MIB = 2048  # above TensorFlow's own
MARK = "noria-mark "  # what the child prints is among what its libraries print


def work(folder: str, modes: list[str]) -> None:
    """The child: runs on what is in the store, a span for each mode, and prints a JSON line at each mark."""

    def mark(**facts: Any) -> None:
        now = {"at": time.time(), "processor": time.process_time()}
        print(MARK + json.dumps({**now, **facts}), flush=True)

    import tensorflow as tf

    assert tf.keras.Model  # imported at its first use
    mark(stage="baseline")
    from noria.components.keras3 import ensure_keras3

    ensure_keras3()
    import noria.pipeline.runners.beam  # noqa: F401
    from noria.pipeline.config import load
    from noria.pipeline.runs.run import run_pending

    mark(stage="imported")
    config = load(Path(folder))
    for mode in modes:
        mark(stage=AROUND, mode=mode)

        def listen(record: dict[str, Any], mode: str = mode) -> None:
            if record["event"] == "start" and record["stage"] not in ("Run", "Ingest"):
                mark(stage=record["stage"], mode=mode)
            elif record["event"] == "end" and record["stage"] not in ("Run", "Ingest"):
                mark(stage=AROUND, mode=mode, path={record["stage"]: record.get("path")})

        [record] = run_pending(config, limit=1, cold=mode == "cold", on_event=listen)
        assert record.data_verdict != "broken" and record.mode == ("warm" if mode == "warm" else "cold"), (
            record
        )
    mark(stage="end")


def command(folder: Path, modes: list[str]) -> list[str]:
    """What starts the child."""
    return [sys.executable, "-c", f"from benchmarks.memory import work; work({str(folder)!r}, {modes!r})"]


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found, waiting = [], [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                below = [int(child) for child in task.read_text().split()]
            except OSError:
                continue
            found += below
            waiting += below
    return found


def watch(command: list[str], log: Path) -> tuple[list[dict[str, Any]], list[tuple[float, int, int]]]:
    """Runs the child.

    Returns:
      Its marks, and readings: seconds since 1970, bytes of the process, bytes of it and of all that it started.
    """
    readings = []
    with log.open("w+") as out, log.open() as told:
        process = subprocess.Popen(command, cwd=measure.ROOT, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for line in told:  # to see where it is
                if MARK in line and line.endswith("\n"):
                    fact = json.loads(line.split(MARK, 1)[1])
                    if fact["stage"] != AROUND:
                        print(
                            f"  {time.strftime('%H:%M:%S')} {fact.get('mode', '')} {fact['stage']}",
                            flush=True,
                        )
            held = measure.resident(process.pid)
            if held is not None:
                below = descendants(process.pid)
                # Infra validation forks: what it shares with the process must not count twice.
                both = sum(measure.proportional(pid) or 0 for pid in (process.pid, *below)) if below else 0
                readings.append((time.time(), held, max(held, both)))
            time.sleep(EVERY)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise SystemExit(f"the measured process failed:\n{text[-4000:]}")
    marks = [json.loads(line.split(MARK, 1)[1]) for line in text.splitlines() if MARK in line]
    return marks, readings


def peaks(
    marks: list[dict[str, Any]], readings: list[tuple[float, int, int]], modes: list[str]
) -> dict[str, Any]:
    """Baseline and the peaks by mode and stage, in MiB.

    `above_mib` is of the process, `total_mib` of it and of what it started at one instant, both above the process after
    importing TensorFlow.
    """
    ends = [mark["at"] for mark in marks[1:]] + [readings[-1][0]]

    def between(begin: float, end: float) -> list[tuple[float, int, int]]:
        inside = [reading for reading in readings if begin <= reading[0] < end]
        # A stage shorter than the interval: the readings around it.
        return inside or [min(readings, key=lambda reading: abs(reading[0] - begin))]

    def mib(value: float) -> float:
        return round(value / 2**20, 1)

    baseline = between(marks[0]["at"], marks[0]["at"] + 2 * EVERY)[0][1]
    imported = between(marks[1]["at"], marks[1]["at"] + 2 * EVERY)[0][1]
    runs = []
    for mode in modes:
        stages: dict[str, dict[str, Any]] = {}
        for mark, after, end in zip(marks, [*marks[1:], marks[-1]], ends, strict=True):
            if mark.get("mode") != mode:
                continue
            inside = between(mark["at"], end)
            stage = stages.setdefault(mark["stage"], dict.fromkeys((*PEAKS, "seconds", "processor"), 0.0))
            for at, name in enumerate(PEAKS, start=1):
                stage[name] = max(stage[name], mib(max(row[at] for row in inside) - baseline))
            stage["seconds"] += end - mark["at"]
            stage["processor"] += after["processor"] - mark["processor"]
            for name, path in mark.get("path", {}).items():
                stages[name]["path"] = path
        highest = {name: max(stage[name] for stage in stages.values()) for name in PEAKS}
        runs.append({"mode": mode, **highest, "stages": stages})
    return {"baseline_mib": mib(baseline), "imported_mib": mib(imported), "runs": runs}


Watched = tuple[list[dict[str, Any]], list[tuple[float, int, int]]]


def plot(watched: list[Watched], sizes: list[dict[str, Any]], path: Path) -> None:
    """Memory over time, a size below the other, with the stages that take long."""
    pyplot = measure.pyplot()
    figure, axes = pyplot.subplots(
        len(sizes), 1, figsize=(11, 4.2 * len(sizes)), layout="constrained", sharey=True
    )
    for axis, (marks, readings), size in zip(axes if len(sizes) > 1 else [axes], watched, sizes, strict=True):
        zero = marks[0]["at"]
        thinned = readings[:: max(1, len(readings) // 4000)]
        seconds = [reading[0] - zero for reading in thinned]
        held = [row[1] / 2**20 for row in thinned]
        both = [row[2] / 2**20 for row in thinned]
        axis.plot(seconds, both, color="#8a8f98", lw=1, label="with what it started")
        axis.plot(seconds, held, color="#1f6feb", lw=1, label="the process")
        base = size["baseline_mib"]
        axis.axhline(base, color="#57606a", ls=":", label="after importing TensorFlow")
        axis.axhline(base + GOAL_MIB, color="#d1242f", ls=":", label=f"goal: {GOAL_MIB:,} MiB above that")
        whole = seconds[-1]
        for mark, following in zip(marks, marks[1:], strict=False):
            begin, end = mark["at"] - zero, following["at"] - zero
            if mark["stage"] != AROUND and end - begin > whole / 50:
                axis.axvspan(begin, end, color="#1f6feb", alpha=0.06)
                axis.text(begin, 0, f" {mark['stage']}", rotation=90, va="bottom", fontsize=8)
        axis.set_title(f"spans of {size['rows']:,} rows", loc="left")
        axis.set_ylabel("resident MiB")
        axis.set_ylim(bottom=0)
    axis.set_xlabel("seconds")
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, loc="outside upper right", ncols=4)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def record(rows: int, modes: list[str], steps: int) -> tuple[dict[str, Any], Watched]:
    """One size: its peaks, and what was watched."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = synthetic.project(folder, trainer={"steps": steps, "early_stop": None})
        started = time.monotonic()
        for span, count in enumerate([CHAMPION_ROWS, *[rows] * len(modes)], start=1):
            synthetic.commit(config.home_path, span, count)
        print(f"{len(modes)} spans of {rows:,} rows written, {time.monotonic() - started:.0f} s", flush=True)
        watched = watch(command(config.folder, ["champion", *modes]), folder / "child.log")
    return {"rows": rows, **peaks(*watched, modes)}, watched


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--rows", help="of a span, with commas between sizes (default: 1000000,5000000)")
    parser.add_argument("--modes", help="cold, warm or both, in this order (default: warm)")
    options = measure.options(parser, argv)
    given = options.given.rows or options.size("1000000,5000000", "2000")
    modes = (options.given.modes or "warm").split(",")
    if not modes or set(modes) - {"cold", "warm"}:
        parser.error(f"--modes must be of cold and warm, got {options.given.modes!r}")
    try:
        rows = [int(size) for size in given.split(",")]
    except ValueError:
        parser.error(f"--rows must be whole numbers with commas between, got {given!r}")
    machine = options.machine()
    sizes, watched = zip(*(record(size, modes, options.size(300, 5)) for size in rows), strict=True)
    result = {
        "columns": synthetic.COLUMNS,
        "every_ms": round(EVERY * 1000),
        "goal_mib": GOAL_MIB,
        "shared_pages": "once",
        "sizes": sizes,
    }
    options.save("memory", result, machine)
    plot(list(watched), list(sizes), options.out / "memory.png")
    for size in sizes:
        for run in size["runs"]:
            measure.show(
                f"{run['mode']}, {size['rows']:,} rows: MiB above the {size['baseline_mib']:,.0f} after importing "
                "TensorFlow",
                ["stage", "the process", "with what it started", "seconds", "path"],
                [
                    (name, *(stage[peak] for peak in PEAKS), stage["seconds"], stage.get("path") or "")
                    for name, stage in run["stages"].items()
                ],
            )


if __name__ == "__main__":
    main()
