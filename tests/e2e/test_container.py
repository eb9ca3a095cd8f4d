"""The image of deploy/Dockerfile, and a project's on top of it, built by buildah: `make test-container`."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from noria.pipeline.runners.kubeflow import exit_handler

from . import containers
from .containers import Container
from .small import small_project

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/noria:latest"
PYTHON_OF = {"3.11": "bookworm"}  # Python -> the release of Debian that has it
USER = 1000
VERSIONS = (
    "import importlib.metadata as m, json;print(json.dumps({d.name: d.version for d in m.distributions()}))"
)

pytestmark = [pytest.mark.container, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    """Builds the image, on a Debian with its Python in place of the base that a registry has."""
    dockerfile = ROOT / "deploy" / "Dockerfile"
    base = re.search(
        r"^ARG BASE=(python:([\d.]+)-slim-(\w+))$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert base is not None
    name, python, release = base.groups()
    tar = containers.debian(
        [release, PYTHON_OF[python]], ["ca-certificates", f"python{python}", "python3-pip-whl"]
    )
    stand_in = Path(__file__).with_name("python.Dockerfile")
    containers.build(f"docker.io/library/{name}", stand_in, tar.parent, [f"PYTHON={python}"])
    containers.build(IMAGE, dockerfile, ROOT)


@pytest.fixture(scope="module")
def box(image: None) -> Iterator[Container]:
    """A container of the image."""
    with containers.container(IMAGE) as made:
        yield made


def inside(box: Container, *command: str, volumes: dict[Path, str] | None = None) -> str:
    """Runs a command in the image, with these folders of this machine in it; its standard output."""
    options = [f"--volume={host}:{there}" for host, there in (volumes or {}).items()]
    done = box.run(*command, options=options)
    assert 0 == done.returncode, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_user(box: Container) -> None:
    """The user is not root, and owns its folders, not the packages."""
    assert f"{USER} {USER}" == inside(box, "sh", "-c", "echo $(id -u) $(id -g)").strip()
    inside(
        box,
        "sh",
        "-c",
        "touch /noria/volume/x /noria/project/x /s3/x && rm /noria/volume/x /noria/project/x /s3/x",
    )
    said = inside(box, "sh", "-c", "touch /noria/env/x 2>/dev/null || echo refused")
    assert "refused" == said.strip()


def test_settings(box: Container) -> None:
    """The environment is the Dockerfile's, and nothing of the machine that built the image is in it."""
    names = {line.partition("=")[0] for line in inside(box, "env").splitlines()}
    dockerfile = {"PATH", "PYTHONUNBUFFERED", "TF_CPP_MIN_LOG_LEVEL", "GRPC_VERBOSITY"}
    assert dockerfile == names - {"HOME", "HOSTNAME", "PWD"}
    assert "" == inside(box, "find", "/etc/xdg", "-type", "f")


def test_no_tools(box: Container) -> None:
    """Nothing to build with is left: no compiler, no uv, no package index, not TensorFlow's headers."""
    headers = "import pathlib, tensorflow; print(*pathlib.Path(tensorflow.__file__).parent.glob('include'))"
    assert "" == inside(box, "sh", "-c", "command -v gcc g++ cc uv make; ls /var/lib/apt/lists; true").strip()
    assert "" == inside(box, "python", "-c", headers).strip()


def test_locked(box: Container) -> None:
    """Every package is the release of locks/current.txt, and those that only developers need are not there."""
    lock = (ROOT / "locks" / "current.txt").read_text(encoding="utf-8")
    found = json.loads(inside(box, "python", "-c", VERSIONS))
    del found["noria"]
    wrong = {
        f"{name}=={version}" for name, version in found.items() if f"{_plain(name)}=={version} " not in lock
    }
    assert set() == wrong
    assert set() == {"pytest", "mypy", "ruff", "uv"} & set(found)


def test_lane(box: Container) -> None:
    """The image is the current lane, on a C library that its wheels are made for."""
    checks = {
        check["name"]: check for check in json.loads(inside(box, "noria", "doctor", "--json"))["checks"]
    }
    assert "TFX 1.21" in checks["tfx"]["found"]
    assert "ok" == checks["tfx"]["state"]


def test_run(box: Container, tmp_path: Path) -> None:
    """A whole run of the pipeline in the image, as its user: from events to a served version."""
    small_project(tmp_path)
    settings = yaml.safe_load((tmp_path / "noria.yaml").read_text(encoding="utf-8"))
    shutil.copyfile(ROOT / "examples" / "flights" / "schema.pbtxt", tmp_path / "schema.pbtxt")
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump({**settings, "schema": "schema.pbtxt"}))
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, USER, USER)
    told = json.loads(
        inside(box, "noria", "run", "--runs", "1", "--json", volumes={tmp_path: "/noria/project"})
    )
    assert ["blessed"] == [run["model_verdict"] for run in told["runs"]]
    assert (tmp_path / "home" / "models" / "flights" / "1" / "saved_model.pb").is_file()
    assert {USER} == {path.stat().st_uid for path in tmp_path.rglob("*")}


def test_task(box: Container, tmp_path: Path) -> None:
    """A task as Kubeflow starts it: the compiled command, the launcher's request, artifacts in its folders."""
    small_project(tmp_path, kubeflow={"volume": {"claim": "noria"}})
    shutil.copyfile(ROOT / "examples" / "flights" / "schema.pbtxt", tmp_path / "schema.pbtxt")
    settings = yaml.safe_load((tmp_path / "noria.yaml").read_text(encoding="utf-8"))
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump({**settings, "schema": "schema.pbtxt"}))
    compiled = tmp_path / "package.yaml"
    command = [
        sys.executable,
        "-m",
        "noria.pipeline",
        "compile",
        "-c",
        str(tmp_path),
        "-o",
        str(compiled),
    ]
    subprocess.run(command, check=True, capture_output=True)
    spec = next(iter(yaml.safe_load_all(compiled.read_text(encoding="utf-8"))))
    container = spec["deploymentSpec"]["executors"]["ChampionResolver_executor"]["container"]
    task = exit_handler.stages(spec)["ChampionResolver"]["inputs"]["parameters"]
    parameters = {name: value["runtimeValue"]["constant"] for name, value in task.items()}
    request = json.dumps(_request(parameters))
    words = [request if word == "{{$}}" else word for word in [*container["command"], *container["args"]]]
    volume, minio, outputs = (tmp_path / name for name in ("volume", "minio", "outputs"))
    for folder in (volume / "home", minio, outputs):
        folder.mkdir(parents=True)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, USER, USER)
    places = {
        tmp_path: "/noria/project",
        volume: "/noria/volume",
        minio: "/minio",
        outputs: "/tmp/kfp_outputs",
    }
    inside(box, *words, volumes=places)
    told = json.loads((outputs / "output_metadata.json").read_text(encoding="utf-8"))
    (champion,) = told["artifacts"]["champion"]["artifacts"]
    assert CHAMPION == champion["uri"]
    assert ("absent", 0) == (champion["metadata"]["state"], champion["metadata"]["version"])
    assert (minio / "mlpipeline/noria/run-1/ChampionResolver/champion").is_dir()


def test_projects(tmp_path: Path) -> None:
    """A project on top has its code, settings and data, and no token; the flights have the package with theirs."""
    for name in (
        "noria.yaml",
        "schema.pbtxt",
        "preprocessing.py",
        "rides.csv",
        "token",
        "lib/codes.py",
        "lib/token",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    dockerfile = ROOT / "deploy" / "project.Dockerfile"
    containers.build("localhost/rides:1", dockerfile, tmp_path, [f"NORIA={IMAGE}"])
    with containers.container("localhost/rides:1") as box:
        found = inside(box, "find", ".", "-type", "f").split()
    expected = {"./noria.yaml", "./schema.pbtxt", "./preprocessing.py", "./rides.csv"}
    assert expected == set(found)
    # With its own Dockerfile, the project's .dockerignore applies.
    shutil.copyfile(dockerfile, tmp_path / "Dockerfile")
    ignore = dockerfile.with_name("project.Dockerfile.dockerignore").read_text(encoding="utf-8")
    (tmp_path / ".dockerignore").write_text(f"{ignore}!lib/*.py\n", encoding="utf-8")
    containers.build("localhost/rides:2", tmp_path / "Dockerfile", tmp_path, [f"NORIA={IMAGE}"])
    with containers.container("localhost/rides:2") as box:
        found = inside(box, "find", ".", "-type", "f").split()
    assert {*expected, "./lib/codes.py"} == set(found)
    flights = ROOT / "examples" / "flights"
    containers.build("localhost/flights:1", flights / "Dockerfile", flights, [f"NORIA={IMAGE}"])
    with containers.container("localhost/flights:1") as box:
        files = set(inside(box, "find", ".", "-type", "f").split())
        rows = inside(
            box, "python", "-B", "-c", "import flight_events; print(flight_events.table().num_rows)"
        )
        assert f"{USER}" == inside(box, "id", "-u").strip()
    assert {
        f"./{path.name}" for path in flights.iterdir() if path.suffix in (".py", ".yaml", ".pbtxt")
    } == files
    assert 336776 == int(rows)


CHAMPION = "minio://mlpipeline/noria/run-1/ChampionResolver/champion"


def _request(parameters: dict[str, str]) -> dict[str, Any]:
    """What the launcher of Kubeflow Pipelines 2.16 asks: inputs without a type, and an additional output."""
    untyped = {"type": {"instanceSchema": ""}}
    model = {"type": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
    news = {
        "name": "ingested",
        "uri": "minio://mlpipeline/noria/run-1/Ingest/ingested",
        "metadata": {"state": "waiting"},
    }
    logs = {"name": "executor-logs", "uri": f"{CHAMPION}/../executor-logs"}
    artifacts = {
        "champion": {"artifacts": [{"name": "champion", "uri": CHAMPION, **model}]},
        "executor-logs": {"artifacts": [{**logs, "type": {"schemaTitle": "system.Artifact"}}]},
    }
    return {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {"_Ingest.ingested": {"artifacts": [{**news, **untyped}]}},
        },
        "outputs": {"artifacts": artifacts, "outputFile": "/tmp/kfp_outputs/output_metadata.json"},
    }


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
