"""The image, made of the Dockerfile's own lines in a clean root file system: `make test-container`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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
    """Nothing to build with is left: no compiler, no uv, no headers, no package index."""
    said = inside(
        "sh",
        "-c",
        "command -v gcc g++ cc uv make; ls /var/lib/apt/lists; find /noria -name '*.h' | head -1; true",
    )
    assert [] == [line for line in said.split() if "/include/" not in line]


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
    assert "TFX 1.21" in checks["lane"]["found"]
    assert "ok" == checks["lane"]["state"]


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


@pytest.mark.parametrize("folder", ["base", "overlays/example"])
def test_renders(folder: str) -> None:
    """kubectl renders the kustomization, and what comes out is valid."""
    import kubernetes_validate

    command = ["kubectl", "kustomize", str(ROOT / "deploy" / folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rendered = [manifest for manifest in yaml.safe_load_all(text) if manifest]
    for manifest in rendered:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    kinds = {manifest["kind"] for manifest in rendered}
    assert {"PersistentVolumeClaim", "Job", "ServiceAccount", "Role", "RoleBinding"} <= kinds


def test_overlay_fits() -> None:
    """The overlay's own names reach what is rendered: namespace, image, storage class, Secret."""
    command = ["kubectl", "kustomize", str(ROOT / "deploy" / "overlays" / "example")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    assert {"kubeflow"} == {each["metadata"]["namespace"] for each in found.values()}
    (container,) = found["Job", "noria-prepare"]["spec"]["template"]["spec"]["containers"]
    assert "registry.example.com/ml/noria:0.1.0" == container["image"]
    assert "nfs-client" == found["PersistentVolumeClaim", "noria"]["spec"]["storageClassName"]
    assert ("Secret", "noria-object-store") in found


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
