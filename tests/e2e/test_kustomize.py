"""kubectl on `deploy/`: `make test-container`."""

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"

pytestmark = pytest.mark.container


def rendered(folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `kubectl kustomize` prints, by kind and name."""
    command = ["kubectl", "kustomize", str(DEPLOY / folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


PARTS = {
    "": {"ServiceAccount", "Role", "RoleBinding"},
    "volume": {"PersistentVolumeClaim"},
    "prepare": {"Job"},
    "training": {"TrainingRuntime"},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("overlay", [False, True])
def test_renders(part: str, overlay: bool) -> None:
    """kubectl renders the kustomization, and what comes out is valid."""
    found = rendered(f"overlays/example/{part}" if overlay else part or "base")
    for manifest in found.values():
        if manifest["kind"] != "TrainingRuntime":  # not Kubernetes's own
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    kinds = {kind for kind, _ in found}
    assert PARTS[part] == kinds - {"Secret"}


def test_overlay_fits() -> None:
    """The overlay's own names reach what is rendered: namespace, image, storage class, Secret."""
    found = {name: each for part in PARTS for name, each in rendered(f"overlays/example/{part}").items()}
    assert {"kubeflow"} == {each["metadata"]["namespace"] for each in found.values()}
    (container,) = found["Job", "noria-prepare"]["spec"]["template"]["spec"]["containers"]
    assert "registry.example.com/ml/noria:0.1.0" == container["image"]
    assert "nfs-client" == found["PersistentVolumeClaim", "noria"]["spec"]["storageClassName"]
    assert ("Secret", "noria-object-store") in found
