"""`noria ci` on a cluster: it compares with the newest run that trained, as it cannot read the champion."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from noria.pipeline.config import load
from noria.pipeline.runners.kubeflow import exit_handler, kfp_client
from noria.pipeline.runs import lineage
from noria.stores.registry import Registry, RunRecord

from .nodes import Frame
from .noria import Noria
from .project import frames, write_package
from .server import KubeflowApi

ROOT = Path(__file__).parents[3]
NOTHING_NEW = [Frame("SUCCEEDED", [("Ingest", "SUCCEEDED", ""), ("Pusher", "SKIPPED", "")])]


class Repository:
    """The project under git, its home on the cluster's volume.

    A home of the same name lies here as well: it has had a run and has no champion, and does not count.
    """

    def __init__(self, noria: Noria):
        self.noria, self.folder = noria, noria.folder
        self._git("init", "-q")
        settings = {"name": "rides", "label": "big_tip", "span": "rows:100", "schema": "schema.pbtxt"}
        settings |= {"kubeflow": {"volume": {"claim": "noria"}}}
        self.commit({"noria.yaml": yaml.safe_dump(settings), "schema.pbtxt": "", ".gitignore": "home/\n"})
        Registry(self.folder / "home").record_run(RunRecord(span=3, run_id="here", data_verdict="broken"))

    def commit(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self._git("add", "-A")
        self._git("commit", "-qm", "a change")

    def submit(self, digest: str | None = None) -> None:
        """A run of the present code, or of a package that says another digest ('' for none)."""
        made_of = lineage.source_digest(load(self.folder)) if digest is None else digest
        write_package(self.noria.package, source_digest=made_of)
        self.noria.submit()

    def decide(self, *arguments: str) -> Any:
        return self.noria.json("ci", *arguments)

    def _git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.com"]
        command = ["git", *identity, "-C", str(self.folder), *arguments]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(noria: Noria, api: KubeflowApi, monkeypatch: pytest.MonkeyPatch) -> Repository:
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    api.script = frames("SUCCEEDED")
    return Repository(noria)


def model_change(repository: Repository, number: int = 1) -> None:
    repository.commit({"preprocessing.py": f"def preprocessing_fn(inputs):\n    return {{'{number}': 1}}\n"})


def test_no_run_yet(repository: Repository) -> None:
    """If no run has trained, the first run is due, independent of the last commit, and the package trains."""
    decided = repository.decide()
    assert ("cold", None, False) == (decided["verdict"], decided["run"], decided["again"])
    assert "no run on the cluster has trained" in decided["reasons"][0]
    here = repository.decide("--home", str(repository.folder / "home"))
    assert (
        "there is no champion" in here["reasons"][0]
    )  # where it is asked for, this machine's home does count


def test_the_coming_form_of_the_api(repository: Repository, api: KubeflowApi) -> None:
    """After ML Metadata a run has `tasks` in place of `task_details`; what it trained on is found as before."""
    api.native = True
    repository.submit()
    assert "nothing" == repository.decide()["verdict"]


def test_no_tasks_no_guess(repository: Repository, api: KubeflowApi) -> None:
    """If the server lists no tasks, this does not count as a first run: the commits decide, and the output says so."""
    repository.submit()
    api.lists_tasks = False
    decided = repository.decide()
    assert "lists no tasks" in decided["reasons"][-1] and "the commits decide" in decided["reasons"][-1]


def test_a_change_is_not_lost(repository: Repository, api: KubeflowApi) -> None:
    """A change whose run never started is found by the next commit, which changes words only."""
    repository.submit()
    decided = repository.decide()
    assert ("nothing", api.runs[0]["display_name"]) == (decided["verdict"], decided["run"])
    model_change(repository)
    repository.commit({"README.md": "words\n"})
    decided = repository.decide()
    assert ("cold", [], ["preprocessing"]) == (decided["verdict"], decided["changed"], decided["differing"])
    assert "changed since run" in decided["reasons"][0]
    repository.submit()
    assert "nothing" == repository.decide()["verdict"]


@pytest.mark.parametrize(
    "script", [frames("FAILED", "FAILED", "x"), NOTHING_NEW], ids=["failed", "nothing new"]
)
def test_what_did_not_run(repository: Repository, api: KubeflowApi, script: list[Frame]) -> None:
    """A run that failed, or that found no span and succeeded, has not taken the change up."""
    repository.submit()
    model_change(repository)
    api.script = script
    write_package(repository.noria.package, source_digest=lineage.source_digest(load(repository.folder)))
    repository.noria.submit(code=0 if script is NOTHING_NEW else 3)
    decided = repository.decide()
    assert ("cold", api.runs[0]["display_name"]) == (decided["verdict"], decided["run"])


def test_looks_back(repository: Repository, api: KubeflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without new data are skipped, page by page; after many of them, this does not count as a first run."""
    monkeypatch.setattr(kfp_client, "PAGE", 2)
    repository.submit()
    api.script = NOTHING_NEW
    for _ in range(4):
        repository.submit()
    assert ("nothing", api.runs[0]["display_name"]) == tuple(
        repository.decide()[n] for n in ("verdict", "run")
    )
    monkeypatch.setattr(kfp_client, "LOOK_BACK", 3)
    assert "none of the newest 3 runs has trained" in repository.decide()["reasons"][-1]


def test_the_commits_decide(repository: Repository, api: KubeflowApi) -> None:
    """The commits decide, and the output says so, if the version has no digests or no cluster answers."""
    repository.submit(digest="")
    model_change(repository)
    environment = dict(repository.noria.environment)
    for name, said in (("silent", "has no digest"), ("gone", "has no digest"), ("none", "no cluster is set")):
        if name == "gone":
            api.versions.clear()
        if name == "none":
            del repository.noria.environment["NORIA_KUBEFLOW_HOST"]
        decided = repository.decide()
        assert ("cold", ["preprocessing"]) == (decided["verdict"], decided["changed"]), name
        assert said in decided["reasons"][-1] and "the commits decide" in decided["reasons"][-1]
    repository.noria.environment |= environment | {"NORIA_KUBEFLOW_HOST": "http://localhost:1"}
    assert (
        "cannot be asked (connection refused: nothing listens at this address)"
        in repository.decide()["reasons"][-1]
    )


def test_by_hand(repository: Repository) -> None:
    """--force asks for a run where nothing does; the reason says so, and the next step is to submit."""
    repository.submit()
    decided = repository.decide("--force")
    assert ("cold", True, "--force was given") == (
        decided["verdict"],
        decided["again"],
        decided["reasons"][0],
    )
    said = repository.noria("ci", "--force").stdout
    assert "--force --action submit" in said


def test_the_run_that_goes_on(repository: Repository, api: KubeflowApi) -> None:
    """While a run is active, another run is refused if it is due; if none is due, the command succeeds."""
    repository.submit()
    api.runs.append(
        {**api.runs[0], "run_id": "another", "state": "RUNNING", "created_at": "2027-01-01T00:00:00Z"}
    )
    assert "nothing" == repository.decide("--action", "submit")["verdict"]
    model_change(repository)
    assert "a run of this project is running" in repository.noria.refused(
        "ci", "--action", "submit", "--json"
    )


@pytest.mark.slow  # imports TFX
def test_submits_a_cold_run(repository: Repository, api: KubeflowApi) -> None:
    """A cold verdict submits a package that trains from nothing, on the newest span where none waits; then no more.

    The home folder of this machine does not count: it has no champion.
    """
    settings = yaml.safe_load((ROOT / "examples" / "flights" / "noria.yaml").read_text())
    settings |= {"name": "rides", "home": "home", "schema": "flights.pbtxt"}
    settings |= {"kubeflow": {"volume": {"claim": "noria"}}}
    shutil.copy(ROOT / "examples" / "flights" / "schema.pbtxt", repository.folder / "flights.pbtxt")
    repository.commit({"noria.yaml": yaml.safe_dump(settings)})
    write_package(repository.noria.package, source_digest="0" * 64)
    repository.noria.submit()
    told = repository.decide("--action", "submit", "--service-account", "runner")
    assert ("cold", True, "SUCCEEDED", True) == tuple(
        told[n] for n in ("verdict", "again", "state", "uploaded")
    )
    assert "runner" == api.runs[-1]["service_account"]
    spec = api.versions[-1]["pipeline_spec"]["pipeline_spec"]
    tasks = exit_handler.stages(spec)

    def given(task: str, name: str) -> Any:
        return tasks[task]["inputs"]["parameters"][name]["runtimeValue"]["constant"]

    assert 1 == given("Ingest", "again")
    assert "again" in json.dumps(tasks["SpanExampleGen"]) and "cold" in json.dumps(tasks)
    assert "nothing" == repository.decide("--action", "submit")["verdict"]
    assert 2 == len(api.runs)
