"""Peak resident memory of each stage, on spans far larger than a batch.

    python -m benchmarks.memory [--rows 5000000] [--modes cold,warm] [--quick]

A process of its own turns on synthetic spans of 40 columns (`benchmarks.synthetic`): a small one for a champion, one
cold and one warm. This process reads its resident memory, and that of the processes it starts (the probe that loads
the model; Beam's workers), from /proc, Linux only. Stated is what each stage held above the process after importing
TensorFlow. Writes memory.json and .png. 200,000 rows take a minute or two; 5 million take a quarter of an hour and 10
GB on disk (TMPDIR).
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
MARK = "noria-mark "  # what the child prints is among what its libraries print


def work(folder: str, modes: list[str]) -> None:
    """The child: turns on what is in the store, and prints a JSON line at each mark."""

    def mark(**facts: Any) -> None:
        print(MARK + json.dumps({"at": time.time(), **facts}), flush=True)

    import tensorflow as tf

    assert tf.keras.Model  # imported at its first use
    mark(stage="baseline")
    from noria.components.keras_first import ensure_keras3

    ensure_keras3()
    import noria.pipeline.beam  # noqa: F401
    from noria.pipeline.config import load
    from noria.pipeline.wheel import turn_all

    mark(stage="imported")
    config = load(Path(folder))
    for mode in ("champion", *modes):
        mark(stage=AROUND, mode=mode)

        def listen(record: dict[str, Any], mode: str = mode) -> None:
            if record["event"] == "start" and record["stage"] not in ("Turn", "Ingest"):
                mark(stage=record["stage"], mode=mode)
            elif record["event"] == "end" and record["stage"] not in ("Turn", "Ingest"):
                mark(stage=AROUND, mode=mode, path={record["stage"]: record.get("path")})

        [turn] = turn_all(config, limit=1, cold=mode == "cold", on_event=listen)
        assert turn.data_verdict != "broken" and turn.mode == ("warm" if mode == "warm" else "cold"), turn
    mark(stage="end")


def resident(pid: int) -> int | None:
    """A process's resident bytes; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 if "VmRSS:" in status else None


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
      Its marks, and readings: seconds since 1970, bytes of the process, bytes of all that it started.
    """
    readings = []
    with log.open("w+") as out:
        process = subprocess.Popen(command, cwd=measure.ROOT, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            held = resident(process.pid)
            if held is not None:
                below = sum(resident(child) or 0 for child in descendants(process.pid))
                readings.append((time.time(), held, below))
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
    """Baseline and the peaks by mode and stage, in MiB."""
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
        for mark, end in zip(marks, ends, strict=True):
            if mark.get("mode") != mode:
                continue
            inside = between(mark["at"], end)
            stage = stages.setdefault(mark["stage"], {"above_mib": 0.0, "children_mib": 0.0, "seconds": 0.0})
            stage["above_mib"] = max(stage["above_mib"], mib(max(row[1] for row in inside) - baseline))
            stage["children_mib"] = max(stage["children_mib"], mib(max(row[2] for row in inside)))
            stage["seconds"] += end - mark["at"]
            for name, path in mark.get("path", {}).items():
                stages[name]["path"] = path
        above = max(stage["above_mib"] for stage in stages.values())
        runs.append({"mode": mode, "above_mib": above, "stages": stages})
    return {"baseline_mib": mib(baseline), "imported_mib": mib(imported), "runs": runs}


def plot(
    marks: list[dict[str, Any]], readings: list[tuple[float, int, int]], result: dict[str, Any], path: Path
) -> None:
    """Memory over time, with the stages that take long."""
    pyplot = measure.pyplot()
    figure, axis = pyplot.subplots(figsize=(11, 4.5), layout="constrained")
    zero = marks[0]["at"]
    thinned = readings[:: max(1, len(readings) // 4000)]
    seconds = [reading[0] - zero for reading in thinned]
    axis.plot(seconds, [row[1] / 2**20 for row in thinned], color="#1f6feb", lw=1, label="the process")
    axis.plot(seconds, [row[2] / 2**20 for row in thinned], color="#8a8f98", lw=1, label="what it started")
    base = result["baseline_mib"]
    axis.axhline(base, color="#57606a", ls=":", label="after importing TensorFlow")
    axis.axhline(base + 2048, color="#d1242f", ls=":", label="2 GiB above")
    whole = seconds[-1]
    for mark, following in zip(marks, marks[1:], strict=False):
        begin, end = mark["at"] - zero, following["at"] - zero
        if mark["stage"] != AROUND and end - begin > whole / 50:
            axis.axvspan(begin, end, color="#1f6feb", alpha=0.06)
            axis.text(begin, 0, f" {mark['stage']}", rotation=90, va="bottom", fontsize=8)
    axis.set_xlabel("seconds")
    axis.set_ylabel("resident MiB")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--rows", type=int, help="of a span (default: 5,000,000)")
    parser.add_argument("--modes", help="cold, warm or both, in this order (default: cold,warm)")
    options = measure.options(parser, argv)
    rows = options.given.rows or options.size(5_000_000, 5_000)
    modes = (options.given.modes or options.size("cold,warm", "warm")).split(",")
    if not modes or set(modes) - {"cold", "warm"}:
        parser.error(f"--modes must be of cold and warm, got {options.given.modes!r}")
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trainer = {"steps": options.size(300, 5), "early_stop": None}
        config = synthetic.project(folder, trainer=trainer)
        for span, count in enumerate([CHAMPION_ROWS, *[rows] * len(modes)], start=1):
            synthetic.commit(config.home_path, span, count)
        print(f"{len(modes)} spans of {rows:,} rows written", flush=True)
        code = f"from benchmarks.memory import work; work({str(config.folder)!r}, {modes!r})"
        marks, readings = watch([sys.executable, "-c", code], folder / "child.log")
    result = {"rows": rows, "columns": synthetic.COLUMNS, "every_ms": round(EVERY * 1000)}
    result |= peaks(marks, readings, modes)
    options.save("memory", result, machine)
    plot(marks, readings, result, options.out / "memory.png")
    for run in result["runs"]:
        measure.show(
            f"{run['mode']}: MiB above the {result['baseline_mib']:,.0f} after importing TensorFlow",
            ["stage", "peak", "what it started", "seconds", "path"],
            [
                (name, s["above_mib"], s["children_mib"], s["seconds"], s.get("path") or "")
                for name, s in run["stages"].items()
            ],
        )


if __name__ == "__main__":
    main()
