"""The time and the memory of reading a large CSV file: `noria init`, ingestion, and Arrow alone.

    python -m benchmarks.reading [--megabytes 1000] [--runs 1] [--quick]

A file of that size and one of a tenth are made: 12 columns of numbers, texts, times and gaps. Each reading runs in a
separate process, which is asked for its seconds, without imports, and for its largest memory. `arrow` reads the file
with pyarrow.csv in one thread and converts it with all kinds known, so it is the least that a reading with Arrow takes.
`init` is what `noria init` does before it infers the schema, `ingest` brings the file into a span store, in spans of a
day. Writes reading.json.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from benchmarks import measure

BATCH = 200_000
LABEL, TIME = "tip", "at"


def make(path: Path, megabytes: int) -> int:
    """Writes a file of this many megabytes, ordered by time; returns its rows."""
    rng = np.random.default_rng(1)
    zones = np.array([f"Zone {i}, Köln" if i % 7 else f"Zone {i}" for i in range(200)])
    rows, begin, batch = 0, 1_704_067_200, min(BATCH, 5_000 * megabytes)
    with path.open("wb") as file:
        while file.tell() < megabytes * 1_000_000:
            fare = rng.gamma(2, 8, batch).round(2)
            seconds = begin + (rows + np.arange(batch)) // 3
            columns: dict[str, Any] = {
                "id": rows + np.arange(batch),
                TIME: pa.array(seconds).cast(pa.timestamp("s")),
                "fare": pa.array(fare, mask=rng.random(batch) < 0.02),
                "miles": rng.gamma(2, 2, batch).round(3),
                "seats": rng.integers(1, 7, batch),
                "zone": zones[rng.integers(0, 200, batch)],
                "to": zones[rng.integers(0, 200, batch)],
                "code": pa.array(rng.integers(0, 99, batch)).cast(pa.string()),
                "paid": pa.array(rng.random(batch) < 0.9),
                "x": rng.normal(size=batch),
                "y": rng.normal(size=batch),
                LABEL: (fare + rng.normal(0, 5, batch) > 16).astype(int),
            }
            table = pa.table(columns)
            pa_csv.write_csv(table, file, pa_csv.WriteOptions(include_header=rows == 0))
            rows += batch
    return rows


def arrow(path: Path, folder: Path) -> int:
    """Reads the file with Arrow alone; returns the rows."""
    kinds = {
        "id": pa.int64(),
        TIME: pa.timestamp("s"),
        "seats": pa.int64(),
        "paid": pa.bool_(),
        LABEL: pa.int64(),
    }
    kinds |= dict.fromkeys(("fare", "miles", "x", "y"), pa.float64())
    kinds |= dict.fromkeys(("zone", "to", "code"), pa.string())
    read = pa_csv.ReadOptions(use_threads=False, block_size=8 << 20)
    convert = pa_csv.ConvertOptions(column_types=kinds)
    return sum(batch.num_rows for batch in pa_csv.open_csv(path, read, convert_options=convert))


def init(path: Path, folder: Path) -> int:
    """Reads the file as `noria init` does; returns the rows that it looked at."""
    from noria.ingestion import tables
    from noria.pipeline.init import flat, inference, time_formats
    from noria.pipeline.init.draft import ROWS

    source = tables.open_tables(path)
    left_out = flat.unreadable(source)
    missing = tuple(flat.marks(source, source[0].columns, {}))
    flat.declare_missing(source, missing)
    kinds = tables.columns_of(source, wanted=[name for name in source[0].columns if name not in left_out])
    table = tables.read_table(source, limit=ROWS, columns=kinds, missing=missing)
    inference.label(table.column(LABEL), LABEL, None, False)
    seconds, _ = time_formats.event_times(table.column(TIME), TIME)
    inference.span_length(seconds, len(table))
    inference.columns(table, LABEL, TIME, [], [])
    return sum(profile.present for profile in [source[0].profiles["id"]])


def ingest(path: Path, folder: Path) -> int:
    """Brings the file into a span store; returns the rows."""
    from noria.ingestion.events import EventSettings
    from noria.ingestion.ingest import ingest
    from noria.stores.spans import SpanStore

    settings = EventSettings(LABEL, "binary", time=TIME, every="day")
    return ingest(path, settings, SpanStore(folder / "home")).rows


READINGS: dict[str, Callable[[Path, Path], int]] = {"arrow": arrow, "init": init, "ingest": ingest}


def measured(reading: str, path: Path) -> dict[str, float]:
    """Seconds, peak MiB and rows of one reading, in a separate process."""
    command = [sys.executable, "-m", "benchmarks.reading", "--reading", reading, "--file", str(path)]
    done = subprocess.run(command, cwd=measure.ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(reading: str, path: Path) -> None:
    """Runs a reading here and prints what it took."""
    import noria.ingestion.ingest
    import noria.pipeline.init.draft  # noqa: F401  # imports are not counted

    pc.sum(pa.array([1]))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, processor = time.perf_counter(), time.process_time()
        rows = READINGS[reading](path, Path(folder))
        facts = {"seconds": time.perf_counter() - started, "processor": time.process_time() - processor}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**facts, "mib": peak / 1024, "mib_before": before / 1024, "rows": rows}))


def main(argv: Sequence[str] | None = None) -> int:
    """Always 0: the figures are for people."""
    parser = measure.parser(__doc__)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=1, help="of each reading; the median counts")
    parser.add_argument("--reading", choices=READINGS, help="run one reading of --file in this process")
    parser.add_argument("--file", type=Path)
    options = measure.options(parser, argv)
    if options.given.reading is not None:
        child(options.given.reading, options.given.file)
        return 0
    machine, results = options.machine(), []
    largest = options.size(options.given.megabytes, 2)
    with tempfile.TemporaryDirectory(prefix="noria-reading-") as folder:
        for megabytes in (max(1, largest // 10), largest):
            path = Path(folder) / f"{megabytes}.csv"
            rows = make(path, megabytes)
            for reading in READINGS:
                runs = [measured(reading, path) for _ in range(options.given.runs)]
                results.append(
                    {"reading": reading, "megabytes": path.stat().st_size / 1e6, **measure.median(runs)}
                )
                assert rows == results[-1]["rows"], results[-1]
            path.unlink()
    columns = ["reading", "megabytes", "rows", "seconds", "processor", "mib_before", "mib"]
    measure.show("reading", columns, [[result[name] for name in columns] for result in results])
    options.save("reading", {"results": results}, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
