"""The Trainer as a TFX component: artifacts in, FnArgs, artifacts out."""

import json
import shutil
from pathlib import Path

import pytest

from noria.components.keras3 import ensure_keras3
from noria.core.errors import ConfigError

tf = ensure_keras3()

from tfx.types import channel_utils, standard_artifacts  # noqa: E402

from noria.components.trainer.component import Trainer  # noqa: E402
from noria.components.trainer.executor import Executor  # noqa: E402
from tests.helpers import training  # noqa: E402

SETTINGS = {
    "label": "late",
    "family": "wide_deep",
    "hidden_units": [8],
    "steps": 5,
    "early_stop": None,
    "tensorboard": False,
}


@pytest.fixture
def inputs(week1, tmp_path) -> dict:
    """The component's input artifacts; the champion is absent."""
    found = {}
    for name, folder in (("examples", "transformed"), ("raw_examples", "raw")):
        artifact = standard_artifacts.Examples()
        artifact.uri, artifact.split_names = str(week1 / folder), '["train","eval"]'
        found[name] = [artifact]
    found["raw_examples"][0].set_string_custom_property("mode", "cold")
    found["raw_examples"][0].set_string_custom_property("rows", '{"train": 1500, "eval": 300}')
    graph, schema, champion = (
        standard_artifacts.TransformGraph(),
        standard_artifacts.Schema(),
        standard_artifacts.Model(),
    )
    graph.uri = str(week1 / "graph")
    schema.uri = str(tmp_path / "schema")
    (tmp_path / "schema").mkdir()
    shutil.copy(week1 / "graph" / "metadata" / "schema.pbtxt", tmp_path / "schema")
    champion.uri = str(tmp_path / "champion")
    champion.set_string_custom_property("state", "absent")
    return found | {"transform_graph": [graph], "schema": [schema], "champion": [champion]}


def run(inputs: dict, folder: Path, **properties: str) -> Path:
    """Runs the executor; gives the model's folder."""
    model, model_run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, model_run.uri = str(folder / "model"), str(folder / "model_run")
    properties = {"settings": json.dumps(SETTINGS), "project": "", **properties}
    Executor().Do(inputs, {"model": [model], "model_run": [model_run]}, properties)
    return folder / "model"


def test_cold_then_warm(inputs, week1, tmp_path):
    """An absent champion is dropped; a present one is the start of a warm run."""
    first = run(inputs, tmp_path / "first")
    assert "cold" == json.loads((first / "warm_start.json").read_text())["mode"]
    training.publish(first, week1 / "graph")
    champion = inputs["champion"][0]
    champion.uri = str(first)
    champion.set_string_custom_property("state", "present")
    champion.set_int_custom_property("version", 7)
    again = run(inputs, tmp_path / "again")
    assert "cold" == json.loads((again / "warm_start.json").read_text())["mode"]
    inputs["raw_examples"][0].set_string_custom_property("mode", "warm")
    second = json.loads((run(inputs, tmp_path / "second") / "warm_start.json").read_text())
    assert ("warm", 7, 5, 10) == (
        second["mode"],
        second["from_version"],
        second["start_step"],
        second["step"],
    )


STOCK = """
import json
import tensorflow as tf

def run_fn(fn_args):
    graph = __import__("tensorflow_transform").TFTransformOutput(fn_args.transform_output)
    names = sorted(graph.transformed_feature_spec())
    rows = sum(1 for f in tf.io.gfile.glob(fn_args.train_files) for _ in tf.data.TFRecordDataset(f, "GZIP"))
    facts = {"names": names, "rows": rows, "steps": fn_args.train_steps, "base": fn_args.base_model}
    module = tf.Module()
    module.one = tf.function(lambda x: x, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, fn_args.serving_model_dir)
    with open(fn_args.serving_model_dir + "/facts.json", "w") as file:
        json.dump(facts, file)

def idle(fn_args):
    pass
"""


def test_users_stock_run_fn(inputs, tmp_path):
    """A run_fn written for TFX's Trainer finds what it looks for."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "stock_trainer.py").write_text(STOCK)
    settings = json.dumps({"run_fn": "stock_trainer.run_fn", "epochs": 2, "batch_size": 100})
    model = run(inputs, tmp_path, project=str(project), settings=settings)
    facts = json.loads((model / "Format-Serving" / "facts.json").read_text())
    assert (1500, 30, None) == (facts["rows"], facts["steps"], facts["base"])
    assert {"late", "dest"} <= set(facts["names"])


def test_run_fn_that_leaves_no_model(inputs, tmp_path):
    """A run_fn that returns without a model is an error, not an empty artifact."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "idle_trainer.py").write_text(STOCK)
    with pytest.raises(ConfigError, match="without a SavedModel"):
        run(inputs, tmp_path, project=str(project), settings='{"run_fn": "idle_trainer.idle"}')


def test_component_takes_a_dict_of_settings():
    """Settings become one JSON string, the same for the same settings."""
    channels = {
        "examples": standard_artifacts.Examples,
        "raw_examples": standard_artifacts.Examples,
        "transform_graph": standard_artifacts.TransformGraph,
        "schema": standard_artifacts.Schema,
        "champion": standard_artifacts.Model,
    }
    given = {name: channel_utils.as_channel([kind()]) for name, kind in channels.items()}
    trainer = Trainer(**given, settings={"b": 1, "a": [2]})
    assert '{"a": [2], "b": 1}' == trainer.exec_properties["settings"]
    assert ["model", "model_run"] == sorted(trainer.outputs)
