"""The compiled pipeline on a model of Kubeflow Pipelines, task by task, against the same spans under Beam.

The model's release is the coming one, the strictest: a declared output that is missing fails the task.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from noria.pipeline.config import load
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from tests.helpers import ROOT
from tests.helpers.project import Project, flights_project

from .kubeflow_backend import pod_user
from .kubeflow_backend.backend import OMITTED, SKIPPED, SUCCEEDED, Backend, Run
from .kubeflow_backend.release import NEXT
from .small import small_project

# Three runs of a dozen processes: minutes on an idle machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

AFTER_THE_GATE = {"Transform", "Trainer", "Evaluator", "Pusher", "Report"}
BEFORE_THE_GATE = {"Ingest", "ChampionResolver", "SpanExampleGen", "SchemaGen", "StatisticsGen", "DataGate"}


def project(folder: Path, home: Path, **changes: Any) -> Project:
    """Four weeks of flights: the second makes the first run, the fourth has lost its carriers."""
    folder.mkdir()
    home.mkdir()
    made = small_project(folder, **changes)
    shutil.copy(ROOT / "examples" / "flights" / "schema.pbtxt", folder / "schema.pbtxt")
    table = pq.read_table(folder / "flights.parquet")
    late = pc.greater_equal(table["time_hour"], pc.min(table["time_hour"]).as_py() + 20 * 86400)
    lost = table.set_column(
        table.column_names.index("carrier"), "carrier", pa.nulls(len(table), table["carrier"].type)
    )
    weeks = pa.concat_tables([table.filter(pc.invert(late)), lost.filter(late)])
    pq.write_table(weeks, folder / "flights.parquet")
    made.edit(
        schema="schema.pbtxt",
        home=str(home / "home"),
        kubeflow={
            "project": str(folder),
            "home": str(home / "home"),
            "volume": {"claim": "noria", "mount": str(home)},
            "secrets": [{"name": "store", "env": {"key": "STORE_KEY"}}],
            "pipeline_root": "s3://bucket/noria",
            "per_task": {"Trainer": {"retries": 1, "memory": "2Gi", "cpu": "500m"}},
        },
    )
    return made


class Ways:
    """Both ways: four runs of the package, and `noria run` on the same events."""

    def __init__(self, folder: Path):
        beam = project(folder / "beam", folder / "beam-home")
        running = subprocess.Popen(
            beam.command("run", "--json"),
            cwd=beam.folder,
            env=beam.env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.kubeflow = project(folder / "kubeflow", folder / "volume")
            package = self.kubeflow.folder / "pipeline.yaml"
            self.compiled = self.kubeflow.json("compile", "--output", str(package))
            self.backend = Backend(
                folder / "buckets",
                {"noria": folder / "volume"},
                {"store": {"key": "k"}},
                NEXT,
                image=[folder / "kubeflow"] if pod_user.possible() else None,
            )
            # The first run's tasks are new processes, as on a cluster; the later ones save the imports.
            self.runs = [self.run(package, forked=number > 0) for number in range(4)]
        finally:
            _, said = running.communicate(timeout=1800)
        assert 3 == running.returncode, said[-4000:]  # a broken span: look at it
        self.homes = {"beam": folder / "beam-home" / "home", "kubeflow": folder / "volume" / "home"}

    def run(self, package: Path, forked: bool) -> Run:
        """One run of the package, whose log is shown where it fails."""
        done = self.backend.run(package, forked=forked)
        failed = {name: done.logs.get(name, "")[-4000:] for name in done.named("Failed")}
        assert "SUCCEEDED" == done.state, failed
        return done

    def records(self, how: str) -> list[Any]:
        """The runs of `beam` or `kubeflow`, oldest first."""
        return Registry(self.homes[how]).runs()


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Ways:
    """Everything that the tests look at."""
    return Ways(tmp_path_factory.mktemp("ways"))


def test_cold_then_warm(ways: Ways) -> None:
    """The first run trains from nothing, the second continues from its champion; every node but one runs."""
    for run, champion in zip(ways.runs[:2], ("absent", "present"), strict=True):
        assert BEFORE_THE_GATE | AFTER_THE_GATE | {"End"} == run.named(SUCCEEDED)
        assert {"ReportBroken", "ReportAlarm"} == run.named(SKIPPED)
        assert champion == run.outputs["ChampionResolver"]["champion"]["metadata"]["state"]
    assert ["cold", "warm"] == [record.mode for record in ways.records("kubeflow")[:2]]


def test_broken_span_skips_what_follows(ways: Ways) -> None:
    """A broken span: nothing after the gate runs, the span is in quarantine, the run has its report."""
    run = ways.runs[2]
    assert BEFORE_THE_GATE | {"ReportBroken", "End"} == run.named(SUCCEEDED)
    assert AFTER_THE_GATE | {"ReportAlarm"} == run.named(SKIPPED) | run.named(OMITTED)
    record = ways.records("kubeflow")[2]
    assert ("broken", "skipped") == (record.data_verdict, record.model_verdict)
    assert record.span in SpanStore(ways.homes["kubeflow"]).quarantined()


def test_nothing_new_is_no_failure(ways: Ways) -> None:
    """Where no span waits, the run succeeds after one task, and records nothing."""
    run = ways.runs[3]
    assert {"Ingest", "End"} == run.named(SUCCEEDED)
    assert "nothing" == run.outputs["Ingest"]["ingested"]["metadata"]["state"]
    assert 3 == len(ways.records("kubeflow"))


def test_same_registry_as_under_beam(ways: Ways) -> None:
    """Same spans, same code: versions, states, verdicts, lineage and metrics (1e-6) are those of `noria run`."""
    ours, theirs = ways.records("kubeflow"), ways.records("beam")
    facts = ("span", "data_verdict", "model_verdict", "mode", "version", "reasons", "rows")
    assert [[getattr(record, name) for name in facts] for record in theirs] == [
        [getattr(record, name) for name in facts] for record in ours
    ]
    for mine, other in zip(ours, theirs, strict=True):
        assert close(other.metrics, mine.metrics)
    versions = {how: Registry(home).versions() for how, home in ways.homes.items()}
    lineage = ("version", "state", "mode", "parent", "span", "spans", "transform", "code_digest", "rows")
    assert [[getattr(version, name) for name in lineage] for version in versions["beam"]] == [
        [getattr(version, name) for name in lineage] for version in versions["kubeflow"]
    ]
    champions = {how: Registry(home).champion() for how, home in ways.homes.items()}
    assert champions["beam"].version == champions["kubeflow"].version
    assert Path(champions["kubeflow"].model_dir, "saved_model.pb").exists()


def test_status_and_report_work_on_the_volume(ways: Ways, tmp_path: Path) -> None:
    """`noria status` and `noria report` read what the tasks left: stages with their seconds, and a page per run.

    The volume is mounted elsewhere here: what the tasks wrote down as paths of theirs is found all the same.
    """
    mounted = tmp_path / "mounted"
    mounted.symlink_to(ways.homes["kubeflow"].parent)
    settings = yaml.safe_load((ways.kubeflow.folder / "noria.yaml").read_text())
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump({**settings, "home": str(mounted / "home")}))
    status = Project(tmp_path).json("status")
    assert [] == status["pending"]
    for record in status["runs"]:
        assert {"Ingest", "SpanExampleGen", "DataGate"} <= set(record["seconds"])
        assert Path(record["report"]).is_relative_to(mounted)
        page = Path(record["report"]).read_text(encoding="utf-8")
        assert record["data_verdict"] in page and record["run_id"] in page
    assert status["runs"][-1]["report"] == Project(tmp_path).json("report")["report"]
    (champion,) = (v for v in status["versions"] if v["version"] == status["champion"])
    assert Path(champion["model_dir"]).is_relative_to(mounted)
    assert Path(champion["model_dir"], "saved_model.pb").exists()
    config = load(ways.kubeflow.folder)
    told = json.loads((config.home_path / "runs" / ways.runs[0].run_id / "run.json").read_text())
    assert told["started"] and told["finished"]


def test_what_the_tasks_were_given(ways: Ways) -> None:
    """The model is as harsh as the backend: no input has a type, and each task is asked for its logs."""
    for run in ways.runs:
        for request in run.requests.values():
            assert "executor-logs" in request["outputs"]["artifacts"]
            for found in request["inputs"]["artifacts"].values():
                assert "" == found["artifacts"][0]["type"]["instanceSchema"]
                assert found["artifacts"][0]["uri"].startswith("s3://bucket/noria/flights/")


def test_old_spans_are_retired(tmp_path: Path) -> None:
    """With `data.keep_spans` the task End retires, as `noria run` does, also where no span waits; Ingest finishes a
    retirement that was killed."""
    volume = tmp_path / "volume"
    home = volume / "home"
    for span in range(1, 14):
        SpanStore(home).create(span, [pa.table({"late": [0, 1]})], source="a")
        Registry(home).record_run(RunRecord(span, f"r{span}", None, "ok", "blessed"))
    Registry(home).record_retiring([1], "killed", "carol", {})
    (tmp_path / "project").mkdir()
    made = flights_project(
        tmp_path / "project",
        data={"keep_spans": 10},
        home=str(home),
        kubeflow={
            "project": str(tmp_path / "project"),
            "home": str(home),
            "volume": {"claim": "noria", "mount": str(volume)},
            "pipeline_root": "s3://bucket/noria",
        },
    )
    made.forked = True
    package = made.folder / "pipeline.yaml"
    made.json("compile", "--output", str(package))
    run = Backend(tmp_path / "buckets", {"noria": volume}, release=NEXT).run(package, forked=True)
    assert {"Ingest", "End"} == run.named(SUCCEEDED), run.logs
    assert "recovered=finished `noria retire`" in run.logs["Ingest"]
    assert "retired=(2, 3)" in run.logs["End"]
    assert {1, 2, 3} == SpanStore(home).retired()
    assert [*range(4, 14)] == SpanStore(home).ids()


def close(expected: Any, actual: Any) -> bool:
    """Equal in shape, and in numbers to 1e-6."""
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(close(expected[key], actual[key]) for key in expected)
    if isinstance(expected, float):
        return actual == pytest.approx(expected, abs=1e-6, nan_ok=True)
    return expected == actual
