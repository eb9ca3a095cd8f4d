"""What the product makes of a stream: `noria init`, then a run for each span; each is predicted before it is learnt."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import drafted
from benchmarks import drift_streams as streams

FIRST = 2  # spans of the first, cold run


def project(folder: Path, stream: streams.Stream) -> Any:
    """What `noria init` drafts from the stream, with spans of SPAN rows; its config."""
    return drafted.project(
        folder,
        stream.name,
        pa.Table.from_pandas(stream.table, preserve_index=False),
        "label",
        time="time",
        task=stream.task,
        span={"every": f"rows:{stream.span}"},
        window={"first": FIRST},
    )


def follow(config: Any, spans: Sequence[pa.Table]) -> Iterator[tuple[int, dict[str, Any], np.ndarray | None]]:
    """Runs span by span; for each upcoming span its index, the run's record, and the champion's scores of it.

    Args:
      config: the project's.
      spans: their rows, without the label, in the types that the project reads.
    """
    from noria.pipeline.runs.run import run_pending
    from noria.stores.registry import Registry

    trained = 0
    for upcoming in range(config.window.first, len(spans)):
        run, began = None, time.perf_counter()
        try:
            [run] = run_pending(config, limit=1)
            record: dict[str, Any] = {"mode": run.mode, "data": run.data_verdict, "model": run.model_verdict}
            record |= {"reasons": [reason[:160] for reason in run.reasons][:4], "alarms": list(run.alarms)}
        except Exception as error:  # a run that fails leaves the champion: that is measured, too
            record = {"failure": f"{type(error).__name__}: {error}"[:300]}
        record["seconds"] = round(time.perf_counter() - began, 2)
        registry = Registry(config.home_path)
        newest = max(registry.versions(), key=lambda version: version.version, default=None)
        if newest is not None and run is not None and newest.run_id == run.run_id:
            report = json.loads((newest.payload_path / "warm_start.json").read_text())
            trained += report["examples_trained"]
            record["rescue"] = report.get("rescue", {}).get("chosen")
            record["fresh_inputs"] = list(report.get("fresh_inputs") or ())
        champion = registry.champion()
        record["examples"] = trained
        if champion is None:
            yield upcoming, record, None
            continue
        record["version"] = champion.version
        yield upcoming, record, drafted.scores(champion.model_dir, spans[upcoming])
