"""The whole pipeline over the year's flights with the example's own settings: which verdicts, and what is published.

    python -m benchmarks.year [--weeks 53] [--fault-weeks 10,26,44] [--quick]

Runs the pipeline on the flights of 2013, week by week. Before each of the fault weeks, every injected fault of
`tests/helpers/flight_faults.py` gets a run in a copy of the project of that time: none may end in production. Writes
year.json: a record per run.
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
from noria.pipeline.config import Config
from noria.pipeline.runs.run import run_pending
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from tests.helpers.flight_faults import Fault
from tests.helpers.gate_run import commit, link_tree, weeks

KEPT = ("span", "data_verdict", "model_verdict", "mode", "version", "metrics", "reasons", "seconds")


def run(
    config: Config, count: int, fault_weeks: list[int], injected: Sequence[Fault], tell=print
) -> dict[str, Any]:
    """The year and the faults; see the module."""
    tables = weeks()[:count]
    records, faults = [], []
    for span, table in enumerate(tables, start=1):
        if span in fault_weeks:
            for fault in injected:
                spoilt = config.moved_to(config.folder / "spoilt")
                shutil.rmtree(spoilt.home_path, ignore_errors=True)
                for part in ("spans", "statistics", "registry", "models", "analyzer_cache"):
                    link_tree(config.home_path / part, spoilt.home_path / part)
                champion = Registry(spoilt.home_path).champion()
                commit(SpanStore(spoilt.home_path), span, fault.inject(table, tables[span - 2]))
                for record in run_pending(spoilt):
                    serving = Registry(spoilt.home_path).champion()
                    published = (serving and serving.version) != (champion and champion.version)
                    faults.append(_record(record) | {"fault": fault.name, "published": published})
                    tell(f"{span:2d}  {fault.name:32s} {record.data_verdict:8s} {record.model_verdict}")
        commit(SpanStore(config.home_path), span, table)
        for record in run_pending(config):
            records.append(_record(record) | {"transform": _transform(config, record)})
            tell(f"{record.span:2d}  {record.mode or '':32s} {record.data_verdict:8s} {record.model_verdict}")
    return {"runs": records, "faults": faults}


def _record(record: RunRecord) -> dict[str, Any]:
    record = dataclasses.asdict(record)
    return {name: record[name] for name in KEPT}


def _transform(config: Config, record: RunRecord) -> str | None:
    """Whether a run reused the transform graph or refreshed it, as its journal says."""
    journal = config.home_path / "runs" / record.run_id / "journal.jsonl"
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
    broken = [record["span"] for record in result["runs"] if record["data_verdict"] == "broken"]
    published = [fault["fault"] for fault in result["faults"] if fault["published"]]
    print(
        f"{len(result['runs'])} runs, broken: {broken}; {len(result['faults'])} faults, published: {published}"
    )
    return 1 if broken or published else 0


if __name__ == "__main__":
    sys.exit(main())
