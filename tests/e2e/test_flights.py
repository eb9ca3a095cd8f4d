"""The whole pipeline on the real flights, as a person runs it."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.project import Project, flights_project

pytestmark = pytest.mark.slow  # runs of the whole pipeline


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three runs: a cold one and two warm ones, without a rescue, which would make one of them cold."""
    project = flights_project(tmp_path_factory.mktemp("flights"))
    trainer = yaml.safe_load((project.folder / "noria.yaml").read_text())["trainer"]
    project.edit(trainer=trainer | {"rescue_above": None})
    project.result = project.json("run", "--runs", "3")
    project.forked = True
    return project


def champion_of(project: Project) -> dict[str, Any]:
    """The champion's entry in `noria status --json`."""
    status = project.json("status")
    return next(version for version in status["versions"] if version["version"] == status["champion"])


def test_cold_then_warm(trained: Project):
    """The first run is cold and without a champion; the next ones continue from it."""
    runs = trained.result["runs"]
    assert ["cold", "warm", "warm"] == [run["mode"] for run in runs]
    assert "blessed" == runs[0]["model_verdict"]
    assert all(run["data_verdict"] in ("ok", "drifted") for run in runs)
    assert runs[0]["metrics"]["champion"] is None
    assert all(0.5 < run["metrics"]["challenger"]["auc"] < 1 for run in runs)
    for run in runs[1:]:
        # A champion is a week old and may be much worse on the new rows; a blessed challenger is not.
        challenger, champion = run["metrics"]["challenger"], run["metrics"]["champion"]
        assert "blessed" == run["model_verdict"]
        assert champion["example_count"] == challenger["example_count"] > 500
        assert challenger["auc"] >= champion["auc"] - 0.01
        assert challenger["log_loss"] <= champion["log_loss"] + 0.01


def test_status_carries_the_lineage(trained: Project):
    """`noria status --json`: the champion and every version with its parent, spans, metrics and folder."""
    status = trained.json("status")
    versions = {version["version"]: version for version in status["versions"]}
    champion = versions[status["champion"]]
    assert "published" == champion["state"]
    assert Path(champion["model_dir"], "saved_model.pb").exists()
    keys = {"version", "state", "mode", "parent", "spans", "metrics", "model_dir"}
    assert all(keys <= set(version) for version in versions.values())
    assert all(version["parent"] in versions for version in versions.values() if version["mode"] == "warm")


def test_published_model_answers_without_noria(trained: Project):
    """The SavedModel needs plain TensorFlow only, and has TF Serving's warm-up requests."""
    model = champion_of(trained)["model_dir"]
    assert Path(model, "assets.extra", "tf_serving_warmup_requests").stat().st_size > 0
    code = textwrap.dedent(
        """
        import sys, json
        import tensorflow as tf
        model = tf.saved_model.load(sys.argv[1])
        example = tf.train.Example()
        example.features.feature["carrier"].bytes_list.value.append(b"UA")
        score = model.signatures["serving_default"](tf.constant([example.SerializeToString()]))["score"]
        assert not [name for name in sys.modules if name.startswith(("noria", "tfx."))]
        print(json.dumps(score.numpy().tolist()))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True)
    [[score]] = json.loads(done.stdout.splitlines()[-1])
    assert 0 < score < 1


def test_report_is_written(trained: Project):
    """Each run has a page that names its verdicts."""
    for run in trained.result["runs"]:
        page = Path(run["report"]).read_text()
        assert "<html" in page and run["run_id"] in page
        assert f"{run['metrics']['challenger']['auc']:.4f}" in page


def test_a_warm_run_carries_everything(trained: Project):
    """Every variable of a warm run is copied or remapped; the step continues the champion's."""
    [first, second] = [v for v in trained.json("status")["versions"] if v["mode"] == "warm"][:2]
    payloads = trained.home / "registry" / "versions"
    parent, report = (
        json.loads((payloads / str(version["version"]) / "warm_start.json").read_text())
        for version in (first, second)
    )
    assert ("warm", first["version"]) == (report["mode"], report["from_version"])
    assert parent["step"] == report["start_step"] < report["step"]
    assert any("embedding" in variable["name"] for variable in report["variables"])
    assert {"copied", "remapped"} >= {variable["how"] for variable in report["variables"]}


def test_what_the_gate_refuses_is_not_served(trained: Project):
    """The next run takes the next span; no bound is set, so its model is kept as rejected, and the champion serves."""
    before, last = champion_of(trained), trained.result["runs"][-1]["span"]
    gates = yaml.safe_load((trained.folder / "noria.yaml").read_text())["gates"]
    trained.edit(gates=gates | {"model": gates["model"] | {"metrics": {}}})
    [run] = trained.json("run", "--runs", "1")["runs"]
    assert (last + 1, "rejected") == (run["span"], run["model_verdict"])
    assert "no threshold is set" in " ".join(run["reasons"])
    assert before == champion_of(trained)
    assert not Path(before["model_dir"]).with_name(str(run["version"])).exists()
    trained.edit(gates=gates)


def test_an_alarm_does_not_keep_the_worse_model(trained: Project):
    """Both models fail a bound that nothing can hold: the better one serves, and the run ends with 3 and an alarm."""
    gates = yaml.safe_load((trained.folder / "noria.yaml").read_text())["gates"]
    trained.edit(gates=gates | {"model": gates["model"] | {"metrics": {"auc": {"min": 0.99}}}})
    [run] = trained.json("run", "--runs", "1", code=3)["runs"]
    losses = [run["metrics"][who]["log_loss"] for who in ("challenger", "champion")]
    assert ("blessed" if losses[0] < losses[1] else "rejected") == run["model_verdict"]
    assert "it must be at least 0.99" in run["alarms"][0]
    trained.edit(gates=gates)


def test_rollback_and_promote_are_audited(trained: Project):
    """A rollback publishes the previous version again; a forced promotion has a reason."""
    before = champion_of(trained)
    trained.noria("rollback", "--reason", "test")
    assert before["version"] != champion_of(trained)["version"]
    assert not Path(before["model_dir"]).exists()
    refused = trained.noria("promote", str(before["version"]), code=1)
    assert "--force" in refused.stderr
    trained.noria("promote", str(before["version"]), "--force", "--reason", "it was fine")
    assert Path(champion_of(trained)["model_dir"], "saved_model.pb").exists()
