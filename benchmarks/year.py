"""The whole wheel over the year's flights with the example's own settings: which verdicts, and what is published.

    python -m benchmarks.year [--weeks 53] [--fault-weeks 10,26,44] [--quick]

Turns the wheel on the flights of 2013, week by week. Before each of the fault weeks, every injected fault of
`benchmarks/faults.py` is turned on in a copy of the project as it stood then: none may end in production. Writes
year.json: a record per turn.
"""

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import gates, measure
from benchmarks.faults import Fault
from benchmarks.gates import commit, link_tree, weeks
from noria.pipeline.config import Config
from noria.pipeline.runs.run import turn_all
from noria.stores.registry import Registry, Turn
from noria.stores.spans import SpanStore

KEPT = ("span", "data_verdict", "model_verdict", "mode", "version", "metrics", "reasons", "seconds")


def run(
    config: Config, count: int, fault_weeks: list[int], injected: Sequence[Fault], tell=print
) -> dict[str, Any]:
    """The year and the faults; see the module."""
    tables = weeks()[:count]
    turns, faults = [], []
    for span, table in enumerate(tables, start=1):
        if span in fault_weeks:
            for fault in injected:
                spoilt = config.moved_to(config.folder / "spoilt")
                shutil.rmtree(spoilt.home_path, ignore_errors=True)
                for part in ("spans", "statistics", "registry", "models", "analyzer_cache"):
                    link_tree(config.home_path / part, spoilt.home_path / part)
                champion = Registry(spoilt.home_path).champion()
                commit(SpanStore(spoilt.home_path), span, fault.inject(table, tables[span - 2]))
                for turn in turn_all(spoilt):
                    serving = Registry(spoilt.home_path).champion()
                    published = (serving and serving.version) != (champion and champion.version)
                    faults.append(_record(turn) | {"fault": fault.name, "published": published})
                    tell(f"{span:2d}  {fault.name:32s} {turn.data_verdict:8s} {turn.model_verdict}")
        commit(SpanStore(config.home_path), span, table)
        for turn in turn_all(config):
            turns.append(_record(turn) | {"transform": _transform(config, turn)})
            tell(f"{turn.span:2d}  {turn.mode or '':32s} {turn.data_verdict:8s} {turn.model_verdict}")
    return {"turns": turns, "faults": faults}


def _record(turn: Turn) -> dict[str, Any]:
    record = dataclasses.asdict(turn)
    return {name: record[name] for name in KEPT}


def _transform(config: Config, turn: Turn) -> str | None:
    """Whether a turn reused the transform graph or refreshed it, as its journal says."""
    journal = config.home_path / "runs" / turn.run_id / "journal.jsonl"
    records = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    said = [record["transform"] for record in records if record["event"] == "end" and "transform" in record]
    return said[-1] if said else None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where an ordinary week is broken, or a fault was published."""
    options = measure.options(gates.parser(__doc__), argv)
    machine = options.machine()
    settings = measure.flights()
    settings["trainer"] |= options.size({}, {"steps": 5, "early_stop": None})
    with tempfile.TemporaryDirectory() as folder:
        config = measure.project(Path(folder), settings)
        result = run(config, *gates.chosen(options), lambda line: print(line, flush=True))
    options.save("year", result, machine)
    broken = [turn["span"] for turn in result["turns"] if turn["data_verdict"] == "broken"]
    published = [fault["fault"] for fault in result["faults"] if fault["published"]]
    print(
        f"{len(result['turns'])} turns, broken: {broken}; {len(result['faults'])} faults, published: {published}"
    )
    return 1 if broken or published else 0


if __name__ == "__main__":
    sys.exit(main())
