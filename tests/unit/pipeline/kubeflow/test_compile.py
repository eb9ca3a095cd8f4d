"""The compiled package, and what is refused at compile time."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import kubernetes

from noria.core.errors import ConfigError, LaneError
from noria.pipeline import environment
from noria.pipeline.config import load
from noria.pipeline.config.kubeflow import TASKS
from noria.pipeline.runners.kubeflow import (
    checks,
    compiled_tasks,
    compiler,
    container_project,
    exit_handler,
    pod_checks,
)
from noria.pipeline.runners.kubeflow.image import VARIABLE, with_image
from noria.pipeline.runners.kubeflow.package import ROOMS
from noria.pipeline.runs import lineage
from tests.e2e.kubeflow_backend import cel, pod_spec, release, retries

ROOT = Path(__file__).parents[4]
# What the long-term lane's kfp-kubernetes has no word for.
PULLS = hasattr(kubernetes, "set_image_pull_secrets")
VOLUME = {"claim": "noria", "mount": "/noria/volume"}
ZONES = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
PLACED: dict[str, Any] = {
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [ZONES]}},
    "labels": {"kueue.x-k8s.io/queue-name": "team"},
    "annotations": {"example.com/cost": "42"},
    "deadline": "2h",
    "ephemeral_storage": {"size": "50Gi"},
    "shared_memory": "2Gi",
}


def project(folder: Path, **changes: Any) -> Path:
    """The flights with a volume; keywords change keys of the section `kubeflow`, or of the file by `top`."""
    folder.mkdir(exist_ok=True)
    settings = yaml.safe_load((ROOT / "examples" / "flights" / "noria.yaml").read_text())
    (folder / "schema.pbtxt").write_bytes((ROOT / "examples" / "flights" / "schema.pbtxt").read_bytes())
    top = changes.pop("top", {})
    section = {key: value for key, value in {"volume": VOLUME, **changes}.items() if value is not None}
    settings |= {"home": "home", "schema": "schema.pbtxt", "kubeflow": section, **top}
    (folder / "noria.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both documents of a compiled project that asks for everything."""
    folder = project(
        tmp_path_factory.mktemp("project"),
        image="registry.example.com/noria:7",
        pipeline_root="s3://bucket/noria",
        secrets=[
            {"name": "store", "env": {"key": "STORE_KEY"}},
            {"name": "more", "env": {"a.b": "MORE"}, "mount": "/secrets/more"},
        ],
        **(
            {
                "image_pull_policy": "Always",
                "image_pull_secrets": ["pull", "other"],
                "config_maps": [{"name": "site", "env": {"zone": "ZONE"}, "mount": "/site"}],
            }
            if PULLS
            else {}
        ),
        top={"trainer": {"strategy": "multi_worker"}},
        workers={"count": 3},
        tasks={"retries": 2, "memory": "2Gi"},
        per_task={
            "Trainer": {
                "cpu": "1500m",
                "node_selector": {"pool": "big", "example.com/zone": "a"},
                "gpu": {"count": 2},
                "retry_within": "90m",
                "env": {"TF_XLA_FLAGS": "--x"},
                "platform": {"secretAsVolume": [{"secretName": "raw", "mountPath": "/raw"}]},
                **(PLACED if PULLS else {}),
            },
            "Report": {"retries": 0},
        },
    )
    file = compiler.compile_package(load(folder), folder / "out" / "pipeline.yaml")
    pipeline, platform = yaml.safe_load_all(file.read_text())
    return pipeline, platform


@pytest.mark.slow
def test_both_documents_parse(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Schema 2.1.0, and every field is one that this kfp and this kfp-kubernetes know."""
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    pipeline, platform = package
    spec = json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(pipeline["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    assert ("2.1.0", "flights") == (spec.schema_version, spec.pipeline_info.name)
    assert "s3://bucket/noria" == spec.default_pipeline_root
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(pipeline["deploymentSpec"]["executors"]) == set(executors)
    for config in executors.values():
        json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        (mount,) = config["pvcMount"]
        assert ("noria", "/noria/volume") == (mount["constant"], mount["mountPath"])
        pairs = [pair for secret in config["secretAsEnv"] for pair in secret["keyToEnv"]]
        assert [("key", "STORE_KEY"), ("a.b", "MORE")] == [(p["secretKey"], p["envVar"]) for p in pairs]
    assert {"pool": "big", "example.com/zone": "a"} == executors["Trainer_executor"]["nodeSelector"]["labels"]


@pytest.mark.slow
def test_settings_per_task(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """`per_task` goes over `tasks`; nothing is cached."""
    pipeline, _ = package
    graph, executors = exit_handler.stages(pipeline), pipeline["deploymentSpec"]["executors"]
    policy = graph["Trainer"]["retryPolicy"]
    assert ("5400s", "30s") == (policy["backoffMaxDuration"], policy["backoffDuration"])
    assert "86400s" == graph["Pusher"]["retryPolicy"]["backoffMaxDuration"]
    variable, job = executors["Trainer_executor"]["container"]["env"]
    assert {"name": "TF_XLA_FLAGS", "value": "--x"} == variable
    assert 3 == json.loads(job["value"])["spec"]["trainer"]["numNodes"]
    arguments = executors["Trainer_executor"]["container"]["args"]
    assert "noria.pipeline.runners.kubeflow.workers.executor.Executor" in arguments
    assert {
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
        "cpuLimit": 1.5,
        "cpuRequest": 1.5,
        "memoryLimit": 2.147483648,
        "memoryRequest": 2.147483648,
    } == executors["Trainer_executor"]["container"]["resources"]
    assert not [name for name, task in graph.items() if task.get("cachingOptions", {}).get("enableCache")]
    assert 2 == graph["Pusher"]["retryPolicy"]["maxRetryCount"]
    assert not [name for name, task in graph.items() if "retryPolicy" in task and name.startswith("Report")]
    assert {"registry.example.com/noria:7"} == {each["container"]["image"] for each in executors.values()}
    assert all(compiler.ENTRYPOINT in each["container"]["command"] for each in executors.values())


@pytest.mark.slow
def test_argo_retries_what_is_compiled(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """A task that failed after an hour is tried again, also where the server puts 0 for a missing maximum."""
    policy = exit_handler.stages(package[0])["Pusher"]["retryPolicy"]
    assert 30.0 == retries.decide(policy, release.V2_16, "Failed", 1, 3600.0).wait
    assert 30.0 == retries.decide(policy, release.V2_17, "Error", 1, 3600.0).wait


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "alarm", "last"),
    [("ok", "no", "Report"), ("drifted", "yes", "ReportAlarm"), ("broken", "no", "ReportBroken")],
)
def test_one_task_ends_a_run(
    package: tuple[dict[str, Any], dict[str, Any]], verdict: str, alarm: str, last: str
) -> None:
    """Of the three tasks that end a run the verdicts choose one; its name is the outcome."""
    facts = {
        "_Ingest.ingested": {"state": "waiting"},
        "verdict": {"verdict": verdict},
        "_DataGate.verdict": {"verdict": verdict},
        "_Evaluator.blessing": {"alarm": alarm},
    }
    inputs = {"artifacts": {name: {"artifacts": [{"metadata": each}]} for name, each in facts.items()}}
    graph = exit_handler.stages(package[0])
    conditions = {
        name: task["triggerPolicy"]["condition"] for name, task in graph.items() if name.startswith("Report")
    }
    assert [last] == [name for name, text in conditions.items() if cel.evaluate(text, {"inputs": inputs})]


@pytest.mark.slow
def test_the_exit_handler_waits_for_all_else(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """`End` runs after the DAG of all other tasks, also if it failed; it is not a task of that DAG."""
    root = package[0]["root"]["dag"]["tasks"]
    assert {"Stages", "End"} == set(root)
    assert "ALL_UPSTREAM_TASKS_COMPLETED" == root["End"]["triggerPolicy"]["strategy"]
    assert ["Stages"] == root["End"]["dependentTasks"]
    assert "End" not in exit_handler.stages(package[0])


@pytest.mark.slow
def test_what_the_web_interface_shows(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The tasks that end a run have their page and the models' metrics in the types that Kubeflow renders."""
    for name in ("Report", "ReportAlarm", "ReportBroken"):
        component = package[0]["components"][exit_handler.stages(package[0])[name]["componentRef"]["name"]]
        outputs = component["outputDefinitions"]["artifacts"]
        kinds = {each["artifactType"].get("schemaTitle") for each in outputs.values()}
        assert {"system.HTML", "system.Metrics", "system.ClassificationMetrics"} <= kinds


@pytest.mark.slow
def test_what_kubernetes_is_asked_for(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Where a task may run, its volumes and labels are in the platform document; `platform` is merged over it."""
    executors = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    trainer, pusher = executors["Trainer_executor"], executors["Pusher_executor"]
    assert ["/secrets/more", "/raw"] == [each["mountPath"] for each in trainer["secretAsVolume"]]
    (mounted,) = pusher["secretAsVolume"]
    assert ("more", "/secrets/more") == (mounted["secretName"], mounted["mountPath"])
    if not PULLS:
        return
    assert "team" == trainer["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    assert {"example.com/cost": "42"} == trainer["podMetadata"]["annotations"]
    assert {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"} == trainer["tolerations"][0]
    (affinity,) = trainer["nodeAffinity"]
    assert [ZONES] == (
        affinity["nodeAffinityJson"]["runtimeValue"]["constant"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
    )
    assert "7200" == trainer["activeDeadlineSeconds"]
    assert [("/dev/shm", "Memory", "2Gi"), ("/tmp", None, "50Gi")] == [
        (each["mountPath"], each.get("medium"), each["sizeLimit"]) for each in trainer["emptyDirMounts"]
    ]
    assert ["/site"] == [each["mountPath"] for each in pusher["configMapAsVolume"]]


@pytest.mark.slow
def test_no_root_of_its_own(tmp_path: Path) -> None:
    """Where the project names no pipeline root, the package has none: that of the runs' namespace applies."""
    file = compiler.compile_package(load(project(tmp_path)), tmp_path / "pipeline.yaml")
    text = file.read_text()
    assert "defaultPipelineRoot" not in text and "minio://" not in text


@pytest.mark.slow
def test_what_a_version_is_named_after(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The code that runs in the tasks is the code whose digest is in the version's name."""
    said = [json.dumps(each["container"]) for each in package[0]["deploymentSpec"]["executors"].values()]
    rooms = {room for text in said for room in re.findall(r'"noria\.(\w+)\.', text)}
    assert {"components", "pipeline"} <= rooms <= set(ROOMS)


@pytest.mark.slow
def test_deprecated_fields_are_not_alone(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Where this kfp-kubernetes marks a field deprecated, its successor is written beside it."""
    from kfp.kubernetes import kubernetes_executor_config_pb2 as pb

    (mount,) = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["Pusher_executor"][
        "pvcMount"
    ]
    deprecated = (
        pb.DESCRIPTOR.message_types_by_name["PvcMount"].fields_by_name["constant"].GetOptions().deprecated
    )
    assert deprecated == ("pvcNameParameter" in mount)


@pytest.mark.slow
def test_how_the_image_is_fetched(package: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    """Policy and Secrets are every task's; a kfp-kubernetes without a word for them is named, nothing is dropped."""
    executors = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    if PULLS:
        for config in executors.values():
            assert "Always" == config["imagePullPolicy"]
            assert ["pull", "other"] == [each["secretName"] for each in config["imagePullSecret"]]
        checks.check_platform(load(project(tmp_path, image_pull_secrets=["pull"])))
    else:
        newer: list[tuple[str, dict[str, Any]]] = [
            ("image_pull_secrets", {"image_pull_secrets": ["pull"]}),
            ("image_pull_policy", {"image_pull_policy": "Always"}),
            ("config_maps", {"config_maps": [{"name": "site", "mount": "/site"}]}),
        ]
        newer += [
            (f"per_task.Trainer.{key}", {"per_task": {"Trainer": {key: PLACED[key]}}}) for key in PLACED
        ]
        for key, asked in newer:
            with pytest.raises(LaneError, match=f"does not support `kubeflow.{key}`"):
                checks.check_platform(load(project(tmp_path, **asked)))


@pytest.mark.slow
def test_the_lineage_is_the_container_s(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """No digest of this machine's packages is compiled in: the Pusher is given the settings, and makes it there."""
    pipeline = package[0]
    arguments = pipeline["deploymentSpec"]["executors"]["Pusher_executor"]["container"]["args"]
    assert "noria.pipeline.runners.kubeflow.pusher.Executor" in arguments
    given = exit_handler.stages(pipeline)["Pusher"]["inputs"]["parameters"]["code_digest"]
    there = container_project.from_json(given["runtimeValue"]["constant"])
    assert Path("/noria/project/schema.pbtxt") == there.schema_path


def test_the_pusher_makes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kubeflow the Pusher's own executor gets the digest of the project in the container."""
    from noria.components.pusher import executor
    from noria.pipeline.runners.kubeflow.pusher import Executor

    got = {}
    monkeypatch.setattr(executor.Executor, "Do", lambda self, i, o, properties: got.update(properties))
    config = load(project(tmp_path, project=str(tmp_path)))
    Executor().Do({}, {}, {"home": "h", "code_digest": container_project.to_json(config)})
    assert {"home": "h", "code_digest": lineage.digest(config)} == got


@pytest.mark.slow
def test_conditions_name_inputs_that_are_there(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Every artifact that a condition speaks of is among the task's inputs, and all but Ingest wait for news."""
    import re

    graph = exit_handler.stages(package[0])
    for name, task in graph.items():
        condition = task.get("triggerPolicy", {}).get("condition", "")
        named = set(re.findall(r"inputs\.artifacts\['([^']+)'\]", condition))
        assert named <= set(task["inputs"].get("artifacts", {})), name
        assert (name == "Ingest") == (not named)


@pytest.mark.slow
def test_paths_are_the_container_s(package: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    """No argument holds a path of the machine that compiled, and the run's id is the backend's to fill in."""
    graph = exit_handler.stages(package[0])

    def value(task: str, name: str) -> Any:
        return graph[task]["inputs"]["parameters"][name]["runtimeValue"]["constant"]

    assert "/noria/volume/home" == value("SpanExampleGen", "home")
    assert "/noria/project/schema.pbtxt" == value("SchemaGen", "schema_file")
    for task in ("SpanExampleGen", "DataGate", "Pusher"):
        assert "{{$.pipeline_job_uuid}}" == value(task, "run_id")
    assert "next" == value("SpanExampleGen", "span")
    assert str(tmp_path.parent) not in json.dumps(package[0])


def test_the_config_travels(tmp_path: Path) -> None:
    """A task reads the settings that were compiled, with the container's paths, and no password."""
    folder = project(
        tmp_path, top={"metadata": "mysql://u:secret@host:3306/db", "data": {"source": "events/*.csv"}}
    )
    text = container_project.to_json(load(folder))
    there = container_project.from_json(text)
    assert "secret" not in text and str(tmp_path) not in text
    assert "/noria/project/events/*.csv" == there.data.source
    assert Path("/noria/volume/home/models/flights") == there.model_root
    assert load(folder).trainer_settings() == there.trainer_settings()


@pytest.mark.parametrize("changes", [{"home": "s3://b/noria/"}, {"top": {"home": "gs://b/noria"}}])
def test_a_home_in_an_object_store_needs_no_volume(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Its tasks get the URL, and the folder of the working copy; nothing asks the object store."""
    config = load(project(tmp_path, volume=None, **changes))
    checks.check_config(config)
    assert config.cluster_home in ("s3://b/noria", "gs://b/noria")
    there = container_project.in_container(config)
    assert Path(container_project.COPY) / "models" / "flights" == there.model_root


@pytest.mark.parametrize(
    ("changes", "what", "hint"),
    [
        ({"volume": None}, "there is no volume", "kubeflow.volume"),
        ({"home": "/elsewhere/home"}, "must lie on the volume", "/noria/volume/home"),
        ({"project": "/noria/volume/home/project"}, "must not be in the home", "image"),
        (
            {"top": {"beam": {"args": ["--runner=FlinkRunner"]}}},
            "FlinkRunner, whose workers",
            "kubeflow.per_task",
        ),
        (
            {"top": {"beam": {"args": ["--runner", "SparkRunner"]}}},
            "SparkRunner, whose workers",
            "`noria run`",
        ),
        (
            {"top": {"beam": {"args": ["--runner=FlinkRunner"]}, "home": "s3://b/h"}, "volume": None},
            "FlinkRunner, whose workers",
            "kubeflow.per_task",
        ),
        (
            {"top": {"beam": {"per_component": {"Transform": ["--runner=DataflowRunner"]}}}},
            "`beam.per_component.Transform` names the runner DataflowRunner",
            "more cores",
        ),
        (
            {"top": {"trainer": {"strategy": "multi_worker"}}},
            "a description of the cluster",
            "kubeflow.workers",
        ),
        ({"workers": {"count": 2}}, "needs `trainer.strategy: multi_worker`, got none", "kubeflow.workers"),
        ({"top": {"schema": "missing.pbtxt"}}, "the schema does not exist", "noria init"),
        ({"top": {"data": "/data/events.csv"}}, "`data.source` is /data/events.csv", "/noria/volume"),
        ({"top": {"data": "../data/*.csv"}}, "in the container /noria/data/*.csv", "/noria/volume"),
        ({"top": {"data": {"source": "~/events.csv"}}}, "`data.source` is ~/events.csv", "/noria/volume"),
        ({"top": {"data": "a/../../x.csv"}, "home": "/noria/volume/h"}, "/noria/x.csv", "relative"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], what: str, hint: str) -> None:
    """What the cluster would run into is refused, with the reason and the next step, before TFX is imported."""
    config = load(project(tmp_path, **changes))
    with pytest.raises(ConfigError) as caught:
        checks.check_config(config)
    assert what in caught.value.what
    assert hint in str(caught.value.next_step)


STORE = {"name": "store", "mount": "/store"}
SITE = {"configMapAsVolume": [{"configMapName": "store", "mountPath": "/site"}]}


def pod_folder(mount: str) -> dict[str, Any]:
    """A folder of the pod, as `ephemeral_storage` writes it; the long-term lane has that by `platform` only."""
    return {"platform": {"emptyDirMounts": [{"volumeName": "ephemeral-storage", "mountPath": mount}]}}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"secrets": [{"name": "a.b", "mount": "/a"}]}, "the Secret 'a.b' cannot be mounted"),
        ({"secrets": [{"name": "s" * 64, "mount": "/a"}]}, "at most 63"),
        ({"secrets": [{"name": "s3-scratch", "mount": "/a"}]}, "Kubeflow has a volume of this name"),
        ({"volume": {"claim": "kfp-launcher"}}, "Kubeflow has a volume of this name"),
        (
            {"secrets": [STORE], "volume": {"claim": "store"}},
            "the claim 'store' and the Secret 'store' cannot",
        ),
        ({"secrets": [STORE], "tasks": {"platform": SITE}}, "the config map 'store' cannot both"),
        ({"secrets": [{"name": "s", "mount": "/noria/volume"}]}, "are both mounted at /noria/volume"),
        ({"per_task": {"Trainer": pod_folder("/noria")}}, "the task Trainer: .* would hide `project`"),
        ({"secrets": [{"name": "s", "mount": "/noria/volume/home"}]}, "would hide `home`"),
        ({"tasks": pod_folder("/minio")}, "Kubeflow's launcher keeps"),
        (
            {"secrets": [{"name": "s", "env": {"a": "KEY"}}], "per_task": {"End": {"env": {"KEY": "x"}}}},
            "the task End: the environment variable KEY is set twice",
        ),
    ],
)
def test_pods_that_cannot_start(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    """Volumes, mounts and variables of one name are refused: Kubernetes refuses the pod, or hides one of them."""
    config = load(project(tmp_path, **changes))
    with pytest.raises(ConfigError, match=what) as caught:
        pod_checks.check(config)
    assert "`mount`" in str(caught.value.next_step)
    assert problems(config) or "hide" in what


def problems(config: Any) -> list[str]:
    """What the model of Kubernetes says of the pods."""
    section = config.kubeflow
    platform = compiled_tasks.platform_spec(section, list(TASKS))["platforms"]["kubernetes"]
    documents = platform["deploymentSpec"]["executors"]
    return [
        problem
        for task, document in documents.items()
        for problem in pod_spec.problems(document, compiled_tasks.settings_of(section, task).env or {})
    ]


def test_pods_that_start(tmp_path: Path) -> None:
    """A Secret as variables and as files, a folder of the pod over `/tmp`, and the project on the volume."""
    store = [{"name": "store", "env": {"a": "KEY"}}, STORE]
    for changes in (
        {"secrets": store, "tasks": pod_folder("/tmp")},
        {"project": "/noria/volume/project", "tasks": pod_folder("/noria")},
        {"volume": None, "home": "s3://b/h", "tasks": pod_folder("/noria/volume")},
    ):
        config = load(project(tmp_path, **changes))
        pod_checks.check(config)
        assert [] == problems(config)


def test_fields_that_kubeflow_would_drop(tmp_path: Path) -> None:
    """A misspelled field of `platform` is refused; one that is like none of them may be a newer server's."""
    with pytest.raises(ConfigError, match="the task Trainer: .* did you mean 'tolerations'"):
        pod_checks.check(load(project(tmp_path, per_task={"Trainer": {"platform": {"toleration": []}}})))
    pod_checks.check(load(project(tmp_path, tasks={"platform": {"hostAliases": [], "securityContext": {}}})))


def test_a_task_s_names_are_added(tmp_path: Path) -> None:
    """Variables of one task are added to those of all, and win; what is one value is replaced."""
    everywhere = {"env": {"AWS_REGION": "a", "ZONE": "b"}, "memory": "2Gi", "node_selector": {"pool": "x"}}
    own = {"env": {"ZONE": "c"}, "memory": "4Gi"}
    section = load(project(tmp_path, tasks=everywhere, per_task={"Trainer": own})).kubeflow
    found = compiled_tasks.settings_of(section, "Trainer")
    assert ({"AWS_REGION": "a", "ZONE": "c"}, "4Gi", {"pool": "x"}) == (
        found.env,
        found.memory,
        found.node_selector,
    )
    assert section.tasks == compiled_tasks.settings_of(section, "Pusher")


def test_a_schema_beside_the_project(tmp_path: Path) -> None:
    """A relative path that leaves the folder would be another file's place in the container."""
    config = project(tmp_path / "rides", top={"schema": "../schema.pbtxt"})
    (tmp_path / "schema.pbtxt").write_text("")
    with pytest.raises(
        ConfigError, match=r"`schema` is \.\./schema\.pbtxt, in the container /noria/schema\.pbtxt"
    ):
        checks.check_config(load(config))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"home": "hdfs://bucket/home"}, "absolute path"),
        ({"top": {"home": "hdfs://bucket/home"}}, "s3:// or gs://"),
        ({"top": {"home": "s3://"}}, "and a bucket"),
        ({"pipeline_root": "hdfs://x/y"}, "s3://"),
        ({"per_task": {"Trainr": {}}}, "Trainer"),
        ({"tasks": {"memory": "lots"}}, "Kubernetes quantity"),
        ({"volume": {"claim": "Bad Claim!"}}, "lower-case letters"),
        ({"volume": {"claim": "a.b"}}, "the pod's volume"),
        ({"volume": {"claim": "a" * 64}}, "at most 63"),
        ({"volume": {"claim": "noria", "mount": "/s3/volume"}}, "Kubeflow's launcher keeps"),
        ({"secrets": [{"name": "s", "mount": "/minio"}]}, "Kubeflow's launcher keeps"),
        ({"secrets": [{"name": "s"}]}, "`env` or `mount`"),
        ({"secrets": [{"name": "s", "env": {"a": "KFP_POD_NAME"}}]}, "must not begin with KFP_"),
        ({"tasks": {"env": {"KFP_X": "1"}}}, "must not begin with KFP_"),
        ({"tasks": {"retry_within": "soon"}}, "an interval"),
        ({"tasks": {"retry_within": "30s"}}, "at least 1m"),
        ({"tasks": {"tolerations": [{"value": "x"}]}}, "operator: Exists"),
        ({"tasks": {"tolerations": [{"operator": "Exists", "value": "x"}]}}, "must have no value"),
        ({"tasks": {"tolerations": [{"key": "a", "seconds": 9}]}}, "effect: NoExecute"),
        ({"tasks": {"affinity": {"nodeAffinity": {}}}}, "requiredDuringScheduling"),
        ({"image": "Noria Latest!"}, "must be an image"),
        ({"image": "noria:"}, "must be an image"),
        ({"secrets": [{"name": "S_S", "env": {"a": "A"}}]}, "Kubernetes name"),
        ({"secrets": [{"name": "s", "env": {"a": "9 X"}}]}, "environment variables"),
        ({"secrets": [{"name": "s", "env": {"a b": "X"}}]}, "keys of a Secret"),
        ({"tasks": {"node_selector": {"a b": "c d"}}}, "a name such as"),
        ({"tasks": {"node_selector": {"pool": "c d"}}}, "values of at most 63 letters"),
        ({"image_pull_policy": "Sometimes"}, "IfNotPresent"),
        ({"image_pull_secrets": ["Pull!"]}, "Kubernetes name"),
    ],
)
def test_config_refuses(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    """Values that no cluster can take are refused when the file is read."""
    with pytest.raises(ConfigError) as caught:
        load(project(tmp_path, **changes))
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "image",
    [
        "noria",
        "noria:latest",
        "localhost:5000/noria",
        "registry.example.com:5000/ml/noria-x__y.z:v1.0_A",
        "ghcr.io/a/b@sha256:" + "0" * 64,
    ],
)
def test_images(tmp_path: Path, image: str) -> None:
    """Names as `docker push` takes them are taken."""
    assert image == load(project(tmp_path, image=image)).kubeflow.image


def test_the_image_is_chosen(tmp_path: Path) -> None:
    """The flag goes before the environment, the environment before the file; an empty one says nothing."""
    config = load(project(tmp_path, image="file:1"))
    environ = {VARIABLE: "environment:2"}
    assert "flag:3" == with_image(config, "flag:3", environ).kubeflow.image
    assert "environment:2" == with_image(config, None, environ).kubeflow.image
    assert "file:1" == with_image(config, "", {VARIABLE: ""}).kubeflow.image
    assert config.settings == with_image(config, "flag:3", {}).settings
    for flag, environ, where in (("Bad Image", {}, "--image"), (None, {VARIABLE: "a:b:c"}, VARIABLE)):
        with pytest.raises(ConfigError, match="must be an image") as caught:
            with_image(config, flag, environ)
        assert where == caught.value.where


def test_a_package_is_yaml(tmp_path: Path) -> None:
    """The client takes .yaml files only; the next step is one that it takes."""
    (tmp_path / "a folder").mkdir()
    for output in (tmp_path / "pipeline.json", tmp_path / "rides", tmp_path / "a folder", Path("/")):
        with pytest.raises(ConfigError, match="must be a .yaml file") as caught:
            checks.check_output(output)
        option, better = shlex.split(str(caught.value.next_step))
        checks.check_output(Path(better))
        assert "--output" == option and not Path(better).is_dir()


def test_kfp_is_an_extra(tmp_path: Path) -> None:
    """Without kfp, `noria compile` says what to install, in seconds, and writes nothing."""
    project(tmp_path)
    code = (
        "import sys; sys.modules['kfp'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.startswith('kfp') else real(name, *a)\n"
        "sys.argv = ['noria', 'compile', '--output', 'p.yaml']\n"
        "from noria.pipeline.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert 1 == done.returncode
    assert environment.how_to_install("kubeflow") in done.stderr
    assert not (tmp_path / "p.yaml").exists()


def test_newer_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """TFX's Kubeflow part ends at Python 3.11."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(LaneError, match="Python 3.10 or 3.11, this is 3.12"):
        checks.check_installed()


@pytest.mark.slow
def test_nodes_that_do_not_run_there() -> None:
    """Resolvers, ids that Argo does not take, files picked by TFX, module files."""
    from tfx import v1 as tfx

    from noria.components.champion.component import ChampionResolver

    def champion(name: str, **values: Any) -> Any:
        return ChampionResolver(**{"home": "h", "model_root": "m", **values}).with_id(name)

    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
    ).with_id("Latest")
    files = tfx.components.CsvExampleGen(input_base="x")
    trainer = tfx.components.Trainer(
        examples=files.outputs["examples"],
        module_file="trainer.py",
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    for nodes, what in (
        ([champion("my_champion")], "with_id('my-champion')"),
        ([champion("a.b")], "with_id('a-b')"),
        ([resolver], "is a Resolver"),
        ([files], "chooses its spans itself"),
        ([trainer], "module_file"),
    ):
        with pytest.raises(ConfigError) as caught:
            checks.check_nodes(nodes)
        assert what in str(caught.value)
    checks.check_nodes([champion("good")])
