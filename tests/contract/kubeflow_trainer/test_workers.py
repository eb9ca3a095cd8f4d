"""Training in the pods of a TrainJob: the manifest, two real worker processes, and what fails."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from noria.core.errors import ClusterError
from noria.pipeline.config.kubeflow import Kubeflow
from noria.pipeline.runners.kubeflow.workers import exchange, executor, train_job
from tests.helpers import training_cluster
from tests.helpers.training_cluster import TrainingCluster

SECTION = {
    "image": "registry.example.com/noria:7",
    "workers": {"count": 2, "cpu": "4", "memory": "8Gi", "gpu": {"count": 1}},
    "secrets": [{"name": "store", "env": {"key": "STORE_KEY"}}],
    "config_maps": [{"name": "site", "env": {"zone": "ZONE"}}],
    "per_task": {"Trainer": {"env": {"TF_XLA_FLAGS": "--x"}}},
}
QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
SOURCE = {"key": {"type": "string"}, "name": {"type": "string"}, "optional": {"type": "boolean"}}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


# Of the CRD `trainjobs.trainer.kubeflow.org`, the fields that are used; equal in 2.0 to 2.3 and in August 2026.
REFERENCE = closed(["key"], **SOURCE)
VARIABLE = closed(
    ["name"],
    name={"type": "string"},
    value={"type": "string"},
    valueFrom=closed([], secretKeyRef=REFERENCE, configMapKeyRef=REFERENCE),
)
TRAINER = closed(
    [],
    image={"type": "string"},
    command={"type": "array", "items": {"type": "string"}},
    args={"type": "array", "items": {"type": "string"}},
    env={"type": "array", "items": VARIABLE},
    numNodes={"type": "integer"},
    resourcesPerNode=closed([], limits=QUANTITIES, requests=QUANTITIES),
)
RUNTIME = closed(["name"], apiGroup={"type": "string"}, kind={"type": "string"}, name={"type": "string"})
TRAIN_JOB = closed(
    [],
    apiVersion={"const": "trainer.kubeflow.org/v1alpha1"},
    kind={"const": "TrainJob"},
    metadata={
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
        },
        "required": ["name"],
    },
    spec=closed(["runtimeRef"], runtimeRef=RUNTIME, trainer=TRAINER),
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingCluster]:
    """A cluster that answers as Kubernetes with Kubeflow Trainer does."""
    from kubernetes.config import kube_config

    with training_cluster.running(tmp_path) as (made, file):
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        monkeypatch.setattr(train_job, "POLL", 0.1)
        yield made


def test_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fits the CRD, and has the task's image, resources, variables and Secrets; its pod owns it."""
    monkeypatch.setenv("KFP_POD_NAME", "flights-x7k2p-executor")
    monkeypatch.setenv("KFP_POD_UID", "a1b2")
    job = train_job.named(train_job.manifest(Kubeflow.model_validate(SECTION), "s3://bucket/home"))
    jsonschema.validate(job, TRAIN_JOB)
    name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
    (owner,) = job["metadata"]["ownerReferences"]
    assert ("Pod", "flights-x7k2p-executor", "a1b2") == (owner["kind"], owner["name"], owner["uid"])
    assert {"kind": "TrainingRuntime", "name": "noria"} == {
        key: job["spec"]["runtimeRef"][key] for key in ("kind", "name")
    }
    assert ("registry.example.com/noria:7", 2) == (trainer["image"], trainer["numNodes"])
    limits = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert {"requests": limits, "limits": limits} == trainer["resourcesPerNode"]
    assert [
        {"name": "TF_XLA_FLAGS", "value": "--x"},
        {"name": "STORE_KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "key"}}},
        {"name": "ZONE", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "zone"}}},
    ] == trainer["env"]
    assert ["--home", "s3://bucket/home", "--job", name] == [trainer["args"][i] for i in (0, 1, -2, -1)]


def _job(code: str) -> dict[str, Any]:
    job = train_job.manifest(Kubeflow.model_validate({"workers": {"count": 2}}), "/home")
    job["spec"]["trainer"] |= {"command": ["python", "-c", code]}
    return train_job.named(job)


def test_a_job_that_ends(cluster: TrainingCluster) -> None:
    """A job that is complete is deleted; one whose pod failed stays, with the reason."""
    assert train_job.run(_job("pass")) is None
    assert {} == cluster.jobs
    failed = train_job.run(_job("import os; exit(os.environ['JOB_COMPLETION_INDEX'] == '1')"))
    assert "FailedJobs: jobset failed due to one or more job failures" == failed
    assert 1 == len(cluster.jobs)


def test_a_job_that_is_refused(cluster: TrainingCluster) -> None:
    """Without the rights, or without Kubeflow Trainer, the error says what is needed."""
    cluster.refusal = 403
    with pytest.raises(ClusterError, match="403") as caught:
        train_job.run(_job("pass"))
    assert "deploy/base" in str(caught.value.next_step)


@pytest.mark.slow
def test_two_workers_are_one(
    week1: Path, tmp_path: Path, cluster: TrainingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes on two halves of each batch: the weights of one, but for rounding; notes and model come back."""
    from tfx.types import standard_artifacts

    from tests.helpers import training

    settings = {
        "family": "wide_deep",
        "hidden_units": [16, 8],
        "dropout": 0,  # every replica drops others
        "batch_size": 64,
        "steps": 20,
        "early_stop": {"every": 10},
    }
    alone = training.train(week1, tmp_path / "alone", settings)
    (tmp_path / "schema").mkdir()
    shutil.copy(training.SCHEMA, tmp_path / "schema")

    def artifact(kind: Any, place: Path) -> list[Any]:
        made = kind()
        made.uri = str(place)
        if kind is standard_artifacts.Examples:
            made.split_names = json.dumps(["train", "eval"])
        return [made]

    inputs = {
        "examples": artifact(standard_artifacts.Examples, week1 / "transformed"),
        "raw_examples": artifact(standard_artifacts.Examples, week1 / "raw"),
        "transform_graph": artifact(standard_artifacts.TransformGraph, week1 / "graph"),
        "schema": artifact(standard_artifacts.Schema, tmp_path / "schema"),
    }
    outputs = {
        "model": artifact(standard_artifacts.Model, tmp_path / "model"),
        "model_run": artifact(standard_artifacts.ModelRun, tmp_path / "model_run"),
    }
    several = {"label": training.LABEL, **settings, "strategy": "multi_worker"}
    section = Kubeflow.model_validate({"workers": {"count": 2}, "project": str(training.SCHEMA.parent)})
    job = train_job.manifest(section, str(tmp_path / "home"))
    monkeypatch.setenv(train_job.VARIABLE, json.dumps(job))
    try:
        executor.Executor().Do(inputs, outputs, {"settings": json.dumps(several)})
    except ClusterError as error:
        raise AssertionError(f"{error}\n{cluster.log.read_text()[-6000:]}") from error
    found = training.differences(alone, tmp_path / "model")
    assert max(found.values()) < 1e-5
    assert (tmp_path / "model" / "Format-Serving" / "saved_model.pb").is_file()
    assert [] == list((tmp_path / "home" / exchange.FOLDER).glob("*"))
