"""The workflows: what they call is there, and what they pass on is defined."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from noria.pipeline.cli import app
from noria.pipeline.cli.ci import write_github_outputs
from noria.pipeline.config import load
from noria.pipeline.retraining import decision as retraining
from noria.pipeline.runners.kubeflow.image import VARIABLE

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTEXTS = {"env", "github", "inputs", "matrix", "needs", "secrets", "steps", "vars"}


def workflow(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[list[str]]:
    """The words of every command line of every step."""
    steps = [step for job in workflow(path)["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    return [shlex.split(part) for line in lines for part in re.split(r"&&|\|", line)]


def expressions(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\$\{\{(.*?)\}\}", text)
    conditions = re.findall(r"^\s+if: (.*)$", text, re.MULTILINE)
    assert text.count("${{") == len(found), "an expression is not closed"
    return [*found, *conditions]


everyone = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


@everyone
def test_shape(path: Path) -> None:
    """Every job says where it runs and how long at most, needs only jobs that are there; rights are stated."""
    read = workflow(path)
    assert {"contents": "read"} == read["permissions"]
    for job in read["jobs"].values():
        assert job["runs-on"] and 0 < job["timeout-minutes"] <= 180
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(read["jobs"])
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert all(re.search(r"@v\d+$", step["uses"]) for step in job["steps"] if "uses" in step)


@everyone
def test_expressions(path: Path) -> None:
    """Expressions read known contexts only; outputs, inputs and matrix values are defined where they are read."""
    read = workflow(path)
    jobs, text = read["jobs"], " ".join(expressions(path))
    unquoted = re.sub(r"'[^']*'", "", text)
    assert set(re.findall(r"(?<![\w.])([a-z]+)\.", unquoted)) <= CONTEXTS
    for job, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert output in jobs[job]["outputs"]
    ids = {step["id"] for job in jobs.values() for step in job["steps"] if "id" in step}
    assert {step for step, _ in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text)} <= ids
    inputs = (read[True].get("workflow_dispatch") or {}).get("inputs", {})  # `on` is YAML 1.1 for true
    assert set(re.findall(r"\binputs\.(\w+)", text)) <= set(inputs)
    rows = [
        row for job in jobs.values() for row in job.get("strategy", {}).get("matrix", {}).get("include", [])
    ]
    assert all(name in row for name in re.findall(r"\bmatrix\.(\w+)", text) for row in rows)


@everyone
def test_commands(path: Path) -> None:
    """Each `noria` command with its options, each make target and each file that a step names is there."""
    known = typer.main.get_command(app.app).commands  # type: ignore[attr-defined]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(path):
        if words and words[0].endswith("/noria"):
            command = known[words[1]]
            command = getattr(command, "commands", {}).get(words[2], command)
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options
        if words[:1] == ["make"]:
            assert words[1] in targets
        named = [word.removeprefix("PYTEST_ARGS=") for word in words]
        for name in [
            each for word in named for each in word.split() if re.match(r"(deploy|tests|examples)(/|$)", each)
        ]:
            assert (ROOT / name).exists(), name


@everyone
def test_no_injection(path: Path) -> None:
    """What a person types or a secret holds reaches a shell as a variable, never as part of its text."""
    for job in workflow(path)["jobs"].values():
        for step in job["steps"]:
            assert [] == re.findall(r"\$\{\{ *(inputs|secrets|github|vars)\b", step.get("run", ""))


def test_outputs(tmp_path: Path) -> None:
    """The outputs that retrain.yml passes on are those that `noria ci` writes."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: late\ntime: at\n")
    output = tmp_path / "output"
    decision = retraining.Decision(retraining.NOTHING, ("no\nnew span",))
    environ = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": os.devnull}
    write_github_outputs(load(tmp_path), retraining.Change(None, ()), None, decision, environ)
    written = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert "no new span" == written["reason"]
    text = (ROOT / ".github" / "workflows" / "retrain.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"steps\.ci\.outputs\.(\w+)", text)) <= set(written)


def test_retrain_starts() -> None:
    """The model is checked on each merge to main and on request; a pull request only says what a merge would start."""
    retrain, short = (workflow(ROOT / ".github" / "workflows" / name) for name in ("retrain.yml", "ci.yml"))
    assert ({"branches": ["main"]}, True) == (retrain[True]["push"], "workflow_dispatch" in retrain[True])
    assert "pull_request" not in retrain[True] and "pull_request" in short[True]
    submits = [name for name in WORKFLOWS if any("submit" in words for words in commands(name))]
    assert ["retrain.yml"] == [path.name for path in submits]


def steps(job: str) -> list[dict[str, Any]]:
    return workflow(ROOT / ".github" / "workflows" / "retrain.yml")["jobs"][job]["steps"]


def test_the_package_runs_the_commit_s_image() -> None:
    """What is pushed last is what the package is compiled with: one name, with the commit in it, in the variable."""
    job = workflow(ROOT / ".github" / "workflows" / "retrain.yml")["jobs"]["submit"]
    assert "${{ vars.NORIA_IMAGE }}:${{ github.sha }}" == job["env"][VARIABLE]
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    pushed = [i for i, line in enumerate(lines) if f'docker push "${VARIABLE}"' in line]
    built = [i for i, line in enumerate(lines) if f'--tag "${VARIABLE}"' in line]
    submitted = [i for i, line in enumerate(lines) if re.search(r"/noria (ci|schedule create) ", line)]
    assert 1 == len(built) == len(pushed) and built < pushed < submitted
    assert 2 == len(submitted) and not any("--image" in line for line in lines)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("ghcr.io/o/noria", 0),
        ("registry.example.com:5000/ml/noria", 0),
        ("", 1),
        ("noria", 1),
        ("ghcr.io/o/noria:7", 1),
        ("ghcr.io/o/noria:latest", 1),
        ("ghcr.io/o/noria@sha256:0", 1),
    ],
)
def test_the_image_is_asked_for(image: str, code: int) -> None:
    """An empty name, one without a registry, or one with a tag is reported in the first step."""
    script = steps("submit")[0]["run"]
    environ = {"IMAGE": image, "TOKEN": "x", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-e", "-c", script], env=environ, capture_output=True, text=True)
    assert code == done.returncode
    assert (code == 1) == ("::error::" in done.stdout)


@pytest.mark.parametrize(
    ("config", "file", "folder"),
    [
        ("rides/noria.yaml", "deploy/project.Dockerfile", "rides"),
        ("rides", "deploy/project.Dockerfile", "rides"),
        ("own/noria.yaml", "own/Dockerfile", "own"),
        ("own", "own/Dockerfile", "own"),
        ("noria.yaml", "deploy/project.Dockerfile", "."),
    ],
)
def test_the_project_s_folder(tmp_path: Path, config: str, file: str, folder: str) -> None:
    """What goes into the image is the folder of NORIA_CONFIG, which may be the file or the folder, as --config."""
    for name in ("rides", "own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "noria.yaml").touch()
    (tmp_path / "own" / "Dockerfile").touch()
    (script,) = [step["run"] for step in steps("submit") if "project.Dockerfile" in step.get("run", "")]
    script = f'docker() {{ echo "$@"; }}\n{script}'
    environ = {"CONFIG": config, "IMAGE": "i", VARIABLE: "i:1", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ["--file", file, folder] == done.stdout.split()[-3:]


def test_head_names_what_is_read() -> None:
    """Every variable and secret that retrain.yml reads is explained at its head."""
    text = (ROOT / ".github" / "workflows" / "retrain.yml").read_text(encoding="utf-8")
    head = text.partition("\nname:")[0]
    assert set(re.findall(r"\b(?:vars|secrets)\.(\w+)", text)) == set(
        re.findall(r"^#   (\w+)", head, re.MULTILINE)
    )


def test_no_setup_python_on_debian() -> None:
    """setup-python has no build for Debian: only rows that name a Python ask for it."""
    job = workflow(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["suite"]
    (step,) = [each for each in job["steps"] if "setup-python" in each.get("uses", "")]
    assert "matrix.python != ''" == step["if"]
    for row in job["strategy"]["matrix"]["include"]:
        assert ("" == row["python"]) == row["image"].startswith("debian")
