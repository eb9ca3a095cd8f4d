"""The compiled package, and what is refused at compile time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from noria.pipeline.config import load
from noria.pipeline.kubeflow import checks, compiler, place, tasks
from noria.stores.errors import ConfigError, LaneError

ROOT = Path(__file__).parents[4]
VOLUME = {"claim": "noria", "mount": "/noria/volume"}


def project(folder: Path, **changes: Any) -> Path:
    """The flights with a volume; keywords change keys of the section `kubeflow`, or of the file by `top`."""
    settings = yaml.safe_load((ROOT / "flights" / "noria.yaml").read_text())
    (folder / "schema.pbtxt").write_bytes((ROOT / "schemas" / "flights.pbtxt").read_bytes())
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
        secrets=[{"name": "store", "env": {"key": "STORE_KEY"}}],
        tasks={"retries": 2, "memory": "2Gi"},
        per_task={
            "Trainer": {"cpu": "1500m", "node_selector": {"pool": "big"}, "cache": True},
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
        assert [{"constant": "noria", "mountPath": "/noria/volume"}] == config["pvcMount"]
        assert "STORE_KEY" == config["secretAsEnv"][0]["keyToEnv"][0]["envVar"]
    assert {"pool": "big"} == executors["Trainer_executor"]["nodeSelector"]["labels"]


@pytest.mark.slow
def test_settings_per_task(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """`per_task` goes over `tasks`; nothing is cached unless asked for."""
    pipeline, _ = package
    graph, executors = pipeline["root"]["dag"]["tasks"], pipeline["deploymentSpec"]["executors"]
    assert {
        "cpuLimit": 1.5,
        "cpuRequest": 1.5,
        "memoryLimit": 2.147483648,
        "memoryRequest": 2.147483648,
    } == executors["Trainer_executor"]["container"]["resources"]
    assert {"Trainer"} == {
        name for name, task in graph.items() if task.get("cachingOptions", {}).get("enableCache")
    }
    assert 2 == graph["Pusher"]["retryPolicy"]["maxRetryCount"]
    assert not {"Report", "ReportBroken"} & {name for name, task in graph.items() if "retryPolicy" in task}
    assert {"registry.example.com/noria:7"} == {each["container"]["image"] for each in executors.values()}
    assert all(compiler.ENTRYPOINT in each["container"]["command"] for each in executors.values())


@pytest.mark.slow
def test_conditions_name_inputs_that_are_there(package: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Every artifact that a condition speaks of is among the task's inputs, and all but Ingest wait for news."""
    import re

    graph = package[0]["root"]["dag"]["tasks"]
    for name, task in graph.items():
        condition = task.get("triggerPolicy", {}).get("condition", "")
        named = set(re.findall(r"inputs\.artifacts\['([^']+)'\]", condition))
        assert named <= set(task["inputs"].get("artifacts", {})), name
        assert (name == "Ingest") == (not named)


@pytest.mark.slow
def test_paths_are_the_container_s(package: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    """No argument holds a path of the machine that compiled, and the run's id is the backend's to fill in."""
    graph = package[0]["root"]["dag"]["tasks"]

    def value(task: str, name: str) -> Any:
        return graph[task]["inputs"]["parameters"][name]["runtimeValue"]["constant"]

    assert "/noria/volume/home" == value("SpanExampleGen", "home")
    assert "/noria/project/schema.pbtxt" == value("SchemaGen", "schema_file")
    assert "{{$.pipeline_job_uuid}}" == value("Pusher", "run_id") == value("DataGate", "run_id")
    assert "next" == value("SpanExampleGen", "span")
    assert str(tmp_path.parent) not in json.dumps(package[0])


def test_the_config_travels(tmp_path: Path) -> None:
    """A task reads the settings that were compiled, with the container's paths, and no password."""
    folder = project(
        tmp_path, top={"metadata": "mysql://u:secret@host:3306/db", "data": {"source": "events/*.csv"}}
    )
    text = place.to_json(load(folder))
    there = place.from_json(text)
    assert "secret" not in text and str(tmp_path) not in text
    assert "/noria/project/events/*.csv" == there.data.source
    assert Path("/noria/volume/home/models/flights") == there.model_root
    assert load(folder).trainer_settings() == there.trainer_settings()


@pytest.mark.parametrize(
    ("changes", "what", "hint"),
    [
        ({"volume": None}, "there is no volume", "kubeflow.volume"),
        ({"home": "/elsewhere/home"}, "must lie on the volume", "/noria/volume/home"),
        ({"project": "/noria/volume/home/project"}, "must not lie in the home", "image"),
        ({"tasks": {"cache": True}}, "for most tasks a hit would be a lie", "per_task"),
        ({"per_task": {"Pusher": {"cache": True}}}, "writes to the registry", "may be cached"),
        ({"per_task": {"Ingest": {"cache": True}}}, "reads the data source", "may be cached"),
        ({"top": {"schema": "missing.pbtxt"}}, "the schema is not there", "noria init"),
        ({"top": {"data": "/data/events.csv"}}, "`data.source` is /data/events.csv", "/noria/volume"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], what: str, hint: str) -> None:
    """What the cluster would run into is refused, with the reason and the next step, before TFX is imported."""
    config = load(project(tmp_path, **changes))
    with pytest.raises(ConfigError) as caught:
        checks.check_config(config)
    assert what in caught.value.what
    assert hint in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"home": "s3://bucket/home"}, "mounted volume"),
        ({"top": {"home": "s3://bucket/home"}}, "object storage"),
        ({"pipeline_root": "hdfs://x/y"}, "s3://"),
        ({"per_task": {"Trainr": {}}}, "Trainer"),
        ({"tasks": {"memory": "lots"}}, "Kubernetes quantity"),
    ],
)
def test_config_refuses(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    """Values that no cluster can take are refused when the file is read."""
    with pytest.raises(ConfigError) as caught:
        load(project(tmp_path, **changes))
    assert what in str(caught.value)


def test_a_package_is_yaml(tmp_path: Path) -> None:
    """The client takes .yaml files only."""
    with pytest.raises(ConfigError, match="must be a .yaml file"):
        checks.check_output(tmp_path / "pipeline.json")


def test_kfp_is_an_extra(tmp_path: Path) -> None:
    """Without kfp, `noria compile` says what to install, in seconds, and writes nothing."""
    project(tmp_path)
    code = (
        "import sys; sys.modules['kfp'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.startswith('kfp') else real(name, *a)\n"
        "sys.argv = ['noria', 'compile', '--output', 'p.yaml']\n"
        "from noria.pipeline.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert 1 == done.returncode
    assert "pip install 'noria[kubeflow]'" in done.stderr
    assert not (tmp_path / "p.yaml").exists()


def test_newer_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """TFX's Kubeflow part ends at Python 3.11."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(LaneError, match="Python 3.10 or 3.11, this is 3.12"):
        checks.check_installed()


def test_never_cached_covers_the_wheel() -> None:
    """Each node has been decided on: it is never cached, or goes by its input artifacts alone."""
    from noria.pipeline.sections import NODES

    assert {"Transform", "Trainer", "Evaluator"} == set(NODES) - set(tasks.NEVER_CACHED)


@pytest.mark.slow
def test_nodes_that_do_not_run_there() -> None:
    """Resolvers, ids that Argo does not take, files picked by TFX, module files, exit handlers with parameters."""
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
    parameter = tfx.dsl.experimental.RuntimeParameter(name="home", ptype=str)
    for nodes, what in (
        ([champion("my_champion")], "with_id('my-champion')"),
        ([champion("a.b")], "with_id('a-b')"),
        ([resolver], "is a Resolver"),
        ([files], "picks its spans itself"),
        ([trainer], "module_file"),
    ):
        with pytest.raises(ConfigError) as caught:
            checks.check_nodes(nodes)
        assert what in str(caught.value)
    checks.check_nodes([champion("good", home=parameter)])
    with pytest.raises(ConfigError, match="do not go together"):
        checks.check_nodes([champion("good", home=parameter)], champion("last"))
