"""`noria submit` and `noria runs` against a server that speaks the published contract."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
import yaml

from noria.pipeline.config import load
from noria.pipeline.runners.kubeflow import exit_handler, follow, kfp_client, tasklog
from noria.pipeline.runs import lineage

from .nodes import Frame
from .noria import Noria
from .project import TASKS, frames, write_package, write_project
from .server import Fault, KubeflowApi

ROOT = Path(__file__).parents[3]


def test_uploads_runs_and_follows(noria: Noria, api: KubeflowApi) -> None:
    """A first submit uploads pipeline and version, runs the version, prints each task, and ends with a link."""
    api.script = frames("SUCCEEDED")
    done = noria.submit()
    assert [] == [task for task in TASKS if task not in done.stderr]
    assert "driver" not in done.stderr
    run = api.runs[0]
    assert "succeeded" in done.stdout
    assert f"{api.host}/#/runs/details/{run['run_id']}" in done.stdout
    assert "pipeline_root" not in run["runtime_config"]
    assert api.versions[-1]["pipeline_version_id"] == run["pipeline_version_reference"]["pipeline_version_id"]
    assert {"pipeline_spec", "platform_spec"} == set(api.versions[-1]["pipeline_spec"])


def test_same_version_is_uploaded_once(noria: Noria, api: KubeflowApi) -> None:
    """The same settings, code and package are one version; a change of any of them is another."""

    def uploaded() -> tuple[str, bool]:
        said = noria.json("submit", "--package", str(noria.package))
        return said["version"], said["uploaded"]

    first, fresh = uploaded()
    assert fresh
    assert (first, False) == uploaded()
    write_package(noria.package, image="noria:2")
    second, fresh = uploaded()
    assert fresh
    (noria.folder / "preprocessing.py").write_text("def preprocessing_fn(inputs):\n    return {}\n")
    third, fresh = uploaded()
    assert fresh
    assert 3 == len({first, second, third})
    assert 1 == len(api.pipelines)
    assert 4 == len(api.runs)


@pytest.mark.parametrize("native", [False, True], ids=["task_details", "tasks"])
@pytest.mark.parametrize(
    ("end", "stop", "code"),
    [
        ("SUCCEEDED", "SUCCEEDED", 0),
        ("SKIPPED", "SKIPPED", 0),
        ("FAILED", "FAILED", 3),
        ("ERROR", "ERROR", 3),
        ("CANCELED", "CANCELED", 3),
    ],
)
def test_every_end(noria: Noria, api: KubeflowApi, end: str, stop: str, code: int, native: bool) -> None:
    """Every end state ends the wait, CANCELED too; a run that ended badly is exit code 3.

    Of the nodes that the server lists only the pipeline's own tasks are shown.
    """
    api.script, api.native = frames(end, stop, "OOMKilled"), native
    said = noria.json("submit", "--package", str(noria.package), code=code)
    assert (end, True) == (said["state"], said["over"])
    states = {task["name"]: task["state"] for task in said["tasks"]}
    assert set(TASKS) - ({"Pusher"} if native and end != "SUCCEEDED" else set()) == set(states)
    if end != "SUCCEEDED" and not native:
        assert "OMITTED" == states["Pusher"]
    failed = stop in ("FAILED", "ERROR") or (native and stop == "CANCELED")  # there a task has no CANCELED
    assert (["Trainer"] if failed else []) == said["failed"]


@pytest.mark.parametrize(
    ("error", "store"),
    [
        ("OOMKilled", False),
        ("failed to upload output artifact\nAccessDenied: Access Denied. status code: 403", True),
        ("task failed\nNoSuchBucket: The specified bucket does not exist", True),
    ],
)
def test_what_failed(noria: Noria, api: KubeflowApi, error: str, store: bool) -> None:
    """A bad end names the task, its error and its logs; where the object store refuses, the keys that say where it is.

    `noria runs` says the same of the newest run.
    """
    api.script, api.native = frames("FAILED", "FAILED", error), True
    done = noria.submit("--namespace", "team", code=3)
    for said in (done.stderr, noria("runs", "--namespace", "team").stderr):
        assert "failed Trainer: " in said
        assert f"kubectl logs -n team -l pipeline/runid={api.runs[0]['run_id']}" in said
        assert "executor-logs" in said
        assert store == ("kfp-launcher" in said)
    assert ["Trainer"] == noria.json("submit", "--package", str(noria.package), code=3)["failed"]
    assert "kubectl logs -n kubeflow " in noria("runs").stderr


def test_the_cause_is_in_the_journal(noria: Noria, api: KubeflowApi) -> None:
    """Up to 2.18 the server names no cause; where the volume is mounted here, the task's journal does."""
    api.script = frames("FAILED", "FAILED")
    done = noria.submit(code=3)
    assert "failed Trainer\n" in done.stderr
    for node in ("executor", "root", "rides-x7k2p"):
        assert f"failed {node}" not in done.stderr
    home = noria.folder / "volume" / "home"
    settings = yaml.safe_load((noria.folder / "noria.yaml").read_text())
    settings["kubeflow"] = {"home": str(home)}
    (noria.folder / "noria.yaml").write_text(yaml.safe_dump(settings))
    log = tasklog.folder(home, api.runs[0]["run_id"]) / "Trainer.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(
        json.dumps({"time": 1.0, "stage": "Trainer", "event": "failed", "error": "no rows\nat all"})
    )
    assert "failed Trainer: no rows at all\n" in noria("runs").stderr


def test_a_driver_that_fails_fails_its_task(noria: Noria, api: KubeflowApi) -> None:
    """Argo omits a task whose driver failed; it is reported as failed, as no other task of the run has failed."""
    tasks = [("ChampionResolver", "SUCCEEDED", ""), ("Trainer-driver", "FAILED", "")]
    api.script = [Frame("FAILED", [*tasks, ("Trainer", "RUNTIME_STATE_UNSPECIFIED", "")])]
    assert "failed Trainer\n" in noria.submit(code=3).stderr


@pytest.mark.parametrize("native", [False, True], ids=["task_details", "tasks"])
def test_what_needs_attention(noria: Noria, api: KubeflowApi, native: bool) -> None:
    """A run on a broken span, or with an alarm, SUCCEEDED and needs attention: exit code 3, as of `noria run`."""
    api.native = native
    api.script = [Frame("SUCCEEDED", [("DataGate", "SUCCEEDED", ""), ("ReportBroken", "SUCCEEDED", "")])]
    assert "the span is broken" in noria.submit(code=3).stderr
    said = noria.json("submit", "--package", str(noria.package), code=3)
    assert ("SUCCEEDED", True, False) == (said["state"], said["broken_span"], said["alarm"])
    api.script = [Frame("SUCCEEDED", [("Report", "SKIPPED", ""), ("ReportAlarm", "SUCCEEDED", "")])]
    assert "fails a bound of the model gate" in noria.submit(code=3).stderr
    said = noria.json("submit", "--package", str(noria.package), code=3)
    assert ("SUCCEEDED", False, True) == (said["state"], said["broken_span"], said["alarm"])
    quiet = [("Report", "SUCCEEDED", ""), ("ReportBroken", "SKIPPED", ""), ("ReportAlarm", "SKIPPED", "")]
    api.script = [Frame("SUCCEEDED", quiet)]
    assert not noria.json("submit", "--package", str(noria.package))["broken_span"]


def test_a_run_that_argo_has_started_again(noria: Noria, api: KubeflowApi) -> None:
    """Where the pod of End was lost, Argo lists each task twice: what ended the first pass counts, though it is skipped
    in the second."""
    for name, what in (("ReportBroken", "the span is broken"), ("ReportAlarm", "fails a bound")):
        api.script = [Frame("SUCCEEDED", [(name, "SUCCEEDED", ""), (name, "SKIPPED", "")])]
        assert what in noria.submit(code=3).stderr


def test_a_server_that_lists_no_tasks(noria: Noria, api: KubeflowApi) -> None:
    """Where neither form of the tasks is in the answer, a success is not taken for one: exit code 3, and why."""
    api.lists_tasks = False
    assert "does not list the run's tasks" in noria.submit(code=3).stderr


def test_the_root_of_several_users(noria: Noria, api: KubeflowApi) -> None:
    """In Kubeflow's own store a namespace may write to its own folder only; another root is refused before a run."""
    api.multi_user = True
    for root, good in (
        ("minio://mlpipeline/noria", False),
        ("minio://mlpipeline/private-artifacts/team2/x", False),
        ("minio://mlpipeline/private-artifacts/team/noria", True),
        ("s3://own/noria", True),
    ):
        write_project(noria.folder, pipeline_root=root)
        arguments = ("--package", str(noria.package), "--namespace", "team")
        if good:
            noria("submit", *arguments)
        else:
            for command in (("submit",), ("schedule", "create", "--every", "1h")):
                said = noria.refused(*command, *arguments)
                assert f"may not write to {root}" in said and "private-artifacts/team/" in said
    assert ["minio://mlpipeline/private-artifacts/team/noria", "s3://own/noria"] == [
        run["runtime_config"]["pipeline_root"] for run in api.runs
    ]


def test_service_account(noria: Noria, api: KubeflowApi) -> None:
    """The runs' service account: flag before environment before file; the server's default without any."""
    noria.submit()
    noria.environment["NORIA_KUBEFLOW_SERVICE_ACCOUNT"] = "from-env"
    noria.submit()
    noria.submit("--service-account", "from-flag")
    assert [None, "from-env", "from-flag"] == [run.get("service_account") for run in api.runs]


def test_one_run_at_a_time(noria: Noria, api: KubeflowApi) -> None:
    """While a run of this pipeline is active, submit refuses, or waits with an option; others do not count."""
    noria.submit("--no-wait")
    said = noria.refused("submit", "--package", str(noria.package))
    assert "a run of this project is pending" in said
    assert api.runs[0]["run_id"] in said
    assert "--wait-for-running" in said
    assert "a run of this project" in noria.refused(
        "submit", "--package", str(noria.package), "--wait-for-running", "0.05"
    )
    assert 1 == len(api.runs)
    before = api.calls.count("list_runs")

    def end_once_seen() -> None:
        while api.calls.count("list_runs") < before + 2:  # the first one found it going on
            time.sleep(0.01)
        api.runs[0].update(state="SUCCEEDED")

    ending = threading.Thread(target=end_once_seen, daemon=True)
    ending.start()
    waited = noria.submit("--wait-for-running", "30", "--no-wait")
    ending.join(10)
    assert "waiting for the end of" in waited.stderr
    assert 2 == len(api.runs)
    api.runs[1]["pipeline_version_reference"]["pipeline_id"] = "another"
    noria.submit()


def test_progress_on_standard_error_only(noria: Noria, api: KubeflowApi) -> None:
    """With --json, standard output is one object; PAUSED is printed, and submit keeps waiting."""
    api.script = frames("SUCCEEDED")
    done = noria.submit("--json")
    assert "SUCCEEDED" == json.loads(done.stdout)["state"]
    assert "run paused" in done.stderr


def test_no_wait(noria: Noria, api: KubeflowApi) -> None:
    """--no-wait starts the run and does not look at it."""
    said = noria.json("submit", "--package", str(noria.package), "--no-wait")
    assert ("PENDING", False) == (said["state"], said["over"])
    assert "get_run" not in api.calls


def test_timeout(noria: Noria, api: KubeflowApi) -> None:
    """--timeout ends the wait, not the run: exit code 3."""
    api.script = [Frame("RUNNING")]
    done = noria.submit("--timeout", "0.05", code=3)
    assert "the run continues" in done.stderr


def test_drop_while_following(noria: Noria, api: KubeflowApi) -> None:
    """A connection that drops, a cut answer and a failing server while a run is followed: it is followed on."""
    api.script = frames("SUCCEEDED")
    api.faults = [Fault("get_run", "drop", 3), Fault("get_run", "cut", 3), Fault("get_run", 503, 3)]
    done = noria.submit()
    assert "polling again" in done.stderr
    assert 1 == len(api.runs)


def test_token_expires_while_following(noria: Noria, api: KubeflowApi) -> None:
    """A token that expires ends the watch with what to do and the run as last seen; exit code 3, as one was started."""
    api.script = [Frame("RUNNING")]
    for arguments in ((), ("--json",)):
        api.faults = [Fault("get_run", 401, 1, after=1)]
        done = noria.submit(*arguments, code=3)
        assert "the run continues" in done.stderr and "--token-file" in done.stderr
        assert api.runs[-1]["run_id"] in done.stdout
        api.runs[-1]["state"] = "CANCELED"  # so that the next may start
    told = json.loads(done.stdout)
    assert ("RUNNING", False) == (told["state"], told["over"])


def test_token_file_vanishes_while_following(
    noria: Noria, api: KubeflowApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else ends the watch: exit code 3, and the run."""
    token = tmp_path / "token"
    token.write_text("t")
    api.script = [Frame("RUNNING")]
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: token.unlink(missing_ok=True))
    done = noria.submit("--json", "--token-file", str(token), code=3)
    assert "cannot be read" in done.stderr
    assert api.runs[0]["run_id"] == json.loads(done.stdout)["run_id"]


def test_deleted_while_following(noria: Noria, api: KubeflowApi) -> None:
    """A run that somebody deletes is not reported as running; it was started, so the exit code is 3."""
    api.script = [Frame("RUNNING")]
    api.faults = [Fault("get_run", 404, 1, after=1)]
    done = noria.submit(code=3)
    assert "no longer exists" in done.stderr
    assert "continues" not in done.stderr
    assert api.runs[0]["run_id"] in done.stdout


def test_runs(noria: Noria, api: KubeflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """`noria runs` lists the newest first, over more than one page, and no experiment is an empty list."""
    monkeypatch.setattr(kfp_client, "PAGE", 2)
    assert [] == noria.json("runs")["runs"]
    assert "no run yet" in noria("runs").stdout
    for _ in range(3):
        noria.submit("--json")
    newest = [run["run_id"] for run in reversed(api.runs)]
    assert newest == [run["run_id"] for run in noria.json("runs")["runs"]]
    assert newest[:2] == [run["run_id"] for run in noria.json("runs", "--limit", "2")["runs"]]
    shown = noria("runs").stdout
    assert "succeeded" in shown
    assert [] == [run for run in newest if run not in shown]
    assert f"{api.host}/#/runs/details/{newest[0]}" in shown


def test_interrupted(noria: Noria, api: KubeflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the watch with 130 and the run's link; the run continues."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    api.script = [Frame("RUNNING")]
    monkeypatch.setattr(follow.time, "sleep", interrupt)
    done = noria.submit(code=130)
    assert f"the run continues: {api.host}/#/runs/details/{api.runs[0]['run_id']}" in done.stderr


@pytest.mark.slow  # imports TFX
def test_compiles_by_itself(noria: Noria, api: KubeflowApi) -> None:
    """Without --package the project is compiled; the same project gives the same version."""
    settings = yaml.safe_load((ROOT / "examples" / "flights" / "noria.yaml").read_text())
    settings |= {"home": "home", "schema": "flights.pbtxt", "kubeflow": {"volume": {"claim": "noria"}}}
    (noria.folder / "noria.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(ROOT / "examples" / "flights" / "schema.pbtxt", noria.folder / "flights.pbtxt")
    first, second = noria.json("submit"), noria.json("submit")
    assert (True, False) == (first["uploaded"], second["uploaded"])
    assert first["version"] == second["version"]
    spec = api.versions[-1]["pipeline_spec"]
    assert {"SpanExampleGen", "Trainer", "Pusher"} <= set(exit_handler.stages(spec["pipeline_spec"]))
    assert "noria" in str(spec["platform_spec"])
    digest = lineage.source_digest(load(noria.folder))
    assert f"source_digest={digest}" == api.versions[-1]["description"]
    other = noria.json("submit", "--image", "registry.example.com/noria:abc")
    executors = api.versions[-1]["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert other["uploaded"] and {"registry.example.com/noria:abc"} == {
        each["container"]["image"] for each in executors.values()
    }


def test_another_project_s_package(noria: Noria, api: KubeflowApi) -> None:
    """A package of another project is refused by submit and schedule: it would run under this one's name."""
    write_package(noria.package, name="flights")
    for command in (("submit",), ("schedule", "create", "--every", "1h")):
        said = noria.refused(*command, "--package", str(noria.package))
        assert "'flights'" in said and "'rides'" in said
    assert {"upload_pipeline", "upload_pipeline_version"}.isdisjoint(api.calls)
    assert [] == api.runs


def test_a_package_has_its_image(noria: Noria, api: KubeflowApi) -> None:
    """--image beside --package is refused: what is compiled keeps its image."""
    said = noria.refused("submit", "--package", str(noria.package), "--image", "noria:2")
    assert "has an image already" in said
    assert [] == api.runs
