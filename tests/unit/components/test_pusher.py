"""The Pusher as a TFX component: a blessed model that answers is served; any other is only registered."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import artifact, standard_artifacts

from noria.components.pusher.executor import Executor
from noria.components.types import DataVerdict
from noria.stores import model_directory
from noria.stores.registry import Registry

ROW = tf.train.Example(
    features=tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5]))})
).SerializeToString()


def saved(folder: Path, score: float) -> None:
    """A SavedModel that scores each row so, or with NaN."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
            return {"score": tf.fill(tf.shape(x), score)}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})


def made(kind: type[artifact.Artifact], folder: Path) -> artifact.Artifact:
    result = kind()
    result.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return result


@pytest.fixture
def push(tmp_path: Path):
    """A function of run id, blessing and score: pushes such a model on span 1, 2, ...; gives the artifact."""

    def pushed(
        run_id: str,
        blessed: bool,
        score: float = 0.25,
        beside: bool = True,
        rollout: int = 0,
        mode: str = "cold",
        **facts: object,
    ) -> standard_artifacts.PushedModel:
        folder, registry = tmp_path / run_id, Registry(tmp_path / "home")
        kinds = {
            "model": standard_artifacts.Model,
            "model_blessing": standard_artifacts.ModelBlessing,
            "evaluation": standard_artifacts.ModelEvaluation,
            "transform_graph": standard_artifacts.TransformGraph,
            "statistics": standard_artifacts.ExampleStatistics,
            "schema": standard_artifacts.Schema,
            "examples": standard_artifacts.Examples,
            "champion": standard_artifacts.Model,
            "verdict": DataVerdict,
        }
        inputs = {name: [made(kind, folder / name)] for name, kind in kinds.items()}
        saved(folder / "model" / "Format-Serving", score)
        if beside:
            (folder / "model" / "checkpoint").mkdir()
            (folder / "model" / "warm_start.json").write_text("{}")
        inputs["model_blessing"][0].set_int_custom_property("blessed", int(blessed))
        reasons = ["auc 0.70 (champion 1: 0.60)"] if blessed else ["auc 0.50 is below 0.60"]
        verdict = {
            "blessed": blessed,
            "reasons": reasons,
            "metrics": {"challenger": {"auc": 0.7}, "champion": None},
            **facts,
        }
        (folder / "evaluation" / "model_verdict.json").write_text(json.dumps(verdict))
        (folder / "verdict" / "data_verdict.json").write_text(json.dumps({"verdict": "ok", "reasons": []}))
        (folder / "statistics" / "Split-train").mkdir()
        (folder / "examples" / "Split-eval").mkdir()
        with tf.io.TFRecordWriter(str(folder / "examples" / "Split-eval" / "rows.gz"), "GZIP") as records:
            records.write(ROW)
        examples, champion = inputs["examples"][0], registry.champion()
        examples.split_names, examples.span = '["train", "eval"]', len(registry.runs()) + 1
        for name, value in {
            "mode": mode,
            "spans": "[1]",
            "span_versions": json.dumps({examples.span: 7}),
            "rows": '{"train": 4, "eval": 1}',
        }.items():
            examples.set_string_custom_property(name, value)
        inputs["transform_graph"][0].set_string_custom_property("transform", "refresh")
        inputs["champion"][0].set_string_custom_property("state", "present" if champion else "absent")
        inputs["champion"][0].set_int_custom_property("version", champion.version if champion else 0)
        output = made(standard_artifacts.PushedModel, folder / "pushed")
        properties = {
            "home": str(tmp_path / "home"),
            "model_root": str(tmp_path / "models"),
            "run_id": run_id,
            "code_digest": "c",
            "task": "binary",
            "keep": 5,
            "rollout": rollout,
        }
        Executor().Do(inputs, {"pushed_model": [output]}, properties)
        return output

    return pushed


def test_a_twin_is_registered_and_not_published(push, tmp_path: Path) -> None:
    """Whatever the gate says; while it is better on the spans that follow it is in the model directory, as a twin."""
    push("run-1", blessed=True)
    output = push("run-2", blessed=False, mode="twin")
    assert (0, 2) == (output.get_int_custom_property("pushed"), output.get_int_custom_property("version"))
    registry, root = Registry(tmp_path / "home"), tmp_path / "models"
    assert ("twin", "twin", 1) == (
        registry.version(2).state,
        registry.runs()[-1].model_verdict,
        registry.champion().version,
    )
    judged = {"version": 2, "loss": 0.2, "champion": 0.4}
    for run in ("run-3", "run-4"):
        push(run, blessed=True, mode="warm", twin=judged)
    assert judged == registry.runs()[-1].twin
    assert ([1, 3, 4], [2]) == (model_directory.served(root), model_directory.twins(root))
    push("run-5", blessed=True, score=float("nan"), mode="twin")
    assert ("rejected", "rejected") == (registry.version(5).state, registry.runs()[-1].model_verdict)
    assert 2 == registry.state().twin.version


def test_blessed_is_served(push, tmp_path: Path) -> None:
    """A blessed model that answers becomes the champion, in the model directory, with warm-up requests."""
    output = push("run-1", blessed=True)
    champion = Registry(tmp_path / "home").champion()
    assert (1, "published") == (champion.version, champion.state)
    assert (1, 1) == (output.get_int_custom_property("pushed"), output.get_int_custom_property("version"))
    assert (tmp_path / "models" / "1" / "assets.extra" / "tf_serving_warmup_requests").stat().st_size
    [run] = Registry(tmp_path / "home").runs()
    assert ("blessed", 1, 7) == (run.model_verdict, run.span, run.span_version)


def test_a_bare_saved_model_is_served_too(push, tmp_path: Path) -> None:
    """A run_fn of the user's own writes neither checkpoint nor warm_start.json: the version has the other files."""
    push("run-1", blessed=True, beside=False)
    champion = Registry(tmp_path / "home").champion()
    parts = {path.name for path in champion.payload_path.iterdir()}
    assert ("published", True) == (champion.state, {"serving", "transform_graph"} <= parts)
    assert not {"checkpoint", "warm_start.json"} & parts


def test_a_rollout_begins_with_a_candidate(push, tmp_path: Path) -> None:
    """Where versions are rolled out, the first one serves, and the next blessed one waits beside it."""
    push("run-1", blessed=True, rollout=1)
    output = push("run-2", blessed=True, rollout=1)
    registry = Registry(tmp_path / "home")
    assert (1, "registered") == (registry.champion().version, registry.version(2).state)
    assert 0 == output.get_int_custom_property("pushed")
    assert {"1", ".candidate-2"} == {path.name for path in (tmp_path / "models").iterdir()}
    assert [None, None] == [run.withheld for run in registry.runs()]


@pytest.mark.parametrize(
    ("blessed", "score", "reason"),
    [(False, 0.25, "auc 0.50 is below 0.60"), (True, float("nan"), "infra validation failed")],
)
def test_what_is_refused_is_kept_and_not_served(push, tmp_path: Path, blessed, score, reason) -> None:
    """Not blessed, or blessed and unable to answer: rejected with its reason and files; the champion serves on."""
    push("run-1", blessed=True)
    output = push("run-2", blessed, score)
    registry = Registry(tmp_path / "home")
    version = registry.version(2)
    assert (1, "rejected", 1) == (registry.champion().version, version.state, version.parent)
    assert reason in " ".join(version.reasons)
    assert ["1"] == [path.name for path in (tmp_path / "models").iterdir() if path.name.isdigit()]
    assert 0 == output.get_int_custom_property("pushed")
    assert (version.payload_path / "serving" / "saved_model.pb").exists()
    assert ["blessed", "rejected"] == [run.model_verdict for run in registry.runs()]
