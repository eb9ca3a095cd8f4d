"""The image, made of the Dockerfile's own lines in a clean root file system: `make test-container`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .small import small_project

ROOT = Path(__file__).parents[2]
ROOTFS = ROOT / "deploy" / "rootfs.py"
FOLDER = ROOT / ".setup" / "rootfs"
USER = 1000
VERSIONS = (
    "import importlib.metadata as m, json;print(json.dumps({d.name: d.version for d in m.distributions()}))"
)

pytestmark = [pytest.mark.container, pytest.mark.timeout(3000)]


def rootfs(*arguments: str, code: int = 0) -> str:
    """Runs deploy/rootfs.py and returns its standard output."""
    done = subprocess.run([sys.executable, str(ROOTFS), *arguments], capture_output=True, text=True)
    assert code == done.returncode, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def inside(*command: str, bind: Path | None = None) -> str:
    """Runs a command in the image; `bind` is the project's folder."""
    binds = [f"--bind={bind}:/noria/project"] if bind else []
    return rootfs("run", *binds, str(FOLDER), *command)


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    """Builds the image anew; the base of an earlier run is taken."""
    rootfs("build", str(FOLDER))


def test_user() -> None:
    """The user is not root, and owns its folders, not the packages."""
    assert f"{USER} {USER}" == inside("sh", "-c", "echo $(id -u) $(id -g)").strip()
    inside(
        "sh",
        "-c",
        "touch /noria/volume/x /noria/project/x /s3/x && rm /noria/volume/x /noria/project/x /s3/x",
    )
    said = inside("sh", "-c", "touch /noria/env/x 2>/dev/null || echo refused")
    assert "refused" == said.strip()


def test_no_tools() -> None:
    """Nothing to build with is left: no compiler, no uv, no package index, not TensorFlow's headers."""
    headers = "import pathlib, tensorflow; print(*pathlib.Path(tensorflow.__file__).parent.glob('include'))"
    assert "" == inside("sh", "-c", "command -v gcc g++ cc uv make; ls /var/lib/apt/lists; true").strip()
    assert "" == inside("python", "-c", headers).strip()


def test_locked() -> None:
    """Every package is the release of locks/current.txt, and those that only developers need are not there."""
    lock = (ROOT / "locks" / "current.txt").read_text(encoding="utf-8")
    found = json.loads(inside("python", "-c", VERSIONS))
    del found["noria"]
    wrong = {
        f"{name}=={version}" for name, version in found.items() if f"{_plain(name)}=={version} " not in lock
    }
    assert set() == wrong
    assert set() == {"pytest", "mypy", "ruff", "uv"} & set(found)


def test_lane() -> None:
    """The image is the current lane, on a C library that its wheels are made for."""
    checks = {check["name"]: check for check in json.loads(inside("noria", "doctor", "--json"))["checks"]}
    assert "TFX 1.21" in checks["tfx"]["found"]
    assert "ok" == checks["tfx"]["state"]


def test_turn(tmp_path: Path) -> None:
    """A whole turn of the wheel in the image, as its user: from events to a served version."""
    small_project(tmp_path)
    settings = yaml.safe_load((tmp_path / "noria.yaml").read_text(encoding="utf-8"))
    shutil.copyfile(ROOT / "schemas" / "flights.pbtxt", tmp_path / "schema.pbtxt")
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump({**settings, "schema": "schema.pbtxt"}))
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, USER, USER)
    told = json.loads(inside("noria", "run", "--turns", "1", "--json", bind=tmp_path))
    assert ["blessed"] == [turn["model_verdict"] for turn in told["turns"]]
    assert (tmp_path / "home" / "models" / "flights" / "1" / "saved_model.pb").is_file()
    assert {USER} == {path.stat().st_uid for path in tmp_path.rglob("*")}


def test_task(tmp_path: Path) -> None:
    """A task as Kubeflow starts it: the compiled command, the launcher's request, artifacts in its folders."""
    small_project(tmp_path, kubeflow={"volume": {"claim": "noria"}})
    shutil.copyfile(ROOT / "schemas" / "flights.pbtxt", tmp_path / "schema.pbtxt")
    settings = yaml.safe_load((tmp_path / "noria.yaml").read_text(encoding="utf-8"))
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump({**settings, "schema": "schema.pbtxt"}))
    compiled = tmp_path / "package.yaml"
    command = [
        sys.executable,
        "-m",
        "noria.pipeline.cli",
        "compile",
        "-c",
        str(tmp_path),
        "-o",
        str(compiled),
    ]
    subprocess.run(command, check=True, capture_output=True)
    spec = next(iter(yaml.safe_load_all(compiled.read_text(encoding="utf-8"))))
    container = spec["deploymentSpec"]["executors"]["ChampionResolver_executor"]["container"]
    task = spec["root"]["dag"]["tasks"]["ChampionResolver"]["inputs"]["parameters"]
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
    rootfs("run", *(f"--bind={host}:{there}" for host, there in places.items()), str(FOLDER), *words)
    told = json.loads((outputs / "output_metadata.json").read_text(encoding="utf-8"))
    (champion,) = told["artifacts"]["champion"]["artifacts"]
    assert CHAMPION == champion["uri"]
    assert ("absent", 0) == (champion["metadata"]["state"], champion["metadata"]["version"])
    assert (minio / "mlpipeline/noria/run-1/ChampionResolver/champion").is_dir()


CHAMPION = "minio://mlpipeline/noria/run-1/ChampionResolver/champion"


def _request(parameters: dict[str, str]) -> dict[str, Any]:
    """What the launcher of Kubeflow Pipelines 2.16 asks: inputs without a type, and an output of its own."""
    untyped = {"type": {"instanceSchema": ""}}
    model = {"type": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
    news = {
        "name": "news",
        "uri": "minio://mlpipeline/noria/run-1/Ingest/news",
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
            "artifacts": {"_Ingest.news": {"artifacts": [{**news, **untyped}]}},
        },
        "outputs": {"artifacts": artifacts, "outputFile": "/tmp/kfp_outputs/output_metadata.json"},
    }


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
