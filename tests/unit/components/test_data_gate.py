"""DataGate's executor on the flights: ordinary weeks pass, each fault is held, broken spans are quarantined."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.types import channel_utils, standard_artifacts

from noria.components.data_gate.component import DataGate
from noria.components.data_gate.executor import collect_evidence
from noria.components.statistics_cache import FILE
from noria.components.statistics_gen.component import StatisticsGen
from noria.components.types import DataVerdict
from noria.core.errors import ConfigError, GateError
from noria.stores.quarantine import unquarantine
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from tests.helpers import gate_run
from tests.helpers.flight_faults import FAULTS

WEEKS, SPOILT = 6, 6


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    """Six weeks judged, and every fault in the sixth."""
    folder = tmp_path_factory.mktemp("gates")
    return gate_run.run(folder, WEEKS, [SPOILT], FAULTS, tell=lambda line: None), folder


@pytest.mark.slow
def test_ordinary_weeks_are_not_broken(year):
    """None of the first weeks of 2013, the partial first one among them, is broken, and most are ok."""
    result, _ = year
    verdicts = [row["verdict"] for row in result["weeks"]]
    assert WEEKS == len(verdicts)
    assert "broken" not in verdicts
    assert verdicts.count("ok") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_held(year, fault):
    """The eight promised faults are broken; their variants at least drifted."""
    result, _ = year
    (row,) = [row for row in result["faults"] if row["fault"] == fault.name]
    assert row["verdict"] in (("broken",) if fault.asked else ("broken", "drifted")), row["reasons"]


@pytest.mark.slow
def test_the_verdict_says_why(year):
    """Drift has reference, bins and threshold; volume and label rate their numbers."""
    _, folder = year
    path = folder / "runs" / f"{WEEKS:08d}" / "verdict" / "data_verdict.json"
    verdict = json.loads(path.read_text(encoding="utf-8"))
    assert {"verdict", "reasons", "span", "anomalies", "drift", "volume", "label_rate"} <= verdict.keys()
    assert {"previous span 5", "champion 5"} == {row["reference"] for row in verdict["drift"]}
    assert {"linf", "js", "kl", "psi"} == {row["measure"] for row in verdict["drift"]}
    temperatures = [row for row in verdict["drift"] if row["feature"] == "temp" and row["measure"] == "psi"]
    assert [None, None] == [row["threshold"] for row in temperatures]
    assert all("deciles" in row["bins"] for row in temperatures)
    assert not {"late", "time_hour"} & {row["feature"] for row in verdict["drift"]}
    assert 1.0 == pytest.approx(verdict["volume"]["ratio"], abs=0.1)
    assert 0.1 < verdict["label_rate"]["rate"] < 0.5


@pytest.mark.slow
def test_broken_spans_are_quarantined_with_a_proposal(year):
    """The last fault left its span in quarantine with the reasons; the schema diff names what changed."""
    result, folder = year
    home = folder / "emptied"
    gate_run.link_tree(folder / "home" / "spans", home / "spans")
    gate_run.link_tree(folder / "home" / "statistics", home / "statistics")
    tables = gate_run.weeks()[: WEEKS + 1]
    fault = next(fault for fault in FAULTS if fault.name == "column emptied")
    gate_run.commit(SpanStore(home), WEEKS + 1, fault.inject(tables[WEEKS], tables[WEEKS - 1]))
    verdict, _ = gate_run.GateRun(home, folder / "emptied-runs").run(WEEKS + 1, None)
    assert "broken" == verdict["verdict"]
    assert {WEEKS + 1} == set(SpanStore(home).quarantined())
    kept = SpanStore(home).quarantined()[WEEKS + 1]["verdict"]
    assert "dest" in kept["reasons"][0]
    page = (folder / "emptied-runs" / f"{WEEKS + 1:08d}" / "verdict" / "schema_diff.md").read_text(
        encoding="utf-8"
    )
    assert "error: `dest`" in page
    assert "nothing was changed" in page
    assert f"noria unquarantine {WEEKS + 1}" in page
    (run,) = Registry(home).runs()
    assert ("broken", 1, tuple(kept["reasons"])) == (run.data_verdict, run.span_version, run.reasons)

    # Taken out for a new look it is broken again; taken out by force it is drifted, and keeps its reasons.
    unquarantine(home, WEEKS + 1, "look again", "ann")
    again, _ = gate_run.GateRun(home, folder / "emptied-again").run(WEEKS + 1, None)
    assert ("broken", None) == (again["verdict"], again["unquarantined"])
    unquarantine(home, WEEKS + 1, "dest is gone for good", "ann", forced=True)
    forced, _ = gate_run.GateRun(home, folder / "emptied-forced").run(WEEKS + 1, None)
    assert ("drifted", "taken out of quarantine by ann: dest is gone for good") == (
        forced["verdict"],
        forced["unquarantined"],
    )
    assert [forced["unquarantined"], *verdict["reasons"]] == forced["reasons"]
    assert {} == SpanStore(home).quarantined()


@pytest.mark.slow
def test_the_first_span_has_no_reference(year):
    """Without a span before and without a champion there is no drift, but there is a verdict."""
    _, folder = year
    verdict = json.loads((folder / "runs" / "00000001" / "verdict" / "data_verdict.json").read_text())
    assert ("ok", []) == (verdict["verdict"], verdict["drift"])


def test_the_version_that_the_statistics_are_of_is_judged(tmp_path):
    """Late rows that came since are not part of the evidence, and would not be quarantined."""
    store = SpanStore(tmp_path / "home")
    for commit in (store.create, store.add_late_rows):
        commit(1, [pa.table({"late": [1, 0]})], source="a", event_time=(5, 9))
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri, statistics.span = str(tmp_path / "statistics"), 1
    (tmp_path / "statistics" / "Split-span").mkdir(parents=True)
    found = statistics_pb2.DatasetFeatureStatisticsList()
    found.datasets.add(num_examples=2)
    (tmp_path / "statistics" / "Split-span" / FILE).write_bytes(found.SerializeToString())
    context = {"label": "late", "task": "binary", "time": "", "every": ""}
    for versions, version, rows in (('{"1": 1}', 1, 2), ("", 2, 4)):
        statistics.set_string_custom_property("span_versions", versions)
        evidence = collect_evidence(statistics, None, schema_pb2.Schema(), tmp_path / "home", **context)
        assert (version, rows) == (evidence.version, evidence.span.rows)


def test_components_wire():
    """The specs accept what the graph passes, and the verdict is a DataVerdict."""
    examples, schema, model = (
        channel_utils.as_channel([kind()])
        for kind in (standard_artifacts.Examples, standard_artifacts.Schema, standard_artifacts.Model)
    )
    statistics = StatisticsGen(examples=examples, schema=schema, home="home", label="late")
    gate = DataGate(
        statistics=statistics.outputs["statistics"], schema=schema, champion=model, home="home", label="late"
    )
    assert DataVerdict is gate.outputs["verdict"].type
    assert "StatisticsGen" == statistics.id


@pytest.mark.slow
def test_a_gate_without_a_label_refuses(year, monkeypatch):
    """A gate that does not know the label, or has an unknown threshold, is an error and no verdict."""
    _, folder = year
    home = folder / "home"
    monkeypatch.setattr(gate_run, "STREAM", {**gate_run.STREAM, "label": ""})
    with pytest.raises(GateError, match="must know the label"):
        gate_run.GateRun(home, folder / "refused").run(WEEKS, None)
    monkeypatch.undo()
    monkeypatch.setattr(gate_run, "GATE", {"measures": {"psy": 1}})
    with pytest.raises(ConfigError, match="did you mean .psi"):
        gate_run.GateRun(home, folder / "refused").run(WEEKS, None)


def test_faults_say_what_they_do():
    """Each fault is documented, and the eight promised ones are there."""
    assert 8 == sum(fault.asked for fault in FAULTS)
    assert all(fault.text for fault in FAULTS)
    assert Path(gate_run.SCHEMA).is_file()
