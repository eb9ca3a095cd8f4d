"""What `deploy/` gives to Kubernetes: valid, least rights, and in step with the config's defaults."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from noria.pipeline.kubeflow.section import Kubeflow, Volume

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = ("1.29", kubernetes_validate.latest_version())  # what clusters run, and the newest


def manifests(folder: Path = DEPLOY / "base") -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    files = [folder / name for name in kustomization["resources"]]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def only(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_valid(version: str) -> None:
    """Every manifest of the base is what Kubernetes's OpenAPI schema says, with no field that it does not know."""
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_all_listed() -> None:
    """Every file of the base is a resource of its kustomization."""
    kustomization = yaml.safe_load((DEPLOY / "base" / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {path.name for path in (DEPLOY / "base").iterdir()} - {"kustomization.yaml"}
    assert files == set(kustomization["resources"])


def test_no_namespace() -> None:
    """The base names no namespace: the overlay does."""
    assert [] == [each["kind"] for each in manifests() if "namespace" in each["metadata"]]


def test_least_rights() -> None:
    """No rule has a wildcard, none reads all Secrets, and no account gets rights outside of its namespace."""
    for manifest in manifests():
        assert manifest["kind"] not in ("ClusterRole", "ClusterRoleBinding")
        for rule in manifest.get("rules", []):
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert [] == [word for word in words if "*" in word]
            assert "secrets" not in rule["resources"] or rule["resourceNames"]


def test_not_root() -> None:
    """The one pod of ours may do nothing that its work does not need, and runs as the image's user."""
    pod = only("Job", "noria-prepare")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert {"drop": ["ALL"]} == container["securityContext"]["capabilities"]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    user = pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]
    assert f"USER {user[0]}:{user[1]}" in dockerfile


def test_prepares_home() -> None:
    """The job makes the folder that the config takes for home, on the claim, where the tasks mount it."""
    config, claim = Kubeflow(), only("PersistentVolumeClaim", "noria")["metadata"]["name"]
    pod = only("Job", "noria-prepare")["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    assert config.home == container["command"][-1]
    assert Volume(claim=claim).mount == container["volumeMounts"][0]["mountPath"]
    assert claim == volume["persistentVolumeClaim"]["claimName"]
