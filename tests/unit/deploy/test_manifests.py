"""What `deploy/` gives to Kubernetes: valid, least rights, and in step with the config's defaults."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from noria.pipeline.config.kubeflow import Volume, Workers
from noria.pipeline.config.project import Config

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = ("1.29", kubernetes_validate.latest_version())  # what clusters run, and the newest


FOLDERS = ("base", "volume", "prepare", "ingest", "training")


def resources(folder: str) -> list[str]:
    kustomization = (DEPLOY / folder / "kustomization.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(kustomization)["resources"]


def manifests() -> list[dict[str, Any]]:
    files = [DEPLOY / folder / name for folder in FOLDERS for name in resources(folder)]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def only(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_valid(version: str) -> None:
    """Every manifest is what Kubernetes's OpenAPI schema says, with no field that it does not know."""
    for manifest in manifests():
        if manifest["kind"] == "TrainingRuntime":  # Trainer's own kind around a Job
            (job,) = manifest["spec"]["template"]["spec"]["replicatedJobs"]
            manifest = {"apiVersion": "batch/v1", "kind": "Job", **job["template"]}
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_listed(folder: str) -> None:
    """Every file is a resource of its folder's kustomization."""
    files = {path.name for path in (DEPLOY / folder).iterdir()} - {"kustomization.yaml"}
    assert files == set(resources(folder))


def test_data_is_separate() -> None:
    """Deleting or applying the accounts again touches neither the volume nor the Job, which cannot be changed."""
    assert ["volume.yaml"] == resources("volume") and ["prepare.yaml"] == resources("prepare")
    for file in (DEPLOY / "overlays").rglob("kustomization.yaml"):
        base = {Path(name).name for name in yaml.safe_load(file.read_text(encoding="utf-8"))["resources"]}
        assert 1 == len(base & set(FOLDERS)), file


def test_job_ends_under_a_mesh() -> None:
    """No sidecar is added to the Job's pod, for both settings that Istio may read."""
    metadata = only("Job", "noria-prepare")["spec"]["template"]["metadata"]
    for kind in ("labels", "annotations"):
        assert {"sidecar.istio.io/inject": "false"} == metadata[kind]


def test_no_namespace() -> None:
    """No manifest names a namespace: the overlay does."""
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


def test_the_ingester_is_as_restricted() -> None:
    """It runs as the prepared volume's user, and answers its probes where it serves its metrics."""
    spec = only("Deployment", "noria-ingest")["spec"]["template"]["spec"]
    job = only("Job", "noria-prepare")["spec"]["template"]["spec"]
    assert job["securityContext"] == spec["securityContext"] and not spec["automountServiceAccountToken"]
    (container,) = spec["containers"]
    assert job["containers"][0]["securityContext"] == container["securityContext"]
    (port,) = container["ports"]
    assert f":{port['containerPort']}" == container["command"][-1]


def test_the_workers_are_as_restricted() -> None:
    """Kubeflow Trainer finds job and container by these names; the pod is the prepared volume's user, and has it."""
    (job,) = only("TrainingRuntime", "noria")["spec"]["template"]["spec"]["replicatedJobs"]
    step = job["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"]
    pod = job["template"]["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    assert ("node", "trainer", "node") == (job["name"], step, container["name"])
    assert 0 == job["template"]["spec"]["backoffLimit"]
    prepare = only("Job", "noria-prepare")["spec"]["template"]["spec"]
    assert prepare["securityContext"] == pod["securityContext"]
    assert not pod["automountServiceAccountToken"]
    assert prepare["volumes"] == [volume]
    assert prepare["containers"][0]["volumeMounts"] == container["volumeMounts"]
    assert "noria" == Workers(count=2).runtime


def test_prepares_home() -> None:
    """The job makes the folder that the config takes for home, on the claim, where the tasks mount it."""
    config = Config(name="rides", label="big_tip", span="rows:100")
    claim = only("PersistentVolumeClaim", "noria")["metadata"]["name"]
    pod = only("Job", "noria-prepare")["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    assert config.cluster_home == container["command"][-1]
    assert Volume(claim=claim).mount == container["volumeMounts"][0]["mountPath"]
    assert claim == volume["persistentVolumeClaim"]["claimName"]
