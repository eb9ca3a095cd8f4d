"""`noria ci`: what it decides, from real repositories, real registries and real spans."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from noria.core.errors import RevisionError
from noria.pipeline.config import load
from noria.pipeline.retraining import decision as retraining
from noria.pipeline.retraining.repository import Repository, Since
from noria.pipeline.runs import lineage
from noria.stores.publication import Publication
from noria.stores.registry import Registry, Version, run_of
from noria.stores.spans import SpanStore

HERE = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=A Person",
        "-c",
        "user.email=person@example.com",
        "-c",
        "init.defaultBranch=main",
    ]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Project:
    """A project in a repository, its home with spans and versions; `commit` writes files and commits them."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        git(folder, "init", "-q")
        self.settings: dict[str, Any] = {
            "name": "rides",
            "label": "late",
            "time": "at",
            "window": {"first": 1},
        }
        self.commit(
            {
                "features.py": "import helper\n\ndef preprocessing_fn(inputs):\n    return inputs\n",
                "helper.py": "X = 1\n",
                "schema.pbtxt": "",
                ".gitignore": "home/\n",
            },
            preprocessing="features.preprocessing_fn",
        )

    def commit(self, files: dict[str, str] | None = None, **settings: Any) -> str:
        self.settings |= settings
        written = {"noria.yaml": yaml.safe_dump(self.settings), **(files or {})}
        for name, text in written.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", "a change")
        return git(self.folder, "rev-parse", "HEAD")

    def span(self, number: int) -> None:
        table = pa.table({"at": [number], "late": [1]})
        SpanStore(self.folder / "home").create(
            number, [table], source="events.csv", event_time=(number, number)
        )

    def version(self, number: int, blessed: bool = True, **facts: Any) -> Version:
        """Runs on a span: a version of the current code, served if it is blessed."""
        model = self.folder.parent / "model"
        model.mkdir(exist_ok=True)
        (model / "saved_model.pb").write_text("a model")
        registry = Registry(self.folder / "home")
        known = {"span": number, "spans": [number], "code_digest": lineage.digest(self.config), **facts}
        made = registry.register({"serving": model}, run_id=f"run-{number}", blessed=blessed, **known)
        registry.record_run(run_of(made))
        return Publication(registry, self.config.model_root).publish(made.version) if blessed else made

    @property
    def config(self) -> Any:
        return load(self.folder)

    def decide(self, since: str | None = None) -> retraining.Decision:
        return retraining.decide(*retraining.collect(self.config, since, HERE))

    def noria(self, *arguments: str, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "noria.pipeline", "ci", "-c", str(self.folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**HERE, "COLUMNS": "200", **env})
        assert code == done.returncode, done.stderr
        return done


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def served(project: Project) -> Project:
    """A project whose first span made the champion."""
    project.span(1)
    project.version(1)
    return project


def test_first_run(project: Project) -> None:
    """Without a champion the first run is due as soon as its spans are there, and not before."""
    assert retraining.NOTHING == project.decide().verdict
    assert "0 spans are there, the first run needs 1" in project.decide().reasons[0]
    project.span(1)
    assert (retraining.COLD, False) == (project.decide().verdict, project.decide().again)
    assert "no champion" in project.decide().reasons[0]


def test_nothing_new(served: Project) -> None:
    """Same code, no new span: nothing, and the reason names the champion."""
    decision = served.decide()
    assert retraining.NOTHING == decision.verdict
    assert "no new span waits" == decision.reasons[0]
    assert any("version 1, the champion" in reason for reason in decision.reasons)


def test_new_spans(served: Project) -> None:
    """Same code, new spans: a warm run, and the reason names them."""
    served.span(2)
    served.span(3)
    assert retraining.WARM == served.decide().verdict
    assert served.decide().reasons[0].startswith("2 new spans wait: 2")


@pytest.mark.parametrize(
    "part, files, settings",
    [
        (
            "preprocessing",
            {"features.py": "import helper\n\ndef preprocessing_fn(inputs):\n    return {}\n"},
            {},
        ),
        ("preprocessing", {"helper.py": "X = 2\n"}, {}),
        (
            "model",
            {"nets.py": "class Net: ...\n"},
            {"trainer": {"family": "nets.Net"}},
        ),
        ("schema", {"schema.pbtxt": 'feature { name: "x" }\n'}, {}),
        ("settings", {}, {"trainer": {"hidden_units": [8]}}),
        ("settings", {}, {"window": {"first": 1, "cold": 3}}),
    ],
)
def test_changed_part(served: Project, part: str, files: dict[str, str], settings: dict[str, Any]) -> None:
    """A change of what makes the model is a cold run; the reasons name the part, by champion and by commit."""
    before = git(served.folder, "rev-parse", "HEAD")
    served.commit(files, **settings)
    change, stores = retraining.collect(served.config, None, HERE)
    assert stores is not None and stores.differing is not None
    assert part in change.parts and part in stores.differing
    decision = retraining.decide(change, stores)
    assert (retraining.COLD, True) == (decision.verdict, decision.again)
    assert retraining.WORDS[part] in decision.reasons[0] and "version 1, the champion" in decision.reasons[0]
    assert any(f"since {before[:10]}" in reason for reason in decision.reasons)


def test_cannot_change_the_model(served: Project) -> None:
    """Docs, tests, gates and what only a machine notices: nothing to do, and the files are named."""
    served.commit(
        {"README.md": "words\n", "tests/test_x.py": "assert True\n"},
        gates={"model": {"slice_change": 0.1}},
        retention=5,
        trainer={"tensorboard": True},
    )
    change, stores = retraining.collect(served.config, None, HERE)
    assert () == change.parts
    assert {"README.md", "noria.yaml", "tests/test_x.py"} == set(change.other)
    decision = retraining.decide(change, stores)
    assert retraining.NOTHING == decision.verdict
    assert any("no part of the model changed" in reason for reason in decision.reasons)


def test_taken_back(served: Project) -> None:
    """A reverted change needs no run, independent of the last commit: the champion counts."""
    served.commit({"helper.py": "X = 2\n"})
    assert retraining.COLD == served.decide().verdict
    served.commit({"helper.py": "X = 1\n"})
    change, stores = retraining.collect(served.config, None, HERE)
    assert ("preprocessing",) == change.parts
    assert retraining.NOTHING == retraining.decide(change, stores).verdict


def test_missed_change(served: Project) -> None:
    """A change that no run took up is not forgotten by the next commit."""
    served.commit({"helper.py": "X = 2\n"})
    served.commit({"README.md": "words\n"})
    change, stores = retraining.collect(served.config, None, HERE)
    assert () == change.parts
    assert retraining.COLD == retraining.decide(change, stores).verdict


def test_tried_and_rejected(served: Project) -> None:
    """Code whose version was rejected is not tried again on the same data, but on new data it is."""
    served.commit({"helper.py": "X = 2\n"})
    _reject(served, 1)
    decision = served.decide()
    assert retraining.NOTHING == decision.verdict
    assert "version 2 was made by this code" in decision.reasons[0] and "auc fell" in decision.reasons[0]
    served.span(2)
    assert (retraining.COLD, False) == (served.decide().verdict, served.decide().again)


def test_published_and_taken_back(served: Project) -> None:
    """A published change that is reverted asks for a run: the version before it does not serve any more."""
    served.commit({"helper.py": "X = 2\n"})
    served.span(2)
    served.version(2, parent=1)
    served.commit({"helper.py": "X = 1\n"})
    decision = served.decide()
    assert (retraining.COLD, True) == (decision.verdict, decision.again)
    _reject(served, 2)
    assert retraining.NOTHING == served.decide().verdict


def test_gone_back_by_hand(served: Project) -> None:
    """Where a person has gone back, by rollback or by promotion, the code that lost is not tried again by itself."""
    served.commit({"helper.py": "X = 2\n"})
    served.span(2)
    served.version(2, parent=1)
    registry = Registry(served.folder / "home")
    publication = Publication(registry, served.config.model_root)
    publication.promote(1, "better", "me")
    assert (3, retraining.NOTHING) == (registry.champion().version, served.decide().verdict)
    publication.rollback("no", "me", to=2)
    publication.rollback("yes", "me", to=1)
    assert (1, retraining.NOTHING) == (registry.champion().version, served.decide().verdict)


def _reject(project: Project, span: int) -> None:
    registry = Registry(project.folder / "home")
    model = {"serving": project.folder.parent / "model"}
    digest = lineage.digest(project.config)
    made = registry.register(
        model, run_id="rejected", blessed=False, span=span, code_digest=digest, reasons=["auc fell"]
    )
    registry.record_run(run_of(made))


def test_stale_champion(served: Project) -> None:
    """A champion behind the runs is called stale."""
    served.span(2)
    served.version(2, blessed=False)
    assert any("the champion is stale" in reason for reason in served.decide().reasons)


def test_silent_champion(project: Project) -> None:
    """A champion that does not say what made it: the commits decide."""
    project.span(1)
    project.version(1, code_digest=None)
    project.commit({"README.md": "words\n"})
    assert retraining.NOTHING == project.decide().verdict
    project.commit({"helper.py": "X = 2\n"})
    assert (retraining.COLD, True) == (project.decide().verdict, project.decide().again)


def test_home_in_the_cluster(project: Project) -> None:
    """Where the home folder is on the cluster's volume, the commits decide, and the reason says so."""
    project.commit({}, kubeflow={"volume": {"claim": "noria"}})
    decision = project.decide()
    assert retraining.NOTHING == decision.verdict
    assert any("not on this machine" in reason for reason in decision.reasons)
    project.commit({"helper.py": "X = 2\n"})
    assert retraining.COLD == project.decide().verdict


def test_an_older_home_here(served: Project) -> None:
    """Where the project has a volume, or a run is submitted, a home folder on this machine says nothing.

    It counts when it is named: it may be the volume, mounted here.
    """
    served.commit({"helper.py": "X = 2\n"})
    change, here = retraining.collect(served.config, None, HERE)
    assert isinstance(here, retraining.Stores) and here.champion is not None
    assert isinstance(retraining.collect(served.config, None, HERE, here=False)[1], retraining.Remote)
    served.commit({"README.md": "words\n"}, kubeflow={"volume": {"claim": "noria"}})
    assert retraining.NOTHING == served.decide().verdict
    assert (
        retraining.COLD
        == retraining.decide(*retraining.collect(served.config, None, HERE, here=True)).verdict
    )
    assert 1 == json.loads(served.noria("--json", "--home", str(served.folder / "home")).stdout)["champion"]
    assert "--home" in served.noria("--action", "run", "--home", "elsewhere", code=1).stderr


def test_home_that_is_not_there(served: Project) -> None:
    """A home folder that is named and not there is refused: an empty one would say that nothing is due."""
    said = " ".join(served.noria("--home", "elsewhere", code=1).stderr.split())
    assert (
        "the home folder does not exist where --home elsewhere next check that the volume is mounted" in said
    )
    assert not Path("elsewhere").exists()


def test_by_hand(served: Project) -> None:
    """With --force: a cold run on the newest span if nothing is due; a run that is due does not change."""
    change, stores = retraining.collect(served.config, None, HERE)
    decision = retraining.forced(retraining.decide(change, stores), stores)
    assert (retraining.COLD, True, "--force was given") == (
        decision.verdict,
        decision.again,
        decision.reasons[0],
    )
    served.span(2)
    change, stores = retraining.collect(served.config, None, HERE)
    assert retraining.WARM == retraining.forced(retraining.decide(change, stores), stores).verdict
    told = json.loads(served.noria("--force", "--json").stdout)
    assert ("warm", "--force was given") == (told["verdict"], told["reasons"][-1])


def test_project_is_new(project: Project, tmp_path: Path) -> None:
    """A project that was not there at that revision counts as changed in all parts, with the reason."""
    first = git(project.folder, "rev-list", "--max-parents=0", "HEAD")
    (project.folder / "inner").mkdir()
    for name in ("features.py", "helper.py", "schema.pbtxt", "noria.yaml"):
        shutil.copyfile(project.folder / name, project.folder / "inner" / name)
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-qm", "another project")
    change, _ = retraining.collect(load(project.folder / "inner"), first, HERE)
    assert lineage.PARTS == change.parts
    assert change.problem is not None and "cannot be read as it was" in change.problem


def test_work_tree_counts(served: Project) -> None:
    """What is not committed yet counts, untracked files among them."""
    (served.folder / "helper.py").write_text("X = 3\n")
    (served.folder / "notes.txt").write_text("notes\n")
    change, _ = retraining.collect(served.config, "HEAD", HERE)
    assert (("preprocessing",), ("notes.txt",)) == (change.parts, change.other)


# --- which revision -------------------------------------------------------------------------------------------


def test_since(project: Project, tmp_path: Path) -> None:
    """Named, pull request, push, branch, parent: in this order, and the answer says which."""
    first = git(project.folder, "rev-parse", "HEAD")
    second = project.commit({"a": "1"})
    repository = Repository(project.folder)
    assert Since(second, "--since HEAD") == repository.since("HEAD", {})
    assert Since(first, "the previous commit") == repository.since(None, {})
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"before": first}))
    third = project.commit({"b": "1"})
    push = repository.since(None, {"GITHUB_EVENT_PATH": str(event)})
    assert Since(first, "the commit before the push") == push
    event.write_text(json.dumps({"before": "0" * 40}))  # a new branch
    assert second == _commit(repository.since(None, {"GITHUB_EVENT_PATH": str(event)}))
    git(project.folder, "checkout", "-qb", "topic")
    project.commit({"c": "1"})
    project.commit({"d": "1"})
    assert Since(third, "where this branch left main") == repository.since(None, {})
    git(project.folder, "update-ref", "refs/remotes/origin/main", third)
    request = repository.since(None, {"GITHUB_BASE_REF": "main"})
    assert Since(third, "where the pull request left main") == request


def _commit(since: Since | None) -> str:
    assert since is not None
    return since.commit


def test_first_commit(project: Project) -> None:
    """Before the first commit there is nothing to compare with: no error, everything counts as changed."""
    change, _ = retraining.collect(project.config, None, HERE)
    assert (None, lineage.PARTS) == (change.since, change.parts)


def test_tree_leaves_nothing(project: Project) -> None:
    """Reading an earlier tree changes neither index nor work tree, and its folder is deleted."""
    repository = Repository(project.folder)
    since = repository.since("HEAD", {})
    assert since is not None
    git(project.folder, "config", "core.autocrlf", "false")
    (project.folder / "staged").write_text("x")
    git(project.folder, "add", "staged")
    with repository.tree(since) as tree:
        assert "X = 1\n" == (tree / "helper.py").read_text()
        assert not (tree / "staged").exists()
    assert not tree.exists()
    assert "A  staged" == git(project.folder, "status", "--porcelain")


# --- refusals -------------------------------------------------------------------------------------------------


def test_no_repository(tmp_path: Path) -> None:
    """Outside of a repository: exit code 1, what, where, what next, no traceback."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: late\ntime: at\nspan: day\n")
    (tmp_path / "schema.pbtxt").write_text("")
    (tmp_path / "preprocessing.py").write_text("def preprocessing_fn(inputs): ...\n")
    command = [sys.executable, "-m", "noria.pipeline", "ci", "-c", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE)
    assert (1, "") == (done.returncode, done.stdout)
    assert "not in a git repository" in done.stderr and str(tmp_path) in done.stderr
    assert "next" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("revision", ["v9.9", "", "--output=x", "HEAD~99"])
def test_unknown_revision(project: Project, revision: str) -> None:
    """A revision that is not there is refused by its name; one that looks like an option is not an option."""
    done = project.noria(f"--since={revision}", code=1)
    assert f"there is no revision {revision!r}" in done.stderr
    assert "Traceback" not in done.stderr and not (project.folder / "x").exists()


def test_shallow(project: Project, tmp_path: Path) -> None:
    """A shallow clone is refused with how to fetch the rest; not taken for a repository of one commit."""
    project.commit({"a": "1"})
    project.commit({"b": "1"})
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{project.folder}", str(clone))
    git(clone, "remote", "set-head", "origin", "-d")
    for revision in ("HEAD~1", None):
        with pytest.raises(RevisionError, match="shallow") as caught:
            Repository(clone).since(revision, {})
        assert "fetch-depth: 0" in str(caught.value.next_step)


def test_shallow_push(project: Project, tmp_path: Path) -> None:
    """A clone with HEAD^1, but without the commit before the push: refused, for the push may be longer than that.

    In a whole clone such a commit was pushed over, and the previous commit is compared with.
    """
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"before": git(project.folder, "rev-parse", "HEAD")}))
    for name in "abc":
        project.commit({name: "1"})
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{project.folder}", str(clone))
    assert git(clone, "rev-parse", "HEAD^1")
    with pytest.raises(RevisionError, match="the commit before the push, is not in it"):
        Repository(clone).since(None, {"GITHUB_EVENT_PATH": str(event)})
    with pytest.raises(RevisionError, match="shallow"):
        Repository(clone).since(None, {})
    event.write_text(json.dumps({"before": "1" * 40}))
    since = Repository(project.folder).since(None, {"GITHUB_EVENT_PATH": str(event)})
    assert "the previous commit" == (since and since.why)


def test_no_git(project: Project, tmp_path: Path) -> None:
    """Without git on the PATH: a sentence."""
    done = project.noria(code=1, PATH=str(tmp_path))
    assert "git is not installed" in done.stderr and "Traceback" not in done.stderr


def test_schema_missing(project: Project) -> None:
    """A project that cannot be read now is refused, not decided about."""
    (project.folder / "schema.pbtxt").unlink()
    assert "the schema cannot be read" in project.noria(code=1).stderr


# --- the command ----------------------------------------------------------------------------------------------


def test_json_and_github(served: Project, tmp_path: Path) -> None:
    """One JSON object; and GitHub's outputs and summary, where it names files for them. Nothing is turned."""
    served.commit({"helper.py": "X = 2\n", "README.md": "words\n"})
    output, summary = tmp_path / "output", tmp_path / "summary"
    output.write_text("earlier=1\n")
    done = served.noria("--json", GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(summary))
    told = json.loads(done.stdout)
    assert ("cold", True, ["preprocessing"]) == (told["verdict"], told["retrain"], told["changed"])
    assert (["preprocessing"], ["README.md"], 1) == (told["differing"], told["other_files"], told["champion"])
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert ("1", "cold", "true", "preprocessing") == tuple(
        outputs[name] for name in ("earlier", "verdict", "retrain", "changed")
    )
    assert "### rides: cold run" in summary.read_text() and "README.md" in summary.read_text()
    assert 1 == len(Registry(served.folder / "home").runs())


def test_in_words(served: Project) -> None:
    """People read the verdict, the reasons and the next command."""
    served.span(2)
    said = served.noria().stdout
    assert "rides  warm run" in said and "because  a new span waits: 2" in said
    assert "--action run" in said
