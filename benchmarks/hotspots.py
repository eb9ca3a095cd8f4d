"""Where a warm run's processor time goes: the costliest functions of each stage.

    python -m benchmarks.hotspots [--name hotspots] [--quick]

The warm run of `benchmarks.warm_run`, twice in one process: the second is profiled. `processor` counts all threads
of this process, TensorFlow's own among them; functions are counted on the Python thread that runs the stage, by its
processor time, so that waiting costs nothing. Writes <name>.json; `--name hotspots_before` keeps the state before a
change, and the page shows both.
"""

import cProfile
import pstats
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contest, measure
from benchmarks.warm_run import months

TOP = 8


class Profiler:
    """Listens to the journal, on the thread that runs the stage, and profiles each stage for itself."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, Any]] = {}
        self._profile: cProfile.Profile | None = None
        self._processor = 0.0

    def __call__(self, record: dict[str, Any]) -> None:
        stage, event = record["stage"], record["event"]
        if stage in ("Run", "Ingest", "Recover"):
            return  # around the stages
        if event == "start":
            self._processor = time.process_time()
            self._profile = cProfile.Profile(time.thread_time)
            self._profile.enable()
        elif event == "end" and self._profile is not None:
            self._profile.disable()
            self.stages[stage] = {
                "seconds": record["seconds"],
                "processor": time.process_time() - self._processor,
                **functions(self._profile),
            }


def functions(profile: cProfile.Profile) -> dict[str, list[dict[str, Any]]]:
    """`own`: the functions with the most own time; `within`: Noria's, with all that they call."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    rows = [(name(where), calls, own, within) for where, (_, calls, own, within, _) in stats.items()]

    def top(rows: list[tuple[str, int, float, float]], column: int) -> list[dict[str, Any]]:
        best = sorted(rows, key=lambda row: -row[column])[:TOP]
        return [{"function": r[0], "calls": r[1], "seconds": round(r[column], 3)} for r in best]

    ours = [row for row in rows if row[0].startswith("noria/") and not row[0].endswith(":Do")]
    return {"own": top(rows, 2), "within": top(ours, 3)}


def name(where: tuple[str, int, str]) -> str:
    """`package/file.py:function` without this machine's folders.

    >>> name(("~", 0, "<built-in method builtins.len>"))
    'len'
    >>> name(("/usr/lib/python3.10/site-packages/pyarrow/table.py", 7, "take"))
    'pyarrow/table.py:take'
    """
    file, _, function = where
    if file == "~":
        plain = function.strip("<>").split(" method ")[-1].split(" at 0x")[0]
        return plain.removeprefix("builtins.").replace("'", "")
    path = Path(file)
    if "site-packages" in path.parts:
        return f"{'/'.join(path.parts[path.parts.index('site-packages') + 1 :])}:{function}"
    if path.is_relative_to(measure.ROOT):
        return f"noria/{path.relative_to(measure.ROOT).as_posix()}:{function}"
    return f"{path.name}:{function}"


def main(argv: Sequence[str] | None = None) -> None:
    """Profiles and prints."""
    from noria.pipeline.runs.run import run_pending

    parser = measure.parser(__doc__)
    parser.add_argument("--name", default="hotspots", help="of the JSON file (default: hotspots)")
    options = measure.options(parser, argv)
    machine = options.machine()
    february, january = (contest.thin(table, options.size(None, 2_000)) for table in months())
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = contest.Noria(Path(scratch), february, january, options.size(300, 10), cold=False)
        pipeline.run()
        contest.restore(pipeline.config.home_path, pipeline.folder / "before")
        profiler = Profiler()
        started, processor = time.perf_counter(), time.process_time()
        run_pending(pipeline.config, on_event=profiler)
        wall, processor = time.perf_counter() - started, time.process_time() - processor
    result = {"rows": len(contest.labelled(january)), "wall": wall, "processor": processor}
    options.save(options.given.name, {**result, "stages": profiler.stages}, machine)
    for stage, found in profiler.stages.items():
        measure.show(
            f"{stage}: {found['seconds']:.2f} s, {found['processor']:.2f} s of processor time",
            ["own time", "calls", "seconds"],
            [(part["function"], part["calls"], float(part["seconds"])) for part in found["own"]],
        )


if __name__ == "__main__":
    main()
