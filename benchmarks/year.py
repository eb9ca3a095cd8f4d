"""The whole wheel over the year's flights with the example's own settings: which verdicts, and what is published.

    python -m benchmarks.year [--weeks 53] [--fault-weeks 10,26,44]

Turns the wheel on the flights of 2013, week by week. Before each of the fault weeks, every injected fault of
`benchmarks/faults.py` is turned on in a copy of the project as it stood then: none may end in production. Writes
benchmarks/results/year.json: a record per turn.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.faults import FAULTS
from benchmarks.gates import commit, link_tree, weeks
from noria.pipeline.config import Config, load
from noria.pipeline.wheel import turn_all
from noria.stores.registry import Registry, Turn
from noria.stores.spans import SpanStore

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
KEPT = ("span", "data_verdict", "model_verdict", "mode", "version", "metrics", "reasons", "seconds")


def project(folder: Path) -> Config:
    """The flights example without its source: the spans are committed here."""
    settings = yaml.safe_load((ROOT / "flights" / "noria.yaml").read_text())
    settings |= {"home": "home", "schema": str(ROOT / "schemas" / "flights.pbtxt"), "data": {}}
    (folder / "noria.yaml").write_text(yaml.safe_dump(settings))
    return load(folder)


def run(folder: Path, count: int, fault_weeks: list[int], tell=print) -> dict[str, Any]:
    """The year and the faults; see the module."""
    config = project(folder)
    tables = weeks()[:count]
    turns, faults = [], []
    for span, table in enumerate(tables, start=1):
        if span in fault_weeks:
            for fault in FAULTS:
                spoilt = config.moved_to(folder / "spoilt")
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
            turns.append(_record(turn))
            tell(f"{turn.span:2d}  {turn.mode or '':32s} {turn.data_verdict:8s} {turn.model_verdict}")
    return {"turns": turns, "faults": faults}


def _record(turn: Turn) -> dict[str, Any]:
    record = dataclasses.asdict(turn)
    return {name: record[name] for name in KEPT}


def main() -> int:
    """Returns 1 where an ordinary week is broken, or a fault was published."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weeks", type=int, default=53)
    parser.add_argument("--fault-weeks", default="10,26,44")
    parser.add_argument("--out", type=Path, default=RESULTS / "year.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fault_weeks = [int(week) for week in options.fault_weeks.split(",") if week]
        result = run(Path(folder), options.weeks, fault_weeks, lambda line: print(line, flush=True))
    options.out.write_text(json.dumps(result, indent=1, default=str) + "\n")
    broken = [turn["span"] for turn in result["turns"] if turn["data_verdict"] == "broken"]
    published = [fault["fault"] for fault in result["faults"] if fault["published"]]
    print(
        f"{len(result['turns'])} turns, broken: {broken}; {len(result['faults'])} faults, published: {published}"
    )
    return 1 if broken or published else 0


if __name__ == "__main__":
    sys.exit(main())
