"""The reader of this checkout beside that of an older commit: the same file, whole commands, in turn.

    python -m benchmarks.reading_before [--commit f30ef40] [--megabytes 124] [--runs 1] [--quick]

`f30ef40` is the last commit before the reader was written again. `init` is the command `noria init`, imports included;
`ingest` brings the file into a span store, in spans of a day, imports included. Each runs in a separate process; the
median of the runs counts. Writes reading_before.json.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import measure, reading

BEFORE = "f30ef40"
# Both find what they need under the names of their commit.
INIT = """
import sys
try:
    from noria.pipeline.cli.app import main
except ImportError:
    from noria.pipeline.cli import main
sys.argv = ["noria", "init", sys.argv[2], "--data", sys.argv[1], "--label", "{label}", "--time", "{time}"]
main()
"""
INGEST = """
import sys
from pathlib import Path
try:  # the old name first: modules that it does not have may be found where Noria is installed
    from noria.streaming.events import EventSettings
    from noria.streaming.ingest import ingest
except ImportError:
    from noria.ingestion.events import EventSettings
    from noria.ingestion.ingest import ingest
from noria.stores.spans import SpanStore
settings = EventSettings("{label}", "binary", time="{time}", every="day")
ingest(Path(sys.argv[1]), settings, SpanStore(Path(sys.argv[2])))
"""
COMMANDS = {
    name: code.format(label=reading.LABEL, time=reading.TIME)
    for name, code in (("init", INIT), ("ingest", INGEST))
}


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of a commit, removed afterwards.

    Raises:
      subprocess.CalledProcessError: there is no such commit, as in a shallow clone.
    """
    git = ["git", "-C", str(measure.ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", str(folder), commit], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True)


def measured(root: Path, code: str, path: Path) -> dict[str, float]:
    """Seconds, processor seconds and peak MiB of a command with the package at `root`."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        Path(scratch, "packages").mkdir()
        Path(scratch, "packages", "noria").symlink_to(root)
        environment = {**os.environ, "PYTHONPATH": str(Path(scratch, "packages"))}
        command = [sys.executable, "-c", code, str(path), str(Path(scratch, "made"))]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=scratch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None, "it is a pipe"
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {said.decode(errors='replace')[-2000:]}")
        return {
            "seconds": time.perf_counter() - started,
            "processor": _processor(used),
            "mib": used.ru_maxrss / 1024,
        }


def _processor(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Always 0: the figures are for people."""
    parser = measure.parser(__doc__)
    parser.add_argument("--commit", default=BEFORE, help=f"to compare with (default: {BEFORE})")
    parser.add_argument("--megabytes", type=int, default=124)
    parser.add_argument("--runs", type=int, default=1, help="of each command; the median counts")
    options = measure.options(parser, argv)
    machine, results = options.machine(), []
    with tempfile.TemporaryDirectory(prefix="noria-reading-") as folder:
        path = Path(folder) / "data.csv"
        reading.make(path, options.size(options.given.megabytes, 1))
        try:
            with checkout(options.given.commit, Path(folder) / "before") as before:
                for name, code in COMMANDS.items():
                    runs = [
                        (measured(before, code, path), measured(measure.ROOT, code, path))
                        for _ in range(options.given.runs)
                    ]
                    for who, of in zip((options.given.commit, "now"), zip(*runs, strict=True), strict=True):
                        results.append({"command": name, "of": who, **measure.median(of)})
        except subprocess.CalledProcessError as error:
            print(
                f"{options.given.commit} is not in this clone: {error.stderr.decode(errors='replace').strip()}"
            )
            return 0
        size = path.stat().st_size / 1e6
    columns = ["command", "of", "seconds", "processor", "mib"]
    measure.show("reading_before", columns, [[result[name] for name in columns] for result in results])
    options.save("reading_before", {"megabytes": size, "results": results}, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
