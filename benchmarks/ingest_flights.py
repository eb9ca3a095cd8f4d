"""The year's flights, sent to an event log hour by hour: the same spans, rows and models as from a file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import drafted, measure
from noria.pipeline.config import Config
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from tests.helpers import hourly


def flights(folder: Path, weeks: int, runs: int) -> dict[str, Any]:
    """Compares both ways.

    Args:
      folder: an empty folder.
      weeks: how much of the year is sent; 53 is all.
      runs: of the pipeline on each way's spans, the first of them cold; their models score the next week.
    """
    import flight_events

    table = flight_events.table()
    times = table["time_hour"].to_numpy()
    table = table.filter(times < times.min() + weeks * 7 * 86_400)
    settings = measure.flights()
    file = hourly.from_file(folder / "file", table, settings)
    stream = hourly.from_stream(folder / "stream", table, settings, file)
    ways = {"file": hourly.content(file), "stream": hourly.content(stream)}
    assert ways["file"] == ways["stream"], "the same columns, rows, labels and times in each span"
    rows = sum(each[1] for each in ways["file"].values())
    assert rows == len(table)
    row: dict[str, Any] = {"spans": len(ways["file"]), "rows": rows}
    row["sha256"] = hashlib.sha256(repr(ways["file"]).encode()).hexdigest()
    if runs:
        scores = [_scores(config, runs) for config in (file, stream)]
        row |= {"runs": runs, "scored": len(scores[0])}
        row["largest_difference"] = float(np.abs(scores[0] - scores[1]).max())
    print(json.dumps({"flights": row}), flush=True)
    return row


def _scores(config: Config, runs: int) -> np.ndarray:
    """The scores of the week after some runs, by each run's version."""
    from noria.pipeline.runs.run import run_pending

    made = run_pending(config, limit=runs)
    upcoming = SpanStore(config.home_path).table(made[-1].span + 1)
    versions = [Registry(config.home_path).version(run.version) for run in made if run.version is not None]
    assert len(versions) == runs, "each run makes a version"
    return np.concatenate([drafted.scores(str(each.payload_path / "serving"), upcoming) for each in versions])
